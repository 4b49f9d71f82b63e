package stores

import (
	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about stores; compare with errors.Is.
var (
	ErrStoreExists  = backbone.Refuse("store_exists", "the store exists already")
	ErrStoreUnknown = backbone.Refuse("store_unknown", "there is no such store")
)

// store is the state of a store. The zero value is one that nobody created.
type store struct {
	Name          string
	Location      string
	Participating bool
}

func (s store) exists() bool { return s.Location != "" }

var stores = &backbone.Aggregate[store]{
	Name: "store",
	Public: []backbone.Event{
		event.StoreCreated{}, event.StoreRebranded{}, event.ParticipationEnabled{}, event.ParticipationDisabled{},
	},
	Evolve: evolveStore,
}

func evolveStore(s store, e backbone.Event) store {
	switch e := e.(type) {
	case event.StoreCreated:
		s.Name, s.Location = e.Name, e.Location
	case event.StoreRebranded:
		s.Name = e.Name
	case event.ParticipationEnabled:
		s.Participating = true
	case event.ParticipationDisabled:
		s.Participating = false
	}
	return s
}

func create(s store, c command.CreateStore, _ backbone.Meta) ([]backbone.Event, error) {
	if s.exists() {
		return nil, ErrStoreExists
	}
	return one(event.StoreCreated{Store: c.Store, Name: c.Name, Location: c.Location})
}

func rebrandStore(s store, c command.RebrandStore, _ backbone.Meta) ([]backbone.Event, error) {
	if !s.exists() {
		return nil, ErrStoreUnknown
	}
	if s.Name == c.Name {
		return nil, nil
	}
	return one(event.StoreRebranded{Store: c.Store, Name: c.Name})
}

func enableParticipation(s store, c command.EnableParticipation, _ backbone.Meta) ([]backbone.Event, error) {
	if !s.exists() {
		return nil, ErrStoreUnknown
	}
	if s.Participating {
		return nil, nil
	}
	return one(event.ParticipationEnabled{Store: c.Store})
}

func disableParticipation(s store, c command.DisableParticipation, _ backbone.Meta) ([]backbone.Event, error) {
	if !s.exists() {
		return nil, ErrStoreUnknown
	}
	if !s.Participating {
		return nil, nil
	}
	return one(event.ParticipationDisabled{Store: c.Store})
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }
