package drivertest

import (
	"slices"

	"example.org/souk/backbone/driver"
)

func testOrderPerKey(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	keys := streams(20)
	for i := range 10 {
		in.publish("orders", events(i, 1, keys...)...)
	}
	f.awaitEffects(200)
	f.inOrder(f.audit(), 0, 10, keys...)
}

// testKeyOfSubscription: a key of the subscription's own puts streams in one line.
func testKeyOfSubscription(f *field) {
	in := f.open()
	s := things("orders")
	s.Key = func(m *driver.Message) string { return "all of " + m.Source }
	in.subscribe(s, newWorker(in.apply))
	keys := streams(10)
	want := []string{}
	for i := range 10 {
		rs := events(i, 1, keys...)
		for _, r := range rs {
			want = append(want, r.ID)
		}
		in.publish("orders", rs...)
	}
	f.awaitEffects(len(want))
	got := f.audit()
	if !in.Transport.Powers().KeyOrder {
		f.inOrder(got, 0, 10, keys...)
		return
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("messages of one key came in the order %v", got)
	}
}

func testTwoSources(f *field) {
	in := f.open()
	s := things("orders")
	s.Interests = append(s.Interests, driver.Interest{Source: "stock", Types: []string{"thing"}})
	in.subscribe(s, newWorker(in.apply))
	for i := range 10 {
		in.publish("orders", events(i, 1, "o1", "o2")...)
		in.publish("stock", events(i, 1, "p1", "p2")...)
	}
	f.awaitEffects(40)
	f.inOrder(f.audit(), 0, 10, "o1", "o2", "p1", "p2")
}
