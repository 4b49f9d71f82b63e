package logbus

import (
	"context"
	"testing"

	"example.org/souk/backbone/driver"
)

// leaving takes nothing: the slices are being given up.
type leaving struct{ driver.Sink }

func (leaving) Deliver(ctx context.Context, _ int, _ []driver.Delivery) error { return ctx.Err() }

// When a subscription ends, its slices may know so before its feeds do: a feed then goes on above a message that nobody took. The slice of that message is not
// idle, so that its checkpoint stays where it is and the message comes again. Red when the slice counts as joined still: at the end, checkpoints of idle
// slices are moved to where the feed is, and the message would never be handled.
func TestASliceThatIsGivenUpIsNotIdle(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	ended, lasting := &slot{ctx: over, marks: []mark{{joined: true, prev: 3}}}, &slot{ctx: t.Context(), marks: []mark{{joined: true, prev: 3}}}
	s := &subscription{sink: leaving{}, slots: []*slot{ended, lasting}}
	f := &feed{sub: s, interest: driver.Interest{Source: "shop", Types: []string{"test.Happened.v1"}}, counts: make([]int, len(s.slots))}
	s.feeds = []*feed{f}
	var rs []driver.Record
	for i := range int64(20) { // of both slices
		rs = append(rs, driver.Record{Position: 4 + i, Kind: driver.KindEvent, Type: "test.Happened.v1", Stream: string(rune('a' + i))})
	}
	told, err := f.dispatch(t.Context(), rs)
	if err != nil || told != len(rs) {
		t.Fatalf("%d of %d were dealt with: %v", told, len(rs), err)
	}
	if ended.marks[0].joined {
		t.Error("a slice that was given up counts as one to which everything was delivered")
	}
	if m := lasting.marks[0]; !m.joined || m.prev == 3 {
		t.Errorf("the other slice stands at %+v", m)
	}
}
