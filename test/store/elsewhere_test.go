package store

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// A process with a database of its own, and without those of the services that it listens to, begins when much has happened: its views show
// everything once, read from the process that has the logs, which is killed in the middle and begins again. So they do when they are rebuilt,
// with that process killed in the middle too. The broker has kept everything for it as well. Red where what comes both ways counts twice, where a
// start, a subscription or a rebuild ends when it cannot read, and where a cut stream is taken for the end of a log.
func TestLateProcessReadsTheLogsOfAnother(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	for _, name := range carriers()[1:] { // over the log there is nothing to read from another process
		if os.Getenv("SOUK_PROVE") == "short" && name != "nats" { // each takes most of a minute: make prove runs all
			continue
		}
		t.Run(name, func(t *testing.T) { lateProcess(t, name) })
	}
}

func lateProcess(t *testing.T, broker string) {
	t.Helper()
	const late = "analytics"
	there := strings.Fields("online stores customers baskets orders inventory payments notifications search keys entrance exitgate fastlane logistics devices depot")
	server := testserver.PostgresOwn(t)
	flags, _ := carrier(t, broker)
	shared, theirs, ours := server.Database(t), server.Database(t), server.Database(t)
	list := func(address string, services ...string) (text string) {
		for _, s := range services {
			text += "," + s + "=" + address
		}
		return text
	}
	unseen := []string{"partner", "greeter", "staff", "kiosk"} // they run nowhere, and nobody reads their logs
	m := &mall{
		t: t, binary: program(t), dir: t.TempDir(), flags: flags,
		db: shared + list(theirs, append(there, unseen...)...) + list(ours, late),
	}
	first := &part{name: "first", parts: there, db: shared + list(theirs, append(there, unseen...)...) + list("rpc", late)}
	second := &part{name: "second", parts: []string{late}, db: shared + list("rpc", there...) + list(ours, late)}
	m.others = []*part{first}
	m.beginPart(first)
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "5000")
	decided := func(ids []string) {
		for _, id := range ids {
			await(t, id+" is decided", func() bool { return slices.Contains([]string{"APPROVED", "CANCELED"}, m.status(id)) })
		}
	}
	decided(m.loadOf(t, 8, 240, numbered("EARLY"))())

	// What is still to be read, of what the views have begun to read.
	ahead := func() (begun bool, positions int64) {
		joined := map[string]int64{}
		for _, raw := range m.rows(late, `SELECT name || ' ' || convert_from(value, 'UTF8') FROM {bb_value} WHERE name LIKE 'joined.view-%'`) {
			name, noted, _ := strings.Cut(strings.TrimPrefix(raw, "joined."), " ")
			var j struct{ Sources map[string]int64 }
			if err := json.Unmarshal([]byte(noted), &j); err != nil {
				t.Fatal(err)
			}
			for source, to := range j.Sources {
				joined[name+"/partitions "+source] = to
			}
		}
		for _, row := range m.rows(late, `SELECT subscription || ' ' || source || ' ' || position FROM {bb_checkpoint} WHERE subscription LIKE 'view-%/partitions' AND source <> ''`) {
			i := strings.LastIndex(row, " ")
			position, err := strconv.ParseInt(row[i+1:], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			begun = begun || position > 0
			positions += joined[row[:i]] - position
		}
		return begun, positions
	}
	m.others = append(m.others, second)
	m.launch(second)
	await(t, "it has read a piece", func() bool {
		tables := m.rows(late, `SELECT count(*) FROM pg_tables WHERE schemaname = 'analytics' AND tablename IN ('bb_checkpoint', 'bb_value')`)
		if tables[0] != "2" {
			return false
		}
		begun, _ := ahead()
		return begun
	})
	first.proc.Kill9()
	if _, left := ahead(); left <= 0 {
		t.Error("all was read when the process was killed that it reads from")
	} else {
		t.Logf("%d positions were left when it was killed", left)
	}
	m.launch(first)
	m.awaitPart(first)
	m.awaitPart(second)
	decided(m.loadOf(t, 4, 20, numbered("LATER"))())
	m.idle()
	counted := func() {
		t.Helper()
		shown := m.rows(late, `SELECT sum(orders) FROM {sales}`)[0]
		stand := m.rows("orders", `SELECT count(*) FROM {bb_log} WHERE type LIKE 'souk.orders.OrderApproved.%'`)[0]
		if shown != stand || shown == "0" {
			t.Errorf("%s orders were sold by the view, and %s were approved", shown, stand)
		}
	}
	counted()

	rebuild := testserver.Start(t, m.binary, "--data", m.dir, "--db", m.db, "-o", "jsonl", "view", "rebuild", late, "trade")
	rebuild.WaitLine(`"total"`)
	first.proc.Kill9()
	if rebuild.Ended() {
		t.Error("it was rebuilt when the process was killed that it reads from")
	}
	m.beginPart(first)
	if e := rebuild.Wait(); e.Code != 0 {
		t.Errorf("view rebuild: %v\n%s", e, rebuild.Stderr())
	}
	m.souk("view", "rebuild", late, "sales")
	counted()
	m.refusedLogs(first)
	m.holds()
}

// Two processes that begin together on databases of their own, and need each other's logs before their subscriptions can begin, both begin.
// Red where a process answers for its logs only when its services have begun.
func TestProcessesThatNeedEachOthersLogs(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	server, broker := testserver.PostgresOwn(t), testserver.NATSOwn(t)
	shared, stock := server.Database(t), server.Database(t)
	m := &mall{t: t, binary: program(t), dir: t.TempDir(), flags: []string{"--broker", broker.URL()}, db: shared + ",inventory=" + stock}
	rest := strings.Fields("online stores customers baskets orders payments notifications search keys analytics entrance exitgate fastlane logistics devices depot")
	one := &part{name: "one", parts: rest, db: shared + ",inventory=rpc"}
	two := &part{name: "two", parts: []string{"inventory"}, db: shared + ",inventory=" + stock}
	for _, s := range rest {
		two.db += "," + s + "=rpc"
	}
	m.others = []*part{one, two}
	for _, p := range m.others {
		m.launch(p)
	}
	for _, p := range m.others {
		m.awaitPart(p)
	}
	m.seed()
	m.must(202, "POST", "/order", order("FIRST", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.awaitStatus("FIRST", "APPROVED")
	m.stop()
}

// refusedLogs asks a process for a log as those would who may not read one.
func (m *mall) refusedLogs(p *part) {
	m.t.Helper()
	address := strings.TrimSpace(strings.TrimPrefix(p.proc.WaitLine("processes "), "processes"))
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
	token := func(role string) string {
		return strings.TrimSpace(m.souk("token", "--role", role, "--subject", "eve"))
	}
	for who, want := range map[string]int{"": 401, "customer": 403, "staff": 403, "engineer": 200} {
		r, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, "https://"+address+"/souk.v1.LogService/GetHead", strings.NewReader(`{"service":"orders"}`))
		if err != nil {
			m.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if who != "" {
			r.Header.Set("Authorization", "Bearer "+token(who))
		}
		resp, err := stranger.Do(r)
		if err != nil {
			m.t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			m.t.Errorf("the head of a log, asked by %q without a certificate: %d %s, want %d", who, resp.StatusCode, body, want)
		}
	}
}
