// Package telemetry watches services that really run, and holds what is shown against what was done.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/backbone/telemetry"
)

type said struct{ Word string }

func (said) EventType() string { return "test.talk.Said.v1" }

type say struct{ ID, Word string }

func (say) CommandType() string { return "test.talk.Say.v1" }
func (c say) Stream() string    { return c.ID }

func parts() []*backbone.Service {
	speech := &backbone.Aggregate[int]{Name: "speech", Public: []backbone.Event{said{}}, Evolve: func(n int, _ backbone.Event) int { return n + 1 }}
	return []*backbone.Service{{
		Name: "talk",
		Handles: []backbone.Handler{backbone.Decide(speech, func(_ int, c say, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{said{c.Word}}, nil
		})},
	}, {
		Name: "ear",
		Views: []backbone.View{backbone.ViewOf("heard", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e said) error {
			if e.Word == "ouch" {
				return backbone.Permanent(errors.New("too loud"))
			}
			return tx.Exec(ctx, `INSERT INTO {heard} (word) VALUES ($1)`, e.Word)
		}).View},
		Migrations: fstest.MapFS{"migrations/0001_heard.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {heard} (word TEXT NOT NULL);\n-- +goose Down\nDROP TABLE {heard};\n")}},
	}}
}

func TestAScrapeShowsWhatRuns(t *testing.T) {
	t.Parallel()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "talk.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	registry := prometheus.NewPedanticRegistry()
	hooks, err := telemetry.Hooks(telemetry.Config{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	storeOf := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: storeOf})
	t.Cleanup(func() { _ = bus.Close() })
	runtime, err := backbone.New(backbone.Config{Parts: parts(), Store: storeOf, Transport: bus, Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Stop(context.Background()) })
	collector, err := telemetry.NewCollector(telemetry.CollectorConfig{Parts: parts(), Source: func(string) telemetry.Source { return store }})
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Register(collector); err != nil {
		t.Fatal(err)
	}

	speak := func(id, word string) {
		t.Helper()
		if _, err := runtime.Do(t.Context(), say{id, word}, backbone.WithID(id+word)); err != nil {
			t.Fatal(err)
		}
	}
	until := func(want string, names ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		pulse := time.NewTicker(5 * time.Millisecond)
		defer pulse.Stop()
		for {
			err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...)
			if err == nil {
				return
			}
			select {
			case <-pulse.C:
			case <-ctx.Done():
				t.Fatal(err)
			}
		}
	}

	for i := range 10 {
		speak(fmt.Sprintf("s%d", i), "hello")
	}
	speak("s0", "hello") // again
	speak("loud", "ouch")
	speak("loud", "sorry")
	until(`
# HELP souk_commands_total Commands answered by outcome: done, refused. A repeated command counts again.
# TYPE souk_commands_total counter
souk_commands_total{command="test.talk.Say.v1",outcome="done",service="talk"} 13
# HELP souk_duplicates_total Commands that came again and got the first one's answer.
# TYPE souk_duplicates_total counter
souk_duplicates_total{command="test.talk.Say.v1",service="talk"} 1
`, "souk_commands_total", "souk_duplicates_total")
	until(`
# HELP souk_parked_messages Parked messages by state: retrying, waiting behind another of their key, dead.
# TYPE souk_parked_messages gauge
souk_parked_messages{service="ear",state="dead",subscription="view-heard"} 1
souk_parked_messages{service="ear",state="waiting",subscription="view-heard"} 1
# HELP souk_store_up Whether the service's database could be read for this scrape.
# TYPE souk_store_up gauge
souk_store_up{service="ear"} 1
souk_store_up{service="talk"} 1
`, "souk_parked_messages", "souk_store_up")
	quiet := `
# HELP souk_consumer_lag_messages Committed messages that the subscription has not settled; an estimate above 2000.
# TYPE souk_consumer_lag_messages gauge
souk_consumer_lag_messages{service="ear",source="ear",subscription="ear"} 0
souk_consumer_lag_messages{service="ear",source="talk",subscription="ear"} 0
souk_consumer_lag_messages{service="ear",source="talk",subscription="view-heard"} %d
souk_consumer_lag_messages{service="talk",source="ear",subscription="talk"} 0
souk_consumer_lag_messages{service="talk",source="talk",subscription="talk"} 0
`
	until(fmt.Sprintf(quiet, 0), "souk_consumer_lag_messages")

	if err := runtime.Pause(t.Context(), "ear"); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		speak(fmt.Sprintf("s%d", i), "later")
	}
	until(fmt.Sprintf(quiet, 7), "souk_consumer_lag_messages")
	if err := runtime.Resume(t.Context(), "ear"); err != nil {
		t.Fatal(err)
	}
	until(fmt.Sprintf(quiet, 0), "souk_consumer_lag_messages")

	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err := runtime.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	until(`
# HELP souk_store_up Whether the service's database could be read for this scrape.
# TYPE souk_store_up gauge
souk_store_up{service="ear"} 0
souk_store_up{service="talk"} 0
`, "souk_store_up")
}

// Over a broker a scrape shows what each relay holds back, since the broker does not take it. Red where nobody reads it.
func TestAScrapeShowsWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "talk.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: "talk"}, {Service: "ear"}}); err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 27, 17, 0, 0, 0, time.UTC)
	if err := store.SetValue(t.Context(), "talk", "relay.held", fmt.Appendf(nil,
		`[{"stream":"speech/b","since":%q},{"stream":"speech/a","since":%q}]`, since.Add(time.Minute).Format(time.RFC3339), since.Format(time.RFC3339))); err != nil {
		t.Fatal(err)
	}
	collector, err := telemetry.NewCollector(telemetry.CollectorConfig{
		Parts: parts(), Source: func(string) telemetry.Source { return store }, Clock: func() time.Time { return since.Add(3 * time.Minute) },
		Backlogs: func(context.Context) ([]driver.Backlog, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(collector); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP souk_relay_held_oldest_age_seconds Time since the oldest of them was held back.
# TYPE souk_relay_held_oldest_age_seconds gauge
souk_relay_held_oldest_age_seconds{service="talk"} 180
# HELP souk_relay_held_streams Streams of the service's log of which nothing is published from a record on that is too large for the broker.
# TYPE souk_relay_held_streams gauge
souk_relay_held_streams{service="ear"} 0
souk_relay_held_streams{service="talk"} 2
`), "souk_relay_held_oldest_age_seconds", "souk_relay_held_streams"); err != nil {
		t.Error(err)
	}
}
