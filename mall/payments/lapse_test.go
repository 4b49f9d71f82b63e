package payments

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall/command"
)

// lapsingMall has payments that are kept for so long. The provider keeps what it holds in the vault.
func lapsingMall(t *testing.T, hold time.Duration) (*backbonetest.World, *vault) {
	t.Helper()
	b := &vault{held: map[string]int64{}, taken: map[string]int64{}}
	return backbonetest.Start(t, backbonetest.Config{Parts: append(neighbours(), Service(b, Config{Depot: true, Hold: hold}))}), b
}

func (b *vault) holds(payment string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[payment]
}

func setAside(payment string) command.AuthorizePayment {
	return command.AuthorizePayment{Payment: payment, Customer: "c1", Amount: eur(5000)}
}

// What nobody takes is free after the time that the shop says and not before, also where the process dies in between. What an order has
// is kept, and so is what an order may still take, until as long after its end.
func TestWhatNobodyTakesIsFreed(t *testing.T) {
	t.Parallel()
	w, b := lapsingMall(t, 30*time.Minute)
	holds := func(when string, want map[string]int64) {
		t.Helper()
		for payment, amount := range want {
			if got := b.holds(payment); got != amount {
				t.Errorf("%s: the provider holds %d of %s, want %d", when, got, payment, amount)
			}
		}
	}
	end := w.Clock.Now().Add(24 * time.Hour).UnixMicro()
	early := command.EarmarkPayment{Payment: "early", Order: "o1", Customer: "c1", Expires: end}
	late := command.EarmarkPayment{Payment: "late", Order: "o2", Customer: "c1", Expires: end}
	for _, payment := range []string{"vanished", "taken", "late"} {
		w.Do(t, setAside(payment))
	}
	w.Do(t, setAside("early"))
	w.Do(t, early) // its provider may have answered by then, or not
	w.Settle(t)
	w.Do(t, late)
	w.Do(t, command.ConfirmPayment{Payment: "taken", Order: "o3", Customer: "c1", Amount: eur(4000)})
	w.Do(t, command.ChargeVisit{Payment: "visit", Visit: "v1", Customer: "c1", Amount: eur(700)})
	w.Settle(t)
	w.Pass(t, 30*time.Minute-time.Second)
	holds("before the time", map[string]int64{"vanished": 5000, "taken": 5000, "early": 5000, "late": 5000})
	w.Crash(t)
	w.Pass(t, 2*time.Second)
	holds("after it", map[string]int64{"vanished": 0, "taken": 5000, "early": 5000, "late": 5000})
	w.Refused(t, ErrOver.Code, command.ConfirmPayment{Payment: "vanished", Order: "o4", Customer: "c1", Amount: eur(4000)})

	w.Pass(t, 24*time.Hour-10*time.Second)
	holds("when the orders have ended", map[string]int64{"early": 5000, "late": 5000})
	w.Do(t, command.ConfirmPayment{Payment: "late", Order: "o2", Customer: "c1", Amount: eur(4000)})
	w.Pass(t, 31*time.Minute)
	holds("long after that", map[string]int64{"taken": 5000, "early": 0, "late": 5000})
	if b.taken["visit"] != 700 {
		t.Errorf("a visit that was charged: %d were taken", b.taken["visit"])
	}
}

// While payments lapse one after the other, orders come that want them: for each, one of the two wins. Either the order has the payment and it is kept, or
// it is refused as over and the money is free.
func TestLapseAndConfirmationAtOnce(t *testing.T) {
	t.Parallel()
	const many = 60
	w, b := lapsingMall(t, many*time.Second)
	name := func(i int) string { return fmt.Sprintf("p%d", i) }
	for i := range many {
		w.Do(t, setAside(name(i)))
		w.Settle(t)
		w.Clock.Advance(time.Second / 2)
	}
	w.Clock.Advance(many / 2 * time.Second) // from here on one lapses each half second
	got := make([]error, many)
	var all sync.WaitGroup
	all.Go(func() {
		for range many {
			w.Clock.Advance(time.Second / 2)
		}
	})
	for from := range 4 {
		all.Go(func() {
			for i := from; i < many; i += 4 {
				a, err := w.Runtime().Do(t.Context(), command.ConfirmPayment{Payment: name(i), Order: name(i), Customer: "c1", Amount: eur(5000)})
				if got[i] = err; err == nil && a.Refusal != nil {
					got[i] = a.Refusal
				}
			}
		})
	}
	all.Wait()
	w.Settle(t)
	won := 0
	for i, err := range got {
		held := b.holds(name(i))
		switch {
		case err == nil && held == 5000:
			won++
		case errors.Is(err, ErrOver) && held == 0:
		default:
			t.Errorf("%s: the order was told %v, and the provider holds %d", name(i), err, held)
		}
	}
	t.Logf("%d of %d orders were in time", won, many)
}

// A timer that is set and not needed any more is gone: nothing fires for a payment that has ended.
func TestNoTimerIsLeft(t *testing.T) {
	t.Parallel()
	w, _ := lapsingMall(t, time.Hour)
	end := w.Clock.Now().Add(time.Hour).UnixMicro()
	for _, c := range []backbone.Command{
		setAside("bound"), setAside("freed"),
		command.ChargeVisit{Payment: "visit", Visit: "v1", Customer: "c1", Amount: eur(700)},
		command.EarmarkPayment{Payment: "bound", Order: "o1", Customer: "c1", Expires: end},
		command.ConfirmPayment{Payment: "bound", Order: "o1", Customer: "c1", Amount: eur(5000)},
		command.VoidPayment{Payment: "freed", Reason: "not needed"},
	} {
		w.Do(t, c)
		w.Settle(t)
	}
	timers, _, err := w.Store().DueTimers(t.Context(), "payments", end*2, 10)
	if err != nil || len(timers) != 0 {
		t.Errorf("timers %+v, %v", timers, err)
	}
}
