package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// token returns a bearer header's value for a role.
func (m *mall) token(binary, role string) string {
	m.t.Helper()
	out, code := m.place().souk(m.t, binary, "token", "--role", role, "--subject", "prometheus")
	if code != 0 {
		m.t.Fatalf("token: %d", code)
	}
	return "Bearer " + strings.TrimSpace(out)
}

// scrape returns the sum of each family of metrics over its labels, histograms as their counts. Of several processes each counts what it does, and all of
// them show the same of what stands in their database: counts add up, and a gauge is the largest that one shows.
func (m *mall) scrape(bearer string) map[string]float64 {
	m.t.Helper()
	urls := []string{m.url}
	if m.others != nil {
		urls = nil
	}
	for _, p := range m.others {
		urls = append(urls, p.url)
	}
	sums := map[string]float64{}
	for _, url := range urls {
		status, text := callAt(m.t, url, "GET", "/metrics", "", "Authorization", bearer)
		if status != 200 {
			m.t.Fatalf("metrics: %d %s", status, text)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			m.t.Fatalf("%v in\n%s", err, text)
		}
		for name, f := range families {
			gauge := 0.0
			for _, one := range f.GetMetric() {
				gauge += one.GetGauge().GetValue()
				sums[name] += one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
			}
			sums[name] = max(sums[name], gauge)
		}
	}
	return sums
}

// What Prometheus is shown of a mall at work: what waits and since when, what came twice, how large and how long commits
// are, what was called outside. Red for each metric whose hook or collector is left out.
func TestMetrics(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.seed()
	bearer := m.token(binary, "engineer")
	m.must(202, "POST", "/order", order1)
	m.must(200, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	var now map[string]float64
	await(t, "nothing waits", func() bool {
		now = m.scrape(bearer)
		for _, name := range []string{"souk_consumer_lag_messages", "souk_consumer_lag_seconds", "souk_calls_waiting", "souk_sagas"} {
			if now[name] != 0 {
				return false
			}
		}
		return true
	})
	for name, atLeast := range map[string]float64{
		"souk_store_up": 8, "souk_log_head_position": 20,
		"souk_batches_total": 5, "souk_batch_units": 5, "souk_batch_records": 5, "souk_batch_duration_seconds": 5, "souk_commit_duration_seconds": 5,
		"souk_commands_total": 5, "souk_duplicates_total": 1, "souk_messages_total": 5, "souk_message_lag_seconds": 5,
		"souk_saga_transitions_total": 1, "souk_call_duration_seconds": 1, "souk_http_request_duration_seconds": 3,
		"go_goroutines": 1, "process_open_fds": 1,
	} {
		if now[name] < atLeast {
			t.Errorf("%s is %v, want at least %v", name, now[name], atLeast)
		}
	}
	for _, name := range []string{"souk_parked_messages", "souk_redeliveries_total"} {
		if now[name] != 0 {
			t.Errorf("%s is %v where nothing failed", name, now[name])
		}
	}

	// Calls of programs are counted as requests are.
	if status, answer := m.call("POST", "/souk.v1.StoresService/ListProducts", `{}`, "Authorization", m.token(binary, "staff")); status != 200 {
		t.Errorf("a call of a program: %d %s", status, answer)
	}
	await(t, "the call is counted", func() bool {
		_, text := callAt(t, m.of("stores").url, "GET", "/metrics", "", "Authorization", bearer)
		return strings.Contains(text, `souk_http_request_duration_seconds_count{route="/souk.v1.StoresService/ListProducts",status="2xx"} 1`)
	})

	// What a paused service leaves lying is seen, with its age.
	if _, code := souk(t, binary, m.dir, "service", "pause", "inventory"); code != 0 {
		t.Fatal(code)
	}
	m.must(202, "POST", "/order", order2)
	await(t, "lag and a waiting saga", func() bool {
		now = m.scrape(bearer)
		aged := now["souk_consumer_lag_seconds"] > 0 || m.broker() != "" // a broker does not tell how old what waits is
		return now["souk_consumer_lag_messages"] >= 1 && aged &&
			now["souk_sagas"] == 1 && now["souk_saga_oldest_age_seconds"] > 0
	})
	if _, code := souk(t, binary, m.dir, "service", "resume", "inventory"); code != 0 {
		t.Fatal(code)
	}
	m.awaitStatus("ORDER_002", "APPROVED")
	m.holds()
}

// What goes on inside is for engineers, and no answer names a customer or an order.
func TestMetricsAreForEngineers(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	for _, role := range []string{"customer", "staff", "robot", "device", "partner"} {
		if status, _ := m.call("GET", "/metrics", "", "Authorization", m.token(binary, role)); status != 401 && status != 403 {
			t.Errorf("%s: %d", role, status)
		}
	}
	if status, _ := m.call("GET", "/metrics", ""); status != 403 { // test mode lets it in as staff
		t.Errorf("nobody: %d", status)
	}
	_, text := m.call("GET", "/metrics", "", "Authorization", m.token(binary, "engineer"))
	for _, word := range []string{"ORDER_001", "CUSTOMER_001", m.dir} {
		if strings.Contains(text, word) {
			t.Errorf("metrics hold %q", word)
		}
	}
	m.holds()
}

// A mall whose database takes no writes is alive, not ready, and ready again by itself once it takes them. Red when
// readiness only reads.
func TestNotReadyWithoutWrites(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	await(t, "ready", func() bool { status, _ := m.call("GET", "/readyz", ""); return status == 200 })
	db, err := sql.Open("sqlite", "file:"+filepath.Join(m.dir, "souk.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "not ready", func() bool { status, _ := m.call("GET", "/readyz", ""); return status == 503 })
	m.must(200, "GET", "/livez", "")
	if _, told := m.call("GET", "/readyz?verbose", ""); !strings.Contains(told, "[-]database failed") || strings.Contains(told, m.dir) {
		t.Errorf("it says %q", told)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	await(t, "ready", func() bool { status, _ := m.call("GET", "/readyz", ""); return status == 200 })
	m.must(202, "POST", "/order", order1)
	m.holds()
}
