package house

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.org/souk/gateway/robots"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
	"example.org/souk/mall/depot"
)

// A process of a version before does not know how to be followed: it is asked again ever more seldom, once a minute in the end, and that is told once. When it
// is replaced the next one is followed at once; one that could not be reached is tried each second, and one that is followed is left alone. Red
// when every process is asked each second, and when one that does not know is never asked again.
func TestAProcessThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		asked := map[string][]time.Duration{} // since the start
		began := time.Now()
		parts := []string{depot.ServiceName}
		var told bytes.Buffer
		f := following{
			list: func(context.Context) ([]peers.Process, error) {
				list := []peers.Process{{ID: "self", Parts: parts}, {ID: "other", Parts: []string{"orders"}}, {ID: "old", Parts: parts}, {ID: "new", Parts: parts}, {ID: "gone", Parts: parts}}
				if time.Since(began) > time.Hour {
					list = append(list, peers.Process{ID: "next", Parts: parts})
				}
				return list, nil
			},
			follow: func(ctx context.Context, p peers.Process) error {
				mu.Lock()
				asked[p.ID] = append(asked[p.ID], time.Since(began))
				mu.Unlock()
				switch p.ID {
				case "old":
					return fmt.Errorf("ask: %w", connect.NewError(connect.CodeUnimplemented, errors.New("no such method")))
				case "gone":
					return connect.NewError(connect.CodeUnavailable, errors.New("no connection"))
				}
				<-ctx.Done()
				return ctx.Err()
			},
			self: "self", log: slog.New(slog.NewTextHandler(&told, nil)),
		}
		done := make(chan struct{})
		go func() { f.run(ctx); close(done) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		cancel()
		<-done
		old := asked["old"]
		if len(old) < 115 || len(old) > 130 || old[1] != 2*time.Second || old[len(old)-1]-old[len(old)-2] != time.Minute {
			t.Errorf("one that does not know how was asked %d times: %v", len(old), old[:min(len(old), 10)])
		}
		if n := strings.Count(told.String(), "process=old"); n != 1 {
			t.Errorf("that was told %d times", n)
		}
		if len(asked["gone"]) < 7000 || len(asked["new"]) != 1 || len(asked["next"]) != 1 || asked["self"] != nil || asked["other"] != nil {
			t.Errorf("asked %d times, %v, %v, %v, %v", len(asked["gone"]), asked["new"], asked["next"], asked["self"], asked["other"])
		}
	})
}

// Of what several processes know of one robot the newest counts, in whichever order it comes, and a process that has lost a robot takes nothing away
// from the one that has it. Red when what comes last counts, when a process that ended is believed, and when there is no bound.
func TestTheNewestSightingCounts(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	shown := staff.Position{}
	s := sightings{show: func(p staff.Position) { shown = p }}
	said := func(x, seconds int64, online bool) robots.Sighting {
		return robots.Sighting{
			Robot: "R1", Online: online, State: mall.RobotIdle, Battery: 40 + x, At: mall.Place{X: x}, Heading: 90, Seen: began.Add(time.Duration(seconds) * time.Second),
		}
	}
	for _, step := range []struct {
		what    string
		process string
		seen    robots.Sighting
		at      int64 // -1: nowhere
	}{
		{"the first", "a", said(1, 10, true), 1},
		{"what came from elsewhere is older", "b", said(2, 9, true), 1},
		{"as old", "b", said(2, 10, true), 1},
		{"newer", "b", said(3, 12, true), 3},
		{"the first is asked again, and has it still", "a", said(1, 10, true), 3},
		{"the first notices that it is gone", "a", said(1, 15, false), 3},
		{"a clock that was set back, in one process", "b", said(4, 11, true), 4},
		{"it goes", "b", said(4, 16, false), -1},
		{"it comes again", "a", said(5, 14, true), 5},
	} {
		s.take(step.process, step.seen)
		robot, known := s.said()["R1"]
		if known != (step.at >= 0) || known && robot.At.X != step.at {
			t.Errorf("%s: %v at %+v", step.what, known, robot.At)
		}
		if want := (staff.Position{Robot: "R1", At: mall.Place{X: step.at}, Heading: 90, Battery: 40 + step.at}); known && shown != want {
			t.Errorf("%s: staff are shown %+v", step.what, shown)
		}
	}
	s.drop("b")
	if len(s.said()) != 1 {
		t.Error("with another process its robot is gone")
	}
	s.drop("a")
	if len(s.said()) != 0 {
		t.Error("what a process knew that is not followed any more is believed")
	}
	for n := range maxFleet + 10 {
		s.take("a", robots.Sighting{Robot: fmt.Sprint(n), Online: true, State: mall.RobotIdle})
	}
	if n := len(s.said()); n != maxFleet {
		t.Errorf("%d robots are kept", n)
	}
	s.take("a", robots.Sighting{Robot: "0", At: mall.Place{X: 7}, Online: true})
	if len(s.said()) != maxFleet-1 || shown.At.X != 7 { // it has not said how it is
		t.Errorf("one of those that are kept is shown at %+v", shown.At)
	}
}
