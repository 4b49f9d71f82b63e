package house

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/gateway/robots"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
	"example.org/souk/mall/depot"
)

// sightings are the robots that speak with some process of the mall, as they are now. A robot has its stream in one of the processes that run the
// depot, and those in which it was before may not have noticed yet that it is gone; each is asked for what it knows, and the newest that a robot said
// counts. What was before that is kept nowhere. It may be used concurrently.
type sightings struct {
	show func(staff.Position) // is called with the newest of each robot; it must not wait
	mu   sync.Mutex
	of   map[string]sighting // by robot; only those that are online
}

type sighting struct {
	robots.Sighting
	process string
}

// take shows what a process knows of a robot, where that is the newest there is. What one process says is in order. Two processes are told
// apart by their clocks: where these differ, a robot that changes from one to the other is seen again so much later, or when the first has noticed
// that it is gone.
func (s *sightings) take(process string, seen robots.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.of[seen.Robot]
	switch {
	case ok && known.process != process && (!seen.Online || !seen.Seen.After(known.Seen)):
	case !seen.Online:
		delete(s.of, seen.Robot)
	case ok || len(s.of) < maxFleet:
		if s.of == nil {
			s.of = map[string]sighting{}
		}
		s.of[seen.Robot] = sighting{seen, process}
		s.show(staff.Position{Robot: seen.Robot, At: seen.At, Heading: int64(seen.Heading), Battery: seen.Battery})
	}
}

// drop forgets what only a process knows that cannot be asked any more.
func (s *sightings) drop(process string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for robot, known := range s.of {
		if known.process == process {
			delete(s.of, robot)
		}
	}
}

// said is what robots said of themselves and have not gone since, by their ids.
func (s *sightings) said() map[string]robots.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := map[string]robots.Sighting{}
	for robot, known := range s.of {
		if known.State != "" {
			said[robot] = known.Sighting
		}
	}
	return said
}

// showRobots has staff see where the robots are, here and in all other processes, until ctx ends.
func (h *House) showRobots(ctx context.Context) {
	h.sighted.show = h.staff.Moved
	if h.robots != nil {
		h.loops.Go(func() { h.watchRobots(ctx) })
	}
	if h.peers != nil {
		f := following{list: h.peers.Processes, follow: h.followRobotsOf, self: h.owner, log: h.cfg.Logger}
		h.loops.Go(func() { f.run(ctx) })
	}
}

// sightEvery is how often what robots say in this process is looked at, however many say something.
const sightEvery = 100 * time.Millisecond

// watchRobots takes what robots say in this process, until ctx ends.
func (h *House) watchRobots(ctx context.Context) {
	changed, stop := h.robots.Watch()
	defer stop()
	tick := time.NewTicker(sightEvery)
	defer tick.Stop()
	last := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		var list []robots.Sighting
		list, last = h.robots.Sightings(last)
		for _, seen := range list {
			h.sighted.take(h.owner, seen)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// findEvery is how often processes are looked for whose robots are not followed: new ones, and those that could not be reached.
const findEvery = time.Second

// askAgain is after how long, at most, a process is asked again that does not know how to be followed: one of a version before, or whose robots'
// gateway is not there. It may be another one at the same address by then.
const askAgain = time.Minute

// following is who follows all other processes that robots may speak with.
type following struct {
	list   func(context.Context) ([]peers.Process, error)
	follow func(context.Context, peers.Process) error // returns when the process cannot be followed any more
	self   string
	log    *slog.Logger
}

// run takes what robots say in all other processes, until ctx ends. A process is followed until its stream ends.
func (f following) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	var followed sync.Map // ids of processes
	tick := time.NewTicker(findEvery)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, findEvery)
		list, err := f.list(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "robots that speak with a new process may not be seen", "error", err)
		}
		for _, p := range list {
			if p.ID == f.self || !slices.Contains(p.Parts, depot.ServiceName) {
				continue
			}
			if _, already := followed.LoadOrStore(p.ID, true); already {
				continue
			}
			all.Go(func() {
				defer followed.Delete(p.ID)
				f.of(ctx, p)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// of follows one process until it ends, or cannot be reached. One that does not know how to be followed is asked again at growing distances.
func (f following) of(ctx context.Context, p peers.Process) {
	for wait, first := 2*findEvery, true; ; wait, first = min(2*wait, askAgain), false {
		err := f.follow(ctx, p)
		unknown := connect.CodeOf(err) == connect.CodeUnimplemented
		if ctx.Err() == nil && (first || !unknown) {
			f.log.InfoContext(ctx, "robots are where the depot noted them until their process can be followed again", "process", p.ID, "error", err)
		}
		if !unknown {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// followRobotsOf takes what robots say in another process, until its stream or ctx ends. It may be any of several that run the depot, so it is that one
// that is asked.
func (h *House) followRobotsOf(ctx context.Context, p peers.Process) error {
	defer h.sighted.drop(p.ID)
	client := soukv1connect.NewDepotServiceClient(h.peers.To(p), peers.URL(depot.ServiceName), connect.WithGRPC())
	stream, err := client.FollowRobots(ctx, connect.NewRequest(&soukv1.FollowRobotsRequest{}))
	if err != nil {
		return wrong(err)
	}
	defer func() { _ = stream.Close() }() // its error is told by Err
	for stream.Receive() {
		for _, m := range stream.Msg().GetRobots() {
			h.sighted.take(p.ID, seenIn(m))
		}
	}
	return wrong(stream.Err())
}

// sighted shows other processes the robots that speak with this one.
type sighted struct{ *robots.Gateway }

// Sightings implements rpc.Robots.
func (s sighted) Sightings(since uint64) ([]*soukv1.RobotSighting, uint64) {
	list, last := s.Gateway.Sightings(since)
	told := make([]*soukv1.RobotSighting, len(list))
	for i, seen := range list {
		told[i] = &soukv1.RobotSighting{
			Robot: seen.Robot, Online: seen.Online, State: string(seen.State), Battery: seen.Battery,
			At: &soukv1.Place{X: seen.At.X, Y: seen.At.Y}, Heading: seen.Heading, Seen: timestamppb.New(seen.Seen),
		}
	}
	return told, last
}

// seenIn reads what sighted told.
func seenIn(m *soukv1.RobotSighting) robots.Sighting {
	return robots.Sighting{
		Robot: m.GetRobot(), Online: m.GetOnline(), State: mall.RobotState(m.GetState()), Battery: m.GetBattery(),
		At: mall.Place{X: m.GetAt().GetX(), Y: m.GetAt().GetY()}, Heading: m.GetHeading(), Seen: m.GetSeen().AsTime(),
	}
}
