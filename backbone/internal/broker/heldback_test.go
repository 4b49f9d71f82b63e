package broker_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// large sells at a till with a note that is larger than the server takes.
func (m *mall) large(till string, bytes int) {
	m.t.Helper()
	if _, err := m.Do(m.t.Context(), sell{Till: till, Note: strings.Repeat("x", bytes)}); err != nil {
		m.t.Fatal(err)
	}
}

// counts awaits that the books hold so many entries of each till.
func (m *mall) counts(when string, want map[string]int) {
	m.t.Helper()
	await(m.t, when, func() bool {
		tills, _ := written(m.t, m.store)
		for till, n := range want {
			if len(tills[till]) != n {
				return false
			}
		}
		return true
	})
}

// held returns what the relay of the shop holds back.
func (m *mall) held() []backbone.HeldBack {
	m.t.Helper()
	list, err := backbone.HeldByRelay(m.t.Context(), m.store, "shop")
	if err != nil {
		m.t.Fatal(err)
	}
	return list
}

// noted awaits that an anchor vouches for all that was sold, but what is held back.
func (m *mall) noted() {
	m.t.Helper()
	await(m.t, "an anchor of the last record", func() bool {
		raw, err := m.store.Value(m.t.Context(), "shop", "relay.anchors")
		var anchors []struct{ Position int64 }
		if err == nil && raw != nil {
			err = json.Unmarshal(raw, &anchors)
		}
		rs, failed := m.store.Read(m.t.Context(), "shop", driver.ReadQuery{Types: []string{sold{}.EventType()}, Limit: 1, Descending: true})
		return err == nil && failed == nil && len(anchors) > 0 && anchors[len(anchors)-1].Position >= rs[0].Position
	})
}

func (m *mall) told(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.alarms {
		if strings.Contains(a, text) {
			n++
		}
	}
	return n
}

// F3: a record that the broker does not take because of its size stops its own stream and nothing else. It is named, once; what follows it in
// its stream waits for it, over a restart of the program too; once the broker takes it, all of it goes out, once and in order.
// Red where the relay tries the whole batch again, where what follows in the stream passes by, where what is held back is not stored, and
// where it is not tried again.
func TestF3_TooLargeHoldsItsStreamBack(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	s.most = 2000
	m := start(t, s, dir, plain)
	m.sell(10) // 2 at each till
	m.entries(10)
	s.do(func() { s.down = true }) // so that all of it comes to the relay as one batch
	m.sell(5)
	m.large("1", 3000)
	m.sell(10)
	m.large("3", 5000)
	m.sell(10)
	s.restart()
	m.counts("the other tills to go on", map[string]int{"0": 7, "1": 3, "2": 7, "3": 5, "4": 7})
	await(t, "it to be noted", func() bool { return len(m.held()) == 2 })
	held := m.held()
	for i, want := range []string{"till/till/1", "till/till/3"} {
		rs, err := m.store.Read(t.Context(), "shop", driver.ReadQuery{ID: held[i].ID})
		if err != nil || len(rs) != 1 || len(rs[0].Data) < 3000 || rs[0].Position != held[i].Position || held[i].Stream != want ||
			!strings.Contains(held[i].Cause, "too large") {
			t.Errorf("held back is %+v (%v), want what is too large at %s", held[i], err, want)
		}
		if n := m.told(held[i].ID); n != 1 {
			t.Errorf("of %s somebody was told %d times", held[i].ID, n)
		}
	}
	m.end()

	m = start(t, s, dir, plain)
	m.sell(10)
	m.counts("the other tills to go on after a restart", map[string]int{"0": 9, "1": 3, "2": 9, "3": 5, "4": 9})
	s.do(func() { s.most = 4000 })
	m.counts("the one that fits now to go out", map[string]int{"1": 10, "3": 5})
	await(t, "it to be held back no longer", func() bool { return len(m.held()) == 1 })
	if n := len(m.alarms); n > 0 {
		t.Errorf("what was told before is told again: %v", m.alarms)
	}
	s.do(func() { s.most = 0 })
	await(t, "nothing to be held back", func() bool { return len(m.held()) == 0 })
	m.entries(47)
}

// F3: a broker that has lost its end, and with it what had been held back long behind its turn, is given that again too. Red where the anchors of
// before stand as they were.
func TestF3_HeldBackAndLost(t *testing.T) {
	t.Parallel()
	s, dir := newServer(), t.TempDir()
	s.most, s.steady = 2000, true
	m := start(t, s, dir, plain)
	m.sell(5)
	m.large("1", 3000)
	m.sell(10)
	m.counts("the other tills to go on", map[string]int{"0": 3, "1": 1, "2": 3, "3": 3, "4": 3})
	m.noted()
	ends := s.ends("souk.shop")
	s.do(func() { s.most = 0 })
	await(t, "nothing to be held back", func() bool { return len(m.held()) == 0 })
	m.entries(16)
	s.kill()
	m.sell(5)
	s.lose("souk.shop", ends)
	s.restart()
	m.entries(21)
	stored := s.stored("souk.shop")
	rs, err := m.store.Read(t.Context(), "shop", driver.ReadQuery{Types: []string{sold{}.EventType()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if !slices.Contains(stored, r.ID) {
			t.Errorf("%s at position %d is not at the broker any more", r.ID, r.Position)
		}
	}
}
