package drivertest

import (
	"errors"

	"example.org/souk/backbone/driver"
)

func testMalformed(f *field) {
	in := f.open()
	for name, spoil := range map[string]func(*driver.Subscription){
		"no service":      func(s *driver.Subscription) { s.Service = "" },
		"no name":         func(s *driver.Subscription) { s.Name = "" },
		"no interests":    func(s *driver.Subscription) { s.Interests = nil },
		"no source":       func(s *driver.Subscription) { s.Interests[0].Source = "" },
		"nothing wanted":  func(s *driver.Subscription) { s.Interests[0].Types = nil },
		"a source twice":  func(s *driver.Subscription) { s.Interests = append(s.Interests, s.Interests[0]) },
		"negative slices": func(s *driver.Subscription) { s.Slices = -1 },
	} {
		s := things("orders")
		spoil(&s)
		if err := in.Transport.Subscribe(f.t.Context(), s, newWorker(in.apply), nil); err == nil {
			f.t.Errorf("a subscription with %s is accepted", name)
		}
	}
	if err := in.Transport.Subscribe(f.t.Context(), things("orders"), nil, nil); err == nil {
		f.t.Error("a subscription without a sink is accepted")
	}
}

func testPublishRefused(f *field) {
	_, err := f.open().Transport.Publish(f.t.Context(), "orders", events(0, 1, "s1"))
	if !errors.Is(err, driver.ErrNoPower) {
		f.t.Errorf("publishing to a transport that has log positions: %v", err)
	}
}
