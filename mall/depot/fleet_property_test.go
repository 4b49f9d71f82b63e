package depot

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// hall is a depot with robots that are as bad as they can be: they vanish, report twice, late, out of order and what is not so.
type hall struct {
	t         *rapid.T
	handlers  map[string]backbone.Handler
	histories map[string][]backbone.Event
	now       time.Time
	sent      []backbone.Command // under way, of the service to itself
	letters   []backbone.Command // of robots, lists and people; each may come at any time, and again
	timers    map[string]timer

	ids, robots []string

	lists    map[string]list
	fleet    map[string]robot
	standing floor
}

type timer struct {
	due     time.Time
	command backbone.Command
}

func newHall(t *rapid.T, lists, robots int) *hall {
	h := &hall{
		t: t, handlers: map[string]backbone.Handler{}, histories: map[string][]backbone.Event{}, now: backbonetest.Epoch, timers: map[string]timer{},
		lists: map[string]list{}, fleet: map[string]robot{},
	}
	for _, handler := range Service(Config{}).Handles {
		h.handlers[handler.CommandType()] = handler
	}
	for i := range lists {
		id := fmt.Sprintf("o%d", i)
		h.ids = append(h.ids, id)
		c := command.CreateShoppingList{List: id, Order: id}
		for n := range rapid.IntRange(1, 3).Draw(t, "stops") {
			c.Stops = append(c.Stops, mall.Stop{Stop: int64(n) + 1, SKU: fmt.Sprintf("p%d", n%2), Name: "p", Quantity: rapid.Int64Range(1, 2).Draw(t, "pieces")})
		}
		h.letters = append(h.letters, c, command.InitiateShopping{List: id})
	}
	for i := range robots {
		id := fmt.Sprintf("r%d", i)
		h.robots = append(h.robots, id)
		_ = h.do(command.RegisterRobot{Robot: id, Carries: 3})
		_ = h.do(command.RenewLease{Robot: id, State: mall.RobotIdle, Battery: 90})
	}
	return h
}

// do decides a command and carries out what follows, as the runtime does it in one transaction.
func (h *hall) do(c backbone.Command) error {
	appends, err := h.handlers[c.CommandType()].Decision(h.histories, c, backbone.Meta{Time: h.now})
	if refusal := (*backbone.Refusal)(nil); err != nil && !errors.As(err, &refusal) {
		h.t.Fatalf("%+v: %v", c, err)
	}
	for _, a := range appends {
		stream := a.To.Stream()
		for _, e := range a.Events {
			h.histories[stream] = append(h.histories[stream], e)
			h.evolve(stream, e)
			h.react(e)
		}
	}
	h.check()
	return err
}

func (h *hall) react(e backbone.Event) {
	switch e := e.(type) {
	case JobMatched:
		if e.Job.Lost == "" {
			h.sent = append(h.sent, command.AssignList{List: e.Job.List, Robot: e.Robot})
		} else {
			h.sent = append(h.sent, AssignRecovery{List: e.Job.List, Lost: e.Job.Lost, Robot: e.Robot})
		}
	case RobotCalledOff:
		h.sent = append(h.sent, FreeRobot{Robot: e.Robot, List: e.List})
	case JobPutOff:
		h.timers["offer/"+e.List+"/"+e.Lost] = timer{h.now.Add(putOff), OfferJob(e)}
	case LeaseRenewed:
		h.timers[e.Robot] = timer{time.UnixMicro(e.Expires), ExpireLease{Robot: e.Robot, Until: e.Expires, List: e.List}}
	case RobotTasked:
		h.timers[e.Robot] = timer{time.UnixMicro(e.Expires), ExpireLease{Robot: e.Robot, Until: e.Expires, List: e.List}}
	case RobotFreed:
		h.timers[e.Robot] = timer{time.UnixMicro(e.Expires), ExpireLease{Robot: e.Robot, Until: e.Expires}}
	}
}

// fire what has become due.
func (h *hall) fire() {
	for _, name := range slices.Sorted(maps.Keys(h.timers)) {
		if due, ok := h.timers[name]; ok && !due.due.After(h.now) {
			delete(h.timers, name)
			_ = h.do(due.command)
		}
	}
}

// evolve keeps the states beside the histories, so that they need not be folded at each step.
func (h *hall) evolve(stream string, e backbone.Event) {
	switch kind, id, _ := strings.Cut(stream, "/"); kind {
	case "list":
		h.lists[id] = evolveList(h.lists[id], e)
	case "robot":
		h.fleet[id] = evolveRobot(h.fleet[id], e)
	default:
		h.standing = evolveFloor(h.standing, e)
	}
}

func (h *hall) list(id string) list { return h.lists[id] }

func (h *hall) robot(id string) robot { return h.fleet[id] }

func (h *hall) floor() floor { return h.standing }

// check holds what must hold at any moment.
func (h *hall) check() {
	at := map[string]int{} // lists of a robot
	for _, id := range h.ids {
		s := h.list(id)
		told, over := map[int64]int{}, 0
		for _, e := range h.histories["list/"+id] {
			switch e := e.(type) {
			case event.StopPicked:
				told[e.Stop]++
			case event.StopShort:
				told[e.Stop]++
			case event.ShoppingListCompleted:
				over++
				picked, missing := s.picked()
				if !reflect.DeepEqual(e.Lines, orEmpty(picked)) || !reflect.DeepEqual(e.Missing, missing) {
					h.t.Fatalf("%s completed with %v and %v, has %v and %v", id, e.Lines, e.Missing, picked, missing)
				}
			}
		}
		for n, times := range told {
			if times > 1 {
				h.t.Fatalf("stop %d of %s was settled %d times", n, id, times)
			}
		}
		if over > 1 {
			h.t.Fatalf("%s was completed %d times", id, over)
		}
		if s.Phase != canceled {
			h.addsUp(id, s)
		}
		busy := map[string]bool{}
		if s.Robot != "" {
			busy[s.Robot] = true
		}
		for _, g := range s.Goods {
			if g.Fetcher != "" {
				busy[g.Fetcher] = true
			}
			if !g.Lost {
				busy[g.Robot] = true
			}
		}
		for robot := range busy {
			if at[robot]++; at[robot] > 1 {
				h.t.Fatalf("%s has two lists", robot)
			}
			if h.robot(robot).List != id {
				h.t.Fatalf("%s has %q and works for %s", robot, h.robot(robot).List, id)
			}
		}
	}
	h.checkFloor()
}

// addsUp holds that what was picked is with a robot, lost, or has arrived.
func (h *hall) addsUp(id string, s list) {
	picked, _ := s.picked()
	all := s.Arrived
	for _, g := range s.Goods {
		all = sum(all, g.Lines...)
	}
	if !slices.Equal(all, picked) {
		h.t.Fatalf("%s: picked %v, but there are %v", id, picked, all)
	}
}

func (h *hall) checkFloor() {
	f, seen := h.floor(), map[string]bool{}
	once := func(what string) {
		if seen[what] {
			h.t.Fatalf("%s stands on the floor twice: %+v", what, f)
		}
		seen[what] = true
	}
	for _, i := range f.Idle {
		once(i.Robot)
		if r := h.robot(i.Robot); !r.ready() {
			h.t.Fatalf("%s is offered and is %+v", i.Robot, r)
		}
	}
	for _, j := range f.Waiting.all() {
		once(j.List + "/" + j.Lost)
	}
	for _, p := range f.Matched {
		once(p.Robot)
		once(p.Job.List + "/" + p.Job.Lost)
	}
	if len(f.Idle) > 0 && f.Waiting.len() > 0 {
		h.t.Fatalf("robots and lists wait for each other: %+v", f)
	}
}

// work writes the letters that a robot sends which does honestly what it has to do; it returns whether there is anything.
func (h *hall) work(robot string) bool {
	b := h.robot(robot)
	if b.List == "" {
		return false
	}
	s := h.list(b.List)
	for _, at := range s.Stops {
		if s.Robot == robot && at.Way == s.Way && !at.Settled {
			c := command.ReportStop{List: b.List, Stop: at.Stop.Stop, Robot: robot, Update: s.Way, Outcome: mall.OutcomePicked, Picked: at.Quantity}
			switch rapid.IntRange(0, 5).Draw(h.t, "finds") {
			case 0:
				c.Outcome, c.Picked = mall.OutcomeShort, at.Quantity-1
			case 1:
				c.Outcome, c.Picked = mall.OutcomeBlocked, 0
			}
			h.letters = append(h.letters, c)
		}
	}
	for _, g := range s.Goods {
		if g.Fetcher == robot {
			h.letters = append(h.letters, command.RecoverItems{List: b.List, Lost: g.Robot, Robot: robot})
		}
	}
	if lines := s.carries(robot); len(lines) > 0 {
		h.letters = append(h.letters, command.DeliverItems{List: b.List, Robot: robot, Lines: lines})
	}
	h.letters = append(h.letters, command.CompleteList{List: b.List, Robot: robot})
	return true
}

// heartbeat of a robot, which may not have heard yet of what it was given.
func (h *hall) heartbeat(robot string) {
	state := mall.RobotIdle
	if h.robot(robot).List != "" {
		state = rapid.SampledFrom([]mall.RobotState{mall.RobotIdle, mall.RobotWorking, mall.RobotPaused}).Draw(h.t, "state")
	}
	_ = h.do(command.RenewLease{Robot: robot, State: state, Battery: rapid.SampledFrom([]int64{90, 5}).Draw(h.t, "battery")})
}

// step lets one thing happen.
func (h *hall) step() {
	t := h.t
	robot := rapid.SampledFrom(h.robots).Draw(t, "robot")
	id := rapid.SampledFrom(h.ids).Draw(t, "list")
	switch rapid.SampledFrom([]string{"letter", "letter", "letter", "sent", "sent", "beat", "work", "act", "act", "late", "cancel", "hand", "person", "brings", "steer"}).Draw(t, "step") {
	case "letter":
		if len(h.letters) > 0 {
			_ = h.do(rapid.SampledFrom(h.letters).Draw(t, "letter")) // it stays: it may come again
		}
	case "sent":
		if len(h.sent) > 0 {
			i := rapid.IntRange(0, len(h.sent)-1).Draw(t, "which")
			c := h.sent[i]
			h.sent = slices.Delete(h.sent, i, i+1)
			_ = h.do(c)
		}
	case "beat":
		h.heartbeat(robot)
	case "work":
		h.work(robot)
	case "act":
		before := len(h.letters)
		h.work(robot)
		for _, c := range h.letters[before:][:rapid.IntRange(0, len(h.letters)-before).Draw(t, "so many")] {
			_ = h.do(c)
		}
	case "late":
		h.now = h.now.Add(DefaultLease * time.Duration(rapid.IntRange(1, 3).Draw(t, "wait")) / 2)
		h.fire()
	case "cancel":
		if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			h.letters = append(h.letters, command.CancelList{List: id, Reason: "x"})
		}
	case "hand":
		_ = h.do(command.AssignList{List: id, Robot: robot})
	case "person":
		_ = h.do(command.RecoverItems{List: id, Lost: robot})
	case "brings":
		for _, g := range h.list(id).Goods {
			if g.Lost {
				_ = h.do(command.DeliverItems{List: id, Robot: g.Robot, Lines: g.Lines})
				break
			}
		}
	case "steer":
		_ = h.do(command.SteerRobot{Robot: robot, Steer: mall.SteerCharge})
	}
}

// finish lets everybody do what they have to, until nothing is left.
func (h *hall) finish() {
	for _, c := range h.letters { // what was wanted is wanted, and what was cancelled is
		if strings.HasSuffix(c.CommandType(), "ShoppingList.v1") || strings.HasSuffix(c.CommandType(), "Shopping.v1") {
			_ = h.do(c)
		}
	}
	for range 60 {
		h.letters = nil
		for len(h.sent) > 0 {
			c := h.sent[0]
			h.sent = h.sent[1:]
			_ = h.do(c)
		}
		for _, robot := range h.robots {
			state := mall.RobotIdle
			if b := h.robot(robot); b.Steered == mall.SteerCharge {
				state = mall.RobotCharging
			} else if b.List != "" {
				state = mall.RobotWorking
			}
			_ = h.do(command.RenewLease{Robot: robot, State: state, Battery: 90})
		}
		for _, robot := range h.robots {
			for h.work(robot) {
				letters := h.letters
				h.letters = nil
				for _, c := range letters {
					_ = h.do(c)
				}
			}
		}
		h.now = h.now.Add(putOff / 2)
		h.fire()
	}
}

// Whatever robots do, every stop is settled once, no list is done twice, no robot has two, and nothing is lost for good: once
// everybody does their work, every list that was wanted is completed.
func TestB15_NothingIsFetchedTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHall(t, rapid.IntRange(1, 3).Draw(t, "lists"), rapid.IntRange(1, 3).Draw(t, "robots"))
		for range rapid.IntRange(5, 120).Draw(t, "steps") {
			h.step()
		}
		h.finish()
		for _, id := range h.ids {
			if s := h.list(id); s.Phase != completed && s.Phase != canceled {
				t.Fatalf("%s is never done: %+v\nrobots %+v\nfloor %+v", id, s, h.robot("r0"), h.floor())
			}
		}
	})
}
