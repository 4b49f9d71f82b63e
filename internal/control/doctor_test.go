package control

import (
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone/telemetry"
)

// Findings that a test cannot bring about by its machine: a disk that fills, messages that have waited long.
func TestJudgements(t *testing.T) {
	t.Parallel()
	for free, want := range map[uint64]State{0: Failed, fewBytes - 1: Failed, fewBytes: Warned, someBytes - 1: Warned, someBytes: Well, 1 << 50: Well} {
		if f := room(free); f.State != want || (f.Do == "") != (want == Well) {
			t.Errorf("%d free bytes: %+v, want %s", free, f, want)
		}
	}
	young := telemetry.Lag{Service: "orders", Subscription: "orders", Source: "stores", Messages: 3, Oldest: time.Second}
	old := telemetry.Lag{Service: "inventory", Subscription: "view-levels", Source: "orders", Messages: 2, Oldest: time.Minute}
	for name, c := range map[string]struct {
		lags    []telemetry.Lag
		running bool
		state   State
		says    string
	}{
		"nothing":  {nil, true, Well, "0 messages wait"},
		"young":    {[]telemetry.Lag{young}, true, Well, "3 messages wait"},
		"old":      {[]telemetry.Lag{old, young}, true, Warned, "5 messages wait; view-levels has not settled one of orders for 1m0s"},
		"stopped":  {[]telemetry.Lag{old, young}, false, Well, "5 messages wait for the next start"},
		"at peace": {[]telemetry.Lag{{Service: "orders"}}, false, Well, "0 messages wait"},
	} {
		if f := behind(c.lags, c.running); f.State != c.state || f.Found != c.says || c.state == Warned && !strings.Contains(f.Do, "service resume inventory") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
