package drivertest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"example.org/souk/backbone/driver"
)

func testStreamConflict(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", 1), event("a", 2)}}))
	late := event("a", 2)
	late.ID = "another"
	want(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("b", 1), late}}), driver.ErrConflict)
	copied := event("c", 1)
	copied.ID = "a-1"
	want(t, write(ctx, s, &driver.Writes{Records: []driver.Record{copied}}), driver.ErrConflict)
	equal(t, "records", len(read(t, s, driver.ReadQuery{})), 2)
	w := &driver.Writes{Records: []driver.Record{event("b", 1), event("a", 3)}}
	must(t, write(ctx, s, w))
	equal(t, "position after conflicts", w.Records[1].Position, 4)
}

// Every row that must find its row as it was blames its own unit.
func testGuardConflicts(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	_, err := s.InitSubscription(ctx, service, "sub", 2, map[string]int64{"src": 0})
	must(t, err)
	held, err := s.Claim(ctx, service, "sub", "me", 2, 1e12)
	must(t, err)
	epoch := held[0].Epoch
	must(t, write(ctx, s, &driver.Writes{
		Answers:   []driver.Answer{{ID: "answered"}},
		Inbox:     []driver.InboxRow{{Subscription: "sub", Source: "src", ID: "seen"}},
		SetTimers: []driver.Timer{{Name: "t", Due: 1}},
		AddCalls:  []driver.Call{{ID: "k", Name: "mail", Stream: "x"}},
		Park:      []driver.Parked{{Subscription: "sub", Key: "key", State: "dead"}},
	}))
	calls, err := claimCalls(ctx, s, "mail", 1, 1e9, 1)
	must(t, err)
	parked, err := s.ParkedRows(ctx, service, "sub", "key", 0)
	must(t, err)
	timers, _, err := s.DueTimers(ctx, service, 9, 0)
	must(t, err)
	seq, generation := parked[0].Seq, timers[0].Generation
	for name, w := range map[string]*driver.Writes{
		"answer":                  {Answers: []driver.Answer{{Unit: 1, ID: "fresh"}, {Unit: 2, ID: "answered"}}},
		"answer twice in a batch": {Answers: []driver.Answer{{Unit: 1, ID: "fresh"}, {Unit: 2, ID: "fresh"}}},
		"inbox": {Inbox: []driver.InboxRow{
			{Unit: 1, Subscription: "sub", Source: "src", ID: "fresh"}, {Unit: 2, Subscription: "sub", Source: "src", ID: "seen"},
		}},
		"timer's generation": {FiredTimers: []driver.Timer{{Unit: 1, Name: "t", Generation: generation}, {Unit: 2, Name: "t", Generation: generation + 1}}},
		"timer that is gone": {FiredTimers: []driver.Timer{{Unit: 1, Name: "t", Generation: generation}, {Unit: 2, Name: "u", Generation: 1}}},
		"call's epoch":       {EndedCalls: []driver.CallEnd{{Unit: 2, ID: "k", Epoch: calls[0].Epoch + 1, Done: true}}},
		"delayed call":       {EndedCalls: []driver.CallEnd{{Unit: 2, ID: "k", Epoch: calls[0].Epoch - 1}}},
		"call twice":         {AddCalls: []driver.Call{{Unit: 1, ID: "k2"}, {Unit: 2, ID: "k"}}},
		"parked row": {Unpark: []driver.ParkedKey{
			{Unit: 1, Subscription: "sub", Key: "key", Seq: seq}, {Unit: 2, Subscription: "sub", Key: "key", Seq: seq + 1},
		}},
		"retried row": {Retry: []driver.Parked{{Unit: 2, Subscription: "sub", Key: "key", Seq: seq + 1}}},
		"checkpoint's epoch": {Moves: []driver.Move{
			{Unit: 1, Subscription: "sub", Source: "src", Slice: 0, Epoch: epoch, From: 0, To: 5},
			{Unit: 2, Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch - 1, From: 0, To: 5},
		}},
		"slice's guard": {Guards: []driver.Guard{
			{Unit: 1, Subscription: "sub", Source: "src", Slice: 0, Epoch: epoch},
			{Unit: 2, Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch - 1},
		}},
		"checkpoint's position": {Moves: []driver.Move{
			{Unit: 1, Subscription: "sub", Source: "src", Slice: 0, Epoch: epoch, From: 0, To: 5},
			{Unit: 2, Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch, From: 1, To: 5},
		}},
	} {
		w.Records = []driver.Record{event("never", 1)}
		err := write(ctx, s, w)
		if !errors.Is(err, driver.ErrConflict) {
			t.Fatalf("%s: got %v, want a conflict", name, err)
		}
		blamed(t, err, 2)
		if lost := errors.Is(err, driver.ErrClaimLost); lost != (len(w.EndedCalls) > 0) {
			t.Errorf("%s: got %v; whether that is a lost claim: %v", name, err, lost)
		}
	}
	head, err := s.Head(ctx, service)
	must(t, err)
	equal(t, "head after conflicts", head, 0)
	// All guards hold for who has it right.
	must(t, write(ctx, s, &driver.Writes{
		Answers:     []driver.Answer{{ID: "fresh"}},
		Inbox:       []driver.InboxRow{{Subscription: "sub", Source: "other", ID: "seen"}},
		FiredTimers: []driver.Timer{{Name: "t", Generation: generation}},
		EndedCalls:  []driver.CallEnd{{ID: "k", Epoch: calls[0].Epoch, Done: true}},
		Unpark:      []driver.ParkedKey{{Subscription: "sub", Key: "key", Seq: seq}},
		Moves:       []driver.Move{{Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch, From: 0, To: 5}},
		Guards: []driver.Guard{
			{Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch}, {Subscription: "sub", Source: "src", Slice: 1, Epoch: epoch},
		},
	}))
	cps, err := s.Checkpoints(ctx, service, "sub")
	must(t, err)
	equal(t, "checkpoint after a guard", fmt.Sprint(cps[1].Position, cps[1].Epoch), fmt.Sprint(5, epoch))
}

// Two transactions that record the same answer: one wins, the other learns of it.
func testCopiesConflict(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	var wins, losses atomic.Int64
	var done sync.WaitGroup
	for i := range 16 {
		done.Go(func() {
			stream := fmt.Sprintf("s%d", i)
			switch err := write(ctx, s, &driver.Writes{
				Records: []driver.Record{event(stream, 1)}, Answers: []driver.Answer{{ID: "same"}},
			}); {
			case err == nil:
				wins.Add(1)
			case errors.Is(err, driver.ErrConflict):
				losses.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	done.Wait()
	equal(t, "winners", wins.Load(), 1)
	equal(t, "losers", losses.Load(), 15)
	equal(t, "records", len(read(t, s, driver.ReadQuery{})), 1)
}
