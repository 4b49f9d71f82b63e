package depot

import (
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about robots; compare with errors.Is.
var (
	ErrNotIdle      = backbone.Refuse("not_idle", "the robot is not idle")
	ErrRobotUnknown = backbone.Refuse("robot_unknown", "there is no such robot")
	ErrRobotRetired = backbone.Refuse("robot_retired", "the robot belongs to the fleet no more")
	ErrRobotWorking = backbone.Refuse("robot_working", "the robot has something to do")
	ErrRobotOffline = backbone.Refuse("robot_offline", "nothing is heard of the robot")
)

const (
	// DefaultLease is how long a robot is counted on after it was heard of.
	DefaultLease = 30 * time.Second
	// lowBattery is the percentage below which an idle robot is sent to its charger.
	lowBattery = 20
)

// robot is the state of a robot. The zero value is one that does not belong to the fleet.
type robot struct {
	Registered bool            `json:"registered,omitempty"`
	Retired    bool            `json:"retired,omitempty"`
	Carries    int64           `json:"carries,omitempty"`
	Home       mall.Place      `json:"home"`
	State      mall.RobotState `json:"state,omitempty"`
	Battery    int64           `json:"battery,omitempty"`
	At         mall.Place      `json:"at"`
	Expires    int64           `json:"expires,omitempty"` // its lease
	List       string          `json:"list,omitempty"`
	Stopping   bool            `json:"stopping,omitempty"` // its list was taken away; it is free when it says that it is idle
	Steered    mall.Steer      `json:"steered,omitempty"`  // what it was told and has not done yet
}

// ready tells whether the robot can be given something.
func (r robot) ready() bool {
	return r.Registered && !r.Retired && r.List == "" && !r.Stopping && r.State == mall.RobotIdle
}

var robots = &backbone.Aggregate[robot]{
	Name: "robot",
	Public: []backbone.Event{
		event.RobotRegistered{}, event.RobotRetired{}, event.RobotChanged{}, event.RobotSteered{}, event.RobotLost{},
	},
	Private:        []backbone.Event{LeaseRenewed{}, RobotTasked{}, RobotFreed{}},
	Evolve:         evolveRobot,
	SnapshotEvery:  200,
	SnapshotSchema: "1",
}

func evolveRobot(s robot, e backbone.Event) robot {
	switch e := e.(type) {
	case event.RobotRegistered:
		s.Registered, s.Retired, s.Carries, s.Home = true, false, e.Carries, e.Home
		if s.State == "" {
			s.State, s.At = mall.RobotOffline, e.Home
		}
	case event.RobotRetired:
		s.Retired, s.State = true, mall.RobotOffline
	case event.RobotChanged:
		s.State = e.State
		if e.State == mall.RobotIdle {
			s.Stopping = false
		}
		if done := (e.State == mall.RobotCharging && s.Steered == mall.SteerCharge) ||
			(e.State == mall.RobotPaused && s.Steered == mall.SteerPause) ||
			(e.State != mall.RobotPaused && s.Steered == mall.SteerResume); done {
			s.Steered = ""
		}
	case event.RobotSteered:
		s.Steered = e.Steer
	case event.RobotLost:
		s.State, s.List, s.Stopping, s.Steered = mall.RobotOffline, "", false, ""
	case LeaseRenewed:
		s.Battery, s.At, s.Expires = e.Battery, e.At, e.Expires
	case RobotTasked:
		s.List = e.List
	case RobotFreed:
		s.List, s.Stopping = "", e.Stopping
	}
	return s
}

// unit is a decision about a robot under way.
type unit struct {
	robot
	id     string
	events []backbone.Event
}

func unitOf(l backbone.Loaded, id string) *unit { return &unit{robot: robots.State(l, id), id: id} }

func (u *unit) say(e backbone.Event) {
	u.robot = evolveRobot(u.robot, e)
	u.events = append(u.events, e)
}

func (u *unit) append() backbone.Append { return robots.Append(u.id, u.events...) }

// turn notes the state that the robot is in from now on.
func (u *unit) turn(to mall.RobotState) {
	if u.State != to {
		u.say(event.RobotChanged{Robot: u.id, State: to, Battery: u.Battery, At: u.At})
	}
}

// report to the floor that the robot is free, or send it to its charger.
func (u *unit) rest(d *desk) {
	switch {
	case !u.ready():
		d.take(u.id)
	case u.Battery < lowBattery:
		d.take(u.id)
		if u.Steered != mall.SteerCharge {
			u.say(event.RobotSteered{Robot: u.id, Steer: mall.SteerCharge})
		}
	case u.Steered == mall.SteerCharge || u.Steered == mall.SteerPause:
		d.take(u.id) // it is about to do that
	default:
		d.takeIn(u.id, u.At)
	}
}

func assignStreams(c command.AssignList) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func assign(l backbone.Loaded, c command.AssignList, _ backbone.Meta) ([]backbone.Append, error) {
	w, u, d := lists.State(l, c.List).work(c.List), unitOf(l, c.Robot), deskOf(l)
	err := w.availableErr()
	if err == nil && w.Robot != "" {
		err = ErrNotAvailable
	}
	return give(w, u, d, Job{List: c.List}, err, func() {
		stops := w.fitting(u.Carries)
		if w.Last == "" {
			w.say(event.ShoppingListAssigned{
				List: c.List, Order: w.Order, Robot: c.Robot, Update: w.Update + 1, Stops: stops, Expires: u.Expires,
			})
		} else {
			w.say(event.ShoppingListReassigned{
				List: c.List, Order: w.Order, From: w.Last, Robot: c.Robot, Update: w.Update + 1, Stops: stops, Expires: u.Expires,
			})
		}
	})
}

func (w *work) availableErr() error {
	switch w.Phase {
	case available:
		return nil
	case "":
		return ErrListUnknown
	case canceled:
		return ErrListCanceled
	}
	return ErrNotAvailable
}

// fitting returns the open stops that a robot can carry on one way, and at least one.
func (w *work) fitting(carries int64) []mall.Stop {
	open := w.open()
	pieces := open[0].Quantity
	n := 1
	for ; n < len(open) && pieces+open[n].Quantity <= carries; n++ {
		pieces += open[n].Quantity
	}
	return open[:n]
}

// give a job to a robot where both are still there; else what is there goes back to the floor. jobErr says what is wrong with the job.
func give(w *work, u *unit, d *desk, j Job, jobErr error, say func()) ([]backbone.Append, error) {
	promised, matched := d.match(u.id)
	matched = matched && promised.same(j.List, j.Lost)
	_, idle := d.idle(u.id)
	if matched {
		d.say(MatchEnded{Robot: u.id})
	}
	free := (matched || idle) && u.ready()
	if jobErr == nil && free {
		say()
		d.take(u.id)
		d.drop(j.List, j.Lost)
		u.say(RobotTasked{Robot: u.id, List: j.List, Lost: j.Lost, Update: w.Update, Expires: u.Expires})
		u.turn(mall.RobotAssigned)
		return d.appends(w.append(), u.append()), nil
	}
	if matched {
		if jobErr == nil {
			w.offer(d, j.Lost)
		}
		u.rest(d)
	}
	if jobErr == nil {
		jobErr = ErrNotIdle
	}
	return d.appends(w.append(), u.append()), jobErr
}

// AssignRecovery sends an idle robot for what a lost one carries. The service sends it to itself.
type AssignRecovery struct {
	List  string `json:"list"`
	Lost  string `json:"lost"`
	Robot string `json:"robot"`
}

// CommandType returns the wire name.
func (AssignRecovery) CommandType() string { return "souk.depot.AssignRecovery.v1" }

// Stream returns the id of the list.
func (c AssignRecovery) Stream() string { return c.List }

func assignRecoveryStreams(c AssignRecovery) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func assignRecovery(l backbone.Loaded, c AssignRecovery, _ backbone.Meta) ([]backbone.Append, error) {
	w, u, d := lists.State(l, c.List).work(c.List), unitOf(l, c.Robot), deskOf(l)
	i := w.lost(c.Lost)
	var err error
	if i < 0 || w.Goods[i].Fetcher != "" {
		err = ErrNothingLost
	}
	return give(w, u, d, Job{List: c.List, Lost: c.Lost}, err, func() {
		g := w.Goods[i]
		w.say(event.RecoveryAssigned{
			List: c.List, Order: w.Order, Lost: c.Lost, Robot: c.Robot, Update: w.Update + 1, Lines: g.Lines, At: g.At,
		})
	})
}

func completeStreams(c command.CompleteList) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func complete(l backbone.Loaded, c command.CompleteList, _ backbone.Meta) ([]backbone.Append, error) {
	w, u, d := lists.State(l, c.List).work(c.List), unitOf(l, c.Robot), deskOf(l)
	if w.Phase == "" {
		return nil, ErrListUnknown
	}
	if u.List != c.List {
		return nil, nil // told twice, or it was taken away
	}
	if w.Phase != canceled {
		switch {
		case len(w.carries(c.Robot)) > 0:
			return nil, ErrCarries
		case w.fetches(c.Robot):
			return nil, ErrStopsOpen
		case w.Robot == c.Robot:
			blocked, err := w.leave(c.Robot)
			if err != nil {
				return nil, err
			}
			if blocked {
				w.say(JobPutOff{List: c.List})
			} else {
				w.offer(d, "")
			}
		}
		w.settle()
	}
	u.say(RobotFreed{Robot: c.Robot, List: c.List, Expires: u.Expires})
	u.turn(mall.RobotIdle)
	u.rest(d)
	return d.appends(w.append(), u.append()), nil
}

// leave ends the assignment of who picks. The list is available again where stops are left; blocked tells that one of them was.
func (w *work) leave(robot string) (blocked bool, err error) {
	for _, at := range w.Stops {
		if at.Settled || at.Way != w.Way {
			continue
		}
		if !at.Blocked {
			return false, ErrStopsOpen
		}
		blocked = true
	}
	w.say(PickerDone{List: w.id, Robot: robot})
	if len(w.open()) > 0 {
		w.say(event.ShoppingListAvailable{List: w.id, Order: w.Order})
	}
	return blocked, nil
}

// register adds a robot. It may do so itself, but does not come back by itself once somebody has retired it.
func register(s robot, c command.RegisterRobot, m backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Retired && strings.HasPrefix(m.Actor, "robot:"):
		return nil, ErrRobotRetired
	case s.Registered && !s.Retired && s.Carries == c.Carries && s.Home == c.Home:
		return nil, nil
	}
	return one(event.RobotRegistered(c))
}

func retireStreams(c command.RetireRobot) []backbone.Ref {
	return []backbone.Ref{robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func retire(l backbone.Loaded, c command.RetireRobot, _ backbone.Meta) ([]backbone.Append, error) {
	u, d := unitOf(l, c.Robot), deskOf(l)
	_, matched := d.match(c.Robot)
	switch {
	case !u.Registered:
		return nil, ErrRobotUnknown
	case u.Retired:
		return nil, nil
	case u.List != "" || matched:
		return nil, ErrRobotWorking
	}
	u.say(event.RobotRetired(c))
	d.take(c.Robot)
	return d.appends(u.append()), nil
}

func renewStreams(c command.RenewLease) []backbone.Ref {
	return []backbone.Ref{robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func (cfg Config) renew(l backbone.Loaded, c command.RenewLease, m backbone.Meta) ([]backbone.Append, error) {
	u, d := unitOf(l, c.Robot), deskOf(l)
	switch {
	case !u.Registered:
		return nil, ErrRobotUnknown
	case u.Retired:
		return nil, ErrRobotRetired
	}
	u.say(LeaseRenewed{Robot: c.Robot, List: u.List, Battery: c.Battery, At: c.At, Expires: m.Time.Add(cfg.Lease).UnixMicro()})
	// One that has been given something and does not know it yet still says that it is idle.
	if u.List == "" || c.State != mall.RobotIdle {
		u.turn(c.State)
	}
	if u.List == "" {
		if c.State == mall.RobotIdle && u.Stopping {
			u.say(event.RobotChanged{Robot: c.Robot, State: c.State, Battery: c.Battery, At: c.At})
		}
		u.rest(d)
	}
	return d.appends(u.append()), nil
}

func steerStreams(c command.SteerRobot) []backbone.Ref {
	return []backbone.Ref{robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func steer(l backbone.Loaded, c command.SteerRobot, _ backbone.Meta) ([]backbone.Append, error) {
	u, d := unitOf(l, c.Robot), deskOf(l)
	switch {
	case !u.Registered:
		return nil, ErrRobotUnknown
	case u.Retired:
		return nil, ErrRobotRetired
	case u.State == mall.RobotOffline:
		return nil, ErrRobotOffline
	}
	u.say(event.RobotSteered(c))
	if c.Steer != mall.SteerResume {
		d.take(c.Robot)
	}
	return d.appends(u.append()), nil
}

// ExpireLease comes when a robot was not heard of for the time of its lease. The service sends it to itself.
type ExpireLease struct {
	Robot string `json:"robot"`
	Until int64  `json:"until"` // the lease that is over
	List  string `json:"list,omitempty"`
}

// CommandType returns the wire name.
func (ExpireLease) CommandType() string { return "souk.depot.ExpireLease.v1" }

// Stream returns the id of the robot.
func (c ExpireLease) Stream() string { return c.Robot }

func expireStreams(c ExpireLease) []backbone.Ref {
	refs := []backbone.Ref{robots.Ref(c.Robot), floors.Ref(theFloor)}
	if c.List != "" {
		refs = append(refs, lists.Ref(c.List))
	}
	return refs
}

func expire(l backbone.Loaded, c ExpireLease, _ backbone.Meta) ([]backbone.Append, error) {
	u, d := unitOf(l, c.Robot), deskOf(l)
	if u.Expires != c.Until || u.List != c.List || u.Retired {
		return nil, nil // it was heard of, or its timer was set anew, just before
	}
	lost := event.RobotLost{Robot: c.Robot, List: c.List, At: u.At}
	d.take(c.Robot)
	if c.List == "" {
		u.say(lost)
		return d.appends(u.append()), nil
	}
	w := lists.State(l, c.List).work(c.List)
	lost.Order = w.Order
	if w.Phase != canceled {
		lost.Lines = w.carries(c.Robot)
		w.lose(d, c.Robot, u.At)
	}
	u.say(lost)
	return d.appends(u.append(), w.append()), nil
}

// lose a robot: what it did not pick, what it carries and whom it went for is for others.
func (w *work) lose(d *desk, robot string, at mall.Place) {
	picked, fetched := w.Robot == robot, []string{}
	for _, g := range w.Goods {
		if g.Lost && g.Fetcher == robot {
			fetched = append(fetched, g.Robot)
		}
	}
	w.say(CarrierLost{List: w.id, Robot: robot, At: at})
	if picked && len(w.open()) > 0 {
		w.say(event.ShoppingListAvailable{List: w.id, Order: w.Order})
		w.offer(d, "")
	}
	if !slices.Contains(fetched, robot) {
		fetched = append(fetched, robot)
	}
	for _, who := range fetched {
		w.offer(d, who)
	}
	w.settle()
}

// FreeRobot tells a robot that it is called off. The service sends it to itself.
type FreeRobot struct {
	Robot string `json:"robot"`
	List  string `json:"list"`
}

// CommandType returns the wire name.
func (FreeRobot) CommandType() string { return "souk.depot.FreeRobot.v1" }

// Stream returns the id of the robot.
func (c FreeRobot) Stream() string { return c.Robot }

func freeStreams(c FreeRobot) []backbone.Ref {
	return []backbone.Ref{robots.Ref(c.Robot), floors.Ref(theFloor)}
}

func free(l backbone.Loaded, c FreeRobot, _ backbone.Meta) ([]backbone.Append, error) {
	u := unitOf(l, c.Robot)
	if u.List != c.List {
		return nil, nil
	}
	u.say(RobotFreed{Robot: c.Robot, List: c.List, Stopping: true, Expires: u.Expires})
	return []backbone.Append{u.append()}, nil
}

// LeaseRenewed says that a robot was heard of, and for how long it is counted on.
type LeaseRenewed struct {
	Robot   string     `json:"robot"`
	List    string     `json:"list,omitempty"` // that it has
	Battery int64      `json:"battery"`
	At      mall.Place `json:"at"`
	Expires int64      `json:"expires"`
}

// RobotTasked says that a robot is to pick for a list, or to fetch what a lost robot carries of it.
type RobotTasked struct {
	Robot   string `json:"robot"`
	List    string `json:"list"`
	Lost    string `json:"lost,omitempty"`
	Update  int64  `json:"update"`
	Expires int64  `json:"expires"`
}

// RobotFreed says that a robot has nothing to do for the list any more. Where it was called off it has to stop first.
type RobotFreed struct {
	Robot    string `json:"robot"`
	List     string `json:"list"`
	Stopping bool   `json:"stopping,omitempty"`
	Expires  int64  `json:"expires"`
}

// EventType returns the wire name.
func (LeaseRenewed) EventType() string { return "souk.depot.LeaseRenewed.v1" }

// EventType returns the wire name.
func (RobotTasked) EventType() string { return "souk.depot.RobotTasked.v1" }

// EventType returns the wire name.
func (RobotFreed) EventType() string { return "souk.depot.RobotFreed.v1" }
