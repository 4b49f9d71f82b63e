package drivertest

import (
	"errors"
	"sync"

	"example.org/souk/backbone/driver"
)

// testRedelivery: what is not acknowledged comes again, until it is.
func testRedelivery(f *field) {
	in := f.open()
	var mu sync.Mutex
	tries := map[string]int{}
	in.subscribe(things("orders"), newWorker(func(ds []driver.Delivery) error {
		mu.Lock()
		tries[ds[0].ID]++
		fail := tries[ds[0].ID] < 3
		mu.Unlock()
		if fail {
			return errors.New("not now")
		}
		return in.apply(ds)
	}))
	in.publish("orders", events(0, 3, "s1", "s2")...)
	f.awaitEffects(6)
	f.inOrder(f.audit(), 0, 3, "s1", "s2")
}
