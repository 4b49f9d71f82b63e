package inventory

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

// owner of the one event of another service that inventory takes.
func stores() *backbone.Service {
	product := &backbone.Aggregate[int]{
		Name: "product", Public: []backbone.Event{event.RestockThresholdSet{}},
		Evolve: func(n int, _ backbone.Event) int { return n },
	}
	return &backbone.Service{Name: "stores", Handles: []backbone.Handler{
		backbone.Decide(product, func(int, add, backbone.Meta) ([]backbone.Event, error) { return nil, nil }),
	}}
}

type add struct{}

func (add) CommandType() string { return "test.stores.Add.v1" }
func (add) Stream() string      { return "P" }

// others own the further events that inventory takes.
func others() []*backbone.Service {
	return []*backbone.Service{
		{Name: "depot", Publishes: []backbone.Event{event.StopShort{}}},
		{Name: "exitgate", Publishes: []backbone.Event{event.CustomerDeparted{}}},
		{Name: "logistics", Publishes: []backbone.Event{event.GoodsReceived{}, event.PurchaseCanceled{}}},
	}
}

// What runs is what is decided: the service in its runtime, with its caches, snapshots, queues, timers and restarts, keeps
// after every command the very histories that its decisions make of the same commands by themselves; the levels that it
// shows are those of the replayed histories, add up, and are never negative.
func TestRunningLedgerIsTheReplayedOne(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: append(others(), stores(), Service()), Start: now})
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		d := newDepot(t)
		skus := []string{fmt.Sprint("ink", run), fmt.Sprint("pen", run)}
		of := map[string][]mall.Line{}
		var orders []string
		for i := range 4 {
			o := fmt.Sprintf("o%d-%d", run, i)
			l := lines(skus[i%2], rapid.IntRange(1, 4).Draw(rt, "quantity"))
			if i > 1 {
				l = lines(skus[0], rapid.IntRange(1, 4).Draw(rt, "quantity"), skus[1], rapid.IntRange(1, 4).Draw(rt, "quantity"))
			}
			orders, of[o] = append(orders, o), l
		}
		expires := w.Clock.Now().Add(24 * time.Hour)
		for range rapid.IntRange(1, 20).Draw(rt, "commands") {
			o, s := rapid.SampledFrom(orders).Draw(rt, "order"), rapid.SampledFrom(skus).Draw(rt, "sku")
			n := rapid.Int64Range(1, 6).Draw(rt, "n")
			reserve, wait := reserveOf(o, of[o]), waitFor(o, of[o])
			reserve.Expires, wait.Expires = expires.UnixMicro(), expires.UnixMicro()
			c := rapid.SampledFrom([]backbone.Command{
				receiveOf(s, n), receiveOf(s, n), adjustOf(s, -n), reserve, wait, commitOf(o, of[o]), releaseOf(o, of[o]), expireOf(o, of[o]),
				collectOf(o, of[o], nil, nil), collectOf(o, of[o], lines(of[o][0].SKU, 1), lines(s, int(n))), countOf(s, n),
				shortOf(o, s, n),
			}).Draw(rt, "command")
			_, refused := d.do(c)
			a, err := w.Runtime().Do(t.Context(), c)
			if err != nil {
				rt.Fatalf("%+v: %v", c, err)
			}
			if got := a.Err(); (got == nil) != (refused == nil) || got != nil && !errors.Is(got, refused) {
				rt.Fatalf("%+v was answered with %v, want %v", c, got, refused)
			}
			if rapid.IntRange(0, 19).Draw(rt, "restart") == 19 {
				w.Restart(t)
			}
			compare(t, rt, w, d, skus)
		}
		// Their time is over: what is held or waited for is given up by its timer.
		w.Clock.Set(expires)
		for _, o := range orders {
			if p := d.reservation(o).Phase; p == held || p == requested {
				d.must(expireOf(o, of[o]))
			}
		}
		w.Settle(t)
		for _, o := range orders {
			if got, _, err := backbone.Load(t.Context(), w.Reader("inventory"), reservations, o); err != nil || got.Phase == held || got.Phase == requested {
				rt.Fatalf("%s is %s after its time: %v", o, got.Phase, err)
			}
		}
		all, err := Available(t.Context(), w.Reader("inventory"), append([]string{"never-received"}, skus...), "")
		if err != nil || len(all) != len(skus)+1 || all["never-received"] != 0 {
			rt.Fatalf("available of all: %v, %v", all, err)
		}
		for _, s := range skus {
			if l := levelOf(t, w, s); l.Held != 0 || all[s] != l.Available {
				rt.Fatalf("after the end of all reservations: %+v, of which %d can be ordered", l, all[s])
			}
		}
	})
}

func levelOf(t *testing.T, w *backbonetest.World, sku string) Level {
	t.Helper()
	l, err := Get(t.Context(), w.Reader("inventory"), sku, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// compare holds what is committed against histories in memory.
func compare(t *testing.T, rt *rapid.T, w *backbonetest.World, d *depot, skus []string) {
	w.Settle(t)
	for stream, want := range d.histories {
		log, err := w.Reader("inventory").Log(t.Context(), backbone.ReadQuery{Stream: stream, Kinds: backbone.EventKinds()})
		if err != nil {
			t.Fatal(err)
		}
		var got []backbone.Event
		for _, m := range log {
			e, err := Service().Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			rt.Fatalf("%s holds\n%+v\nwant\n%+v", stream, got, want)
		}
	}
	for _, s := range skus {
		got, want := levelOf(t, w, s), d.levels(s)
		if [3]int64{got.OnHand, got.Held, got.Committed} != want || got.Available != want[0]-want[1]-want[2] || got.Available < 0 {
			rt.Fatalf("%s is shown as %+v, want %v", s, got, want)
		}
	}
}
