package drivertest

import (
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// mixed is one record of each kind and two types of events.
func mixed() []driver.Record {
	rs := events(0, 5, "s1")
	rs[1].Type = "other"
	rs[2].Kind, rs[2].Target, rs[2].Ref = driver.KindCommand, consumer, "c1"
	rs[3].Kind, rs[3].Target, rs[3].Ref = driver.KindReply, consumer, "c2"
	rs[4].Kind, rs[4].Target, rs[4].Ref = driver.KindCommand, "stock", "c3"
	return append(rs, events(5, 1, "s1")...)
}

func (f *field) gets(s driver.Subscription, want ...string) {
	f.t.Helper()
	in := f.open()
	// What is addressed to somebody has somebody who takes it, if only later.
	for _, service := range []string{consumer, "stock"} {
		in.prepare(driver.Subscription{Service: service, Name: "mail", Interests: []driver.Interest{
			{Source: "orders", Addressed: service}, {Source: "stock", Addressed: service},
		}})
	}
	in.subscribe(s, newWorker(in.apply))
	in.publish("stock", mixed()...)
	in.publish("orders", func() []driver.Record {
		rs := mixed()
		for i := range rs {
			rs[i].ID = "o" + rs[i].ID
		}
		return rs
	}()...)
	f.awaitEffects(len(want))
	got := f.audit()
	if !in.Transport.Powers().KindOrder {
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("got %v, want %v", got, want)
	}
	in.nothingWaits()
}

// nothingWaits waits until the transport says that its subscriptions have been offered everything: what they did not ask
// for does not count.
func (in *instance) nothingWaits() {
	b, ok := in.Transport.(driver.Behinder)
	if !ok {
		return
	}
	f := in.f
	f.t.Helper()
	late := time.After(transportPatience)
	for {
		behind, err := b.Behind(f.t.Context())
		if err == nil && behind == 0 {
			return
		}
		select {
		case <-late:
			f.t.Fatalf("%d messages wait for ever (%v)", behind, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func testFilters(f *field) { f.gets(things("orders"), "os1-0", "os1-5") }

// testPassedOver: what a subscription does not ask for does not wait for it, in no partition.
func testPassedOver(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	rs := events(0, 1, streams(40)...)
	for i := range rs {
		rs[i].Type = "other"
	}
	in.publish("orders", rs...)
	in.nothingWaits()
	in.publish("orders", events(1, 1, streams(40)...)...)
	f.awaitEffects(40)
	in.nothingWaits()
}

// testVersions: a pattern takes every version of a type and no type that only begins alike.
func testVersions(f *field) {
	in := f.open()
	s := things("stock")
	s.Interests[0].Types = []string{driver.AnyVersion("a.Thing.v1")}
	in.subscribe(s, newWorker(in.apply))
	rs := events(0, 5, "s1")
	for i, name := range []string{"a.Thing.v1", "a.Things.v1", "a.Thing.v2", "a.Thing", "a.Thing.v12"} {
		rs[i].Type = name
	}
	in.publish("stock", rs...)
	want := []string{"s1-0", "s1-2", "s1-4"}
	f.awaitEffects(len(want))
	if got := f.audit(); !slices.Equal(got, want) {
		f.t.Errorf("got %v, want %v", got, want)
	}
}

// testAddressed: commands and replies reach the service that they are for, and
// events that it did not ask for do not.
func testAddressed(f *field) {
	s := things("orders")
	s.Interests[0].Types, s.Interests[0].Addressed = []string{"other"}, consumer
	f.gets(s, "os1-1", "os1-2", "os1-3")
}
