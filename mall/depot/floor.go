package depot

import (
	"encoding/json"
	"maps"
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Bounds of the floor. It is one state that every match goes through, so it stays small: what finds no room asks again later.
const (
	maxWaiting = 4096
	theFloor   = "main"
)

// Depot is where goods are handed in, and where those lie that no store sells.
var Depot = mall.Place{}

// Job is what a robot can be given: a list, or what a lost robot carries of one.
type Job struct {
	List string     `json:"list"`
	Lost string     `json:"lost,omitempty"` // the robot whose goods are fetched
	At   mall.Place `json:"at"`             // where it begins
}

func (j Job) same(list, lost string) bool { return j.List == list && j.Lost == lost }

// idler is a robot that has nothing to do.
type idler struct {
	Robot string     `json:"robot"`
	At    mall.Place `json:"at"`
}

// pair is a match that is not given to list and robot yet.
type pair struct {
	Robot string `json:"robot"`
	Job   Job    `json:"job"`
}

// floor is the state of where idle robots and waiting lists meet. A robot stands in Idle or in Matched, or is not there; so does a
// job in Waiting and Matched.
type floor struct {
	Stores  map[string]mall.Place `json:"stores,omitempty"`
	Idle    []idler               `json:"idle,omitempty"`
	Waiting queue                 `json:"waiting,omitzero"`
	Matched []pair                `json:"matched,omitempty"`
}

var floors = &backbone.Aggregate[floor]{
	Name:           "floor",
	Private:        []backbone.Event{StorePlaced{}, RobotOffered{}, RobotTaken{}, JobQueued{}, JobDropped{}, JobMatched{}, MatchEnded{}},
	Evolve:         evolveFloor,
	SnapshotEvery:  1000,
	SnapshotSchema: "1",
}

func evolveFloor(s floor, e backbone.Event) floor {
	switch e := e.(type) {
	case StorePlaced:
		s.Stores = maps.Clone(s.Stores)
		if s.Stores == nil {
			s.Stores = map[string]mall.Place{}
		}
		s.Stores[e.Store] = e.At
	case RobotOffered:
		s.Idle = append(s.without(e.Robot), idler(e))
	case RobotTaken:
		s.Idle = s.without(e.Robot)
	case JobQueued:
		s.Waiting = s.Waiting.with(Job(e))
	case JobDropped:
		s.Waiting = s.Waiting.without(e.List, e.Lost)
	case JobMatched:
		s.Idle = s.without(e.Robot)
		s.Waiting = s.Waiting.without(e.Job.List, e.Job.Lost)
		s.Matched = append(slices.Clip(s.Matched), pair(e))
	case MatchEnded:
		s.Matched = slices.DeleteFunc(slices.Clone(s.Matched), func(p pair) bool { return p.Robot == e.Robot })
	}
	return s
}

// without returns the idle robots but one.
func (s floor) without(robot string) []idler {
	if !slices.ContainsFunc(s.Idle, func(i idler) bool { return i.Robot == robot }) {
		return slices.Clip(s.Idle)
	}
	return slices.DeleteFunc(slices.Clone(s.Idle), func(i idler) bool { return i.Robot == robot })
}

// idle returns the idle robot of that id.
func (s floor) idle(robot string) (idler, bool) {
	i := slices.IndexFunc(s.Idle, func(i idler) bool { return i.Robot == robot })
	if i < 0 {
		return idler{}, false
	}
	return s.Idle[i], true
}

// match returns what a robot is about to be given.
func (s floor) match(robot string) (Job, bool) {
	i := slices.IndexFunc(s.Matched, func(p pair) bool { return p.Robot == robot })
	if i < 0 {
		return Job{}, false
	}
	return s.Matched[i].Job, true
}

// knows tells whether a job waits or is matched.
func (s floor) knows(list, lost string) bool {
	return s.Waiting.has(list, lost) ||
		slices.ContainsFunc(s.Matched, func(p pair) bool { return p.Job.same(list, lost) })
}

// place returns where a stop is.
func (s floor) place(store string) mall.Place {
	if at, ok := s.Stores[store]; ok {
		return at
	}
	return Depot
}

// desk is a decision about the floor under way: what was said of it holds for what is decided next.
type desk struct {
	floor
	events []backbone.Event
}

func deskOf(l backbone.Loaded) *desk { return &desk{floor: floors.State(l, theFloor)} }

func (d *desk) say(e backbone.Event) {
	d.floor = evolveFloor(d.floor, e)
	d.events = append(d.events, e)
}

// offer gives a job to the nearest idle robot, or lets it wait; false where there is no room to wait.
func (d *desk) offer(j Job) bool {
	if d.knows(j.List, j.Lost) {
		return true
	}
	if len(d.Idle) > 0 {
		nearest := slices.MinFunc(d.Idle, func(a, b idler) int {
			if x, y := far(a.At, j.At), far(b.At, j.At); x != y {
				return int(min(max(x-y, -1), 1))
			}
			return 0
		})
		d.say(JobMatched{Robot: nearest.Robot, Job: j})
		return true
	}
	if d.Waiting.len() >= maxWaiting {
		return false
	}
	d.say(JobQueued(j))
	return true
}

// take in a robot that has nothing to do: it gets what waits longest.
func (d *desk) takeIn(robot string, at mall.Place) {
	if _, busy := d.match(robot); busy {
		return
	}
	if next, waits := d.Waiting.first(); waits {
		d.say(JobMatched{Robot: robot, Job: next})
		return
	}
	if i, ok := d.idle(robot); !ok || i.At != at {
		d.say(RobotOffered{Robot: robot, At: at})
	}
}

// take a robot away, which is not to be given anything.
func (d *desk) take(robot string) {
	if _, ok := d.idle(robot); ok {
		d.say(RobotTaken{Robot: robot})
	}
}

// drop a job that nobody needs to do any more. Where it is matched already, what gives it to the robot finds out.
func (d *desk) drop(list, lost string) {
	if d.Waiting.has(list, lost) {
		d.say(JobDropped{List: list, Lost: lost})
	}
}

// appends returns what was said of the floor, behind what was said of others.
func (d *desk) appends(others ...backbone.Append) []backbone.Append {
	others = slices.DeleteFunc(others, func(a backbone.Append) bool { return len(a.Events) == 0 })
	if len(d.events) > 0 {
		others = append(others, floors.Append(theFloor, d.events...))
	}
	return others
}

// far returns how far it is along the aisles, which run along the walls.
func far(a, b mall.Place) int64 { return max(a.X-b.X, b.X-a.X) + max(a.Y-b.Y, b.Y-a.Y) }

// PlaceStore says where a store is. Without a place it gets the next free one along the aisle; a store that has one keeps it then. The
// service sends that to itself when a store is opened; from then on whoever manages the mall may say where it is.
type PlaceStore struct {
	Store string      `json:"store"`
	At    *mall.Place `json:"at,omitempty"`
}

// CommandType returns the wire name.
func (PlaceStore) CommandType() string { return "souk.depot.PlaceStore.v1" }

// Stream returns the id of the floor.
func (PlaceStore) Stream() string { return theFloor }

// maxAcross bounds how far from the depot a store is, in centimetres along each side.
const maxAcross = 1_000_000

// Validate checks the command.
func (c PlaceStore) Validate() error {
	if err := mall.ValidID(c.Store); err != nil {
		return &mall.FieldError{Field: "store", Reason: err.Error()}
	}
	if at := c.At; at != nil && (max(at.X, at.Y) > maxAcross || min(at.X, at.Y) < -maxAcross) {
		return &mall.FieldError{Field: "at", Reason: "must be within 10 km of the depot"}
	}
	return nil
}

// Stores lie along aisles, eight at each, 20 metres apart; the first aisle begins 10 metres from the depot.
const (
	aisle = 8
	gap   = 2000
)

func placeStore(s floor, c PlaceStore, _ backbone.Meta) ([]backbone.Event, error) {
	at, placed := s.Stores[c.Store]
	switch {
	case c.At != nil && !placed:
		return nil, ErrStoreUnknown
	case c.At != nil && placed && at == *c.At, c.At == nil && placed:
		return nil, nil
	case c.At != nil:
		at = *c.At
	default:
		n := int64(len(s.Stores))
		at = mall.Place{X: gap/2 + gap*(n%aisle), Y: gap/2 + gap*(n/aisle)}
	}
	return []backbone.Event{StorePlaced{Store: c.Store, At: at}}, nil
}

// OfferJob brings a job to the floor again that had to wait elsewhere. The service sends it to itself.
type OfferJob struct {
	List string `json:"list"`
	Lost string `json:"lost,omitempty"`
}

// CommandType returns the wire name.
func (OfferJob) CommandType() string { return "souk.depot.OfferJob.v1" }

// Stream returns the id of the list.
func (c OfferJob) Stream() string { return c.List }

func offerStreams(c OfferJob) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), floors.Ref(theFloor)}
}

func offer(l backbone.Loaded, c OfferJob, _ backbone.Meta) ([]backbone.Append, error) {
	s, d := lists.State(l, c.List), deskOf(l)
	w := s.work(c.List)
	w.offer(d, c.Lost)
	return d.appends(w.append()), nil
}

func initiateStreams(c command.InitiateShopping) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), floors.Ref(theFloor)}
}

// StorePlaced says where a store is.
type StorePlaced struct {
	Store string     `json:"store"`
	At    mall.Place `json:"at"`
}

// RobotOffered says that a robot has nothing to do, and where it is.
type RobotOffered idler

// RobotTaken says that a robot is not to be given anything.
type RobotTaken struct {
	Robot string `json:"robot"`
}

// JobQueued says that a job waits for a robot.
type JobQueued Job

// JobDropped says that a job does not wait any more.
type JobDropped struct {
	List string `json:"list"`
	Lost string `json:"lost,omitempty"`
}

// JobMatched says that a robot is about to be given a job.
type JobMatched pair

// MatchEnded says that what a robot was matched with was given to it, or was not.
type MatchEnded struct {
	Robot string `json:"robot"`
}

// EventType returns the wire name.
func (StorePlaced) EventType() string { return "souk.depot.StorePlaced.v1" }

// EventType returns the wire name.
func (RobotOffered) EventType() string { return "souk.depot.RobotOffered.v1" }

// EventType returns the wire name.
func (RobotTaken) EventType() string { return "souk.depot.RobotTaken.v1" }

// EventType returns the wire name.
func (JobQueued) EventType() string { return "souk.depot.JobQueued.v1" }

// EventType returns the wire name.
func (JobDropped) EventType() string { return "souk.depot.JobDropped.v1" }

// EventType returns the wire name.
func (JobMatched) EventType() string { return "souk.depot.JobMatched.v1" }

// EventType returns the wire name.
func (MatchEnded) EventType() string { return "souk.depot.MatchEnded.v1" }

// queue holds jobs that wait, oldest first. It is a value: what is done with it leaves it as it is. So that not all of a long one is
// copied for each job that joins, these gather apart first. The zero value is empty.
type queue struct {
	older, newer []Job
}

// gathered is how many jobs join before the queue is copied as a whole.
const gathered = 64

func (q queue) len() int { return len(q.older) + len(q.newer) }

// first returns the job that waits longest; false if none does.
func (q queue) first() (Job, bool) {
	switch {
	case len(q.older) > 0:
		return q.older[0], true
	case len(q.newer) > 0:
		return q.newer[0], true
	}
	return Job{}, false
}

// all returns a copy, oldest first.
func (q queue) all() []Job { return slices.Concat(q.older, q.newer) }

func (q queue) has(list, lost string) bool {
	same := func(j Job) bool { return j.same(list, lost) }
	return slices.ContainsFunc(q.older, same) || slices.ContainsFunc(q.newer, same)
}

// with returns the queue that a job has joined.
func (q queue) with(j Job) queue {
	if len(q.newer) < gathered {
		return queue{q.older, append(slices.Clip(q.newer), j)}
	}
	return queue{q.all(), []Job{j}}
}

// without returns the queue that a job has left.
func (q queue) without(list, lost string) queue {
	leave := func(jobs []Job) []Job {
		i := slices.IndexFunc(jobs, func(j Job) bool { return j.same(list, lost) })
		switch {
		case i < 0:
			return jobs
		case i == 0:
			return jobs[1:]
		}
		return slices.Delete(slices.Clone(jobs), i, i+1)
	}
	return queue{leave(q.older), leave(q.newer)}
}

// IsZero reports whether nobody waits.
func (q queue) IsZero() bool { return q.len() == 0 }

// MarshalJSON writes the queue as one list.
func (q queue) MarshalJSON() ([]byte, error) { return json.Marshal(q.all()) }

// UnmarshalJSON reads such a list.
func (q *queue) UnmarshalJSON(data []byte) error {
	*q = queue{}
	return json.Unmarshal(data, &q.older)
}
