package testserver_test

import (
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

func TestOnlySoukWithoutLeavesTestsOut(t *testing.T) {
	t.Setenv("SOUK_WITHOUT", "chromium, postgres,kafka, nats")
	for _, start := range []func(testing.TB){
		func(t testing.TB) { testserver.Postgres(t) },
		func(t testing.TB) { testserver.PostgresOwn(t) },
		func(t testing.TB) { testserver.Chromium(t) },
		func(t testing.TB) { testserver.NATS(t) },
		func(t testing.TB) { testserver.NATSOwn(t) },
		func(t testing.TB) { testserver.Kafka(t) },
		func(t testing.TB) { testserver.KafkaOwn(t, 1) },
	} {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			start(r)
		}()
		<-done
		if r.failure != "" || !strings.Contains(r.skipped, "NOT TESTED") {
			t.Errorf("failure %q, skipped %q", r.failure, r.skipped)
		}
	}

	t.Setenv("SOUK_WITHOUT", "postgress")
	failed := failureOf(t, func(t testing.TB) { testserver.Postgres(t) })
	if !strings.Contains(failed, "postgress") {
		t.Errorf("a misspelt server failed with %q", failed)
	}
}

func TestAMissingServerNamesTheCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("SOUK_WITHOUT", "")
	failed := failureOf(t, func(t testing.TB) { testserver.Chromium(t) })
	if !strings.Contains(failed, "make servers") {
		t.Errorf("it failed with %q", failed)
	}
}
