package drivertest

import (
	"errors"

	"example.org/souk/backbone/driver"
)

func testFromNow(f *field) {
	in := f.open()
	in.publish("orders", events(0, 10, "s1", "s2")...)
	in.subscribe(things("orders"), newWorker(in.apply))
	in.publish("orders", events(10, 5, "s1", "s2")...)
	f.awaitEffects(10)
	f.inOrder(f.audit(), 10, 5, "s1", "s2")
}

func testFromFirst(f *field) {
	in := f.open()
	in.publish("orders", events(0, 10, "s1", "s2")...)
	s := things("orders")
	s.FromFirst = true
	in.subscribe(s, newWorker(in.apply))
	in.publish("orders", events(10, 5, "s1", "s2")...)
	f.awaitEffects(30)
	f.inOrder(f.audit(), 0, 15, "s1", "s2")
}

func testFromFirstRefused(f *field) {
	s := things("orders")
	s.FromFirst = true
	in := f.open()
	err := in.Transport.Subscribe(f.t.Context(), s, newWorker(in.apply), nil)
	if !errors.Is(err, driver.ErrNoPower) {
		f.t.Errorf("beginning at the first record without the power: %v", err)
	}
}

// testContinues: a subscription that exists goes on where it was, whatever it is
// asked to begin with, and misses nothing that came while nobody worked it.
func testContinues(f *field) {
	in := f.open()
	stop := in.subscribe(things("orders"), newWorker(in.apply))
	in.publish("orders", events(0, 5, "s1", "s2", "s3")...)
	f.awaitEffects(15)
	stop()
	in.publish("orders", events(5, 5, "s1", "s2", "s3")...)
	s := things("orders")
	s.FromFirst = in.Transport.Powers().FromFirst
	s.Slices = 3 // the stored number stands
	in.subscribe(s, newWorker(in.apply))
	in.publish("orders", events(10, 5, "s1", "s2", "s3")...)
	f.awaitEffects(45)
	f.inOrder(f.audit(), 0, 15, "s1", "s2", "s3")
}
