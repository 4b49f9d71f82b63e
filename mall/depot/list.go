package depot

import (
	"cmp"
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about lists; compare with errors.Is.
var (
	ErrStoreUnknown = backbone.Refuse("store_unknown", "there is no such shop on the floor")
	ErrListUnknown  = backbone.Refuse("list_unknown", "there is no such shopping list")
	ErrListExists   = backbone.Refuse("list_exists", "there is a shopping list of this id with other stops")
	ErrListCanceled = backbone.Refuse("list_canceled", "the shopping list was cancelled")
	ErrListOver     = backbone.Refuse("list_over", "the shopping list is completed")
	ErrNotAvailable = backbone.Refuse("not_available", "the shopping list waits for no robot")
	ErrStopUnknown  = backbone.Refuse("stop_unknown", "the assignment has no such stop")
	ErrStopSettled  = backbone.Refuse("stop_settled", "something else was reported of the stop before")
	ErrQuantity     = backbone.Refuse("wrong_quantity", "picked is all of the stop, and short is less than that")
	ErrReplaced     = backbone.Refuse("assignment_replaced", "the robot does not have the shopping list, or has it anew")
	ErrNothing      = backbone.Refuse("carries_nothing", "the robot has nothing of the shopping list")
	ErrOtherLines   = backbone.Refuse("other_lines", "the robot has other goods of the shopping list")
	ErrCarries      = backbone.Refuse("carries_goods", "the robot has goods of the shopping list that it has not handed in")
	ErrStopsOpen    = backbone.Refuse("stops_open", "the robot has stops before it")
	ErrNothingLost  = backbone.Refuse("nothing_lost", "the robot has lost nothing of the shopping list, or it was fetched before")
)

type phase string

// The phases of a list: pending -> available -> assigned -> active -> completed | canceled, and back to available where a robot
// leaves stops behind. "" is a list that there is not.
const (
	pending   phase = "pending"
	available phase = "available"
	assigned  phase = "assigned"
	active    phase = "active"
	completed phase = "completed"
	canceled  phase = "canceled"
)

// stop is a stop and what became of it.
type stop struct {
	mall.Stop
	Settled bool
	Picked  int64
	Robot   string // who settled it
	Way     int64  // the assignment that it was settled in or is to be
	Blocked bool   // in that assignment
}

// goods are what a robot has picked and not handed in.
type goods struct {
	Robot   string
	Lines   []mall.Line
	Lost    bool // with the robot
	At      mall.Place
	Fetcher string // the robot that was sent for them
}

// list is the state of a shopping list. The zero value is one that there is not.
type list struct {
	Phase     phase
	Order     string
	WhenShort mall.WhenShort
	Stops     []stop
	Robot     string // who picks
	Way       int64  // its assignment
	Update    int64  // the last assignment or recovery
	Last      string // who picked before
	Goods     []goods
	Handed    []goods // the last that each robot handed in
	Arrived   []mall.Line
}

var lists = &backbone.Aggregate[list]{
	Name: "list",
	Public: []backbone.Event{
		event.ShoppingListCreated{},
		event.ShoppingListAvailable{},
		event.ShoppingListAssigned{},
		event.ShoppingListReassigned{},
		event.StopPicked{},
		event.StopShort{},
		event.StopBlocked{},
		event.ItemsDelivered{},
		event.ShoppingListCompleted{},
		event.ShoppingListCanceled{},
		event.RecoveryAssigned{},
		event.ItemsRecovered{},
	},
	Private: []backbone.Event{ListBarred{}, JobPutOff{}, PickerDone{}, CarrierLost{}, RobotCalledOff{}},
	Evolve:  evolveList,
}

func evolveList(s list, e backbone.Event) list {
	switch e := e.(type) {
	case event.ShoppingListCreated:
		s = list{Phase: pending, Order: e.Order, WhenShort: e.WhenShort}
		for _, at := range e.Stops {
			s.Stops = append(s.Stops, stop{Stop: at})
		}
	case event.ShoppingListAvailable:
		s.Phase = available
	case event.ShoppingListAssigned:
		return s.given(e.Robot, e.Update, e.Stops)
	case event.ShoppingListReassigned:
		return s.given(e.Robot, e.Update, e.Stops)
	case event.StopPicked:
		return s.settled(e.Stop, e.Robot, e.Quantity)
	case event.StopShort:
		return s.settled(e.Stop, e.Robot, e.Picked)
	case event.StopBlocked:
		s.Phase = active
		s.Stops = slices.Clone(s.Stops)
		s.Stops[e.Stop-1].Blocked = true
	case event.RecoveryAssigned:
		s.Update = e.Update
		s.Goods = slices.Clone(s.Goods)
		if i := s.lost(e.Lost); i >= 0 {
			s.Goods[i].Fetcher = e.Robot
		}
	case event.ItemsRecovered:
		return s.recovered(e)
	case event.ItemsDelivered:
		s.Goods = slices.DeleteFunc(slices.Clone(s.Goods), func(g goods) bool { return g.Robot == e.Robot && !g.Lost })
		s.Handed = slices.DeleteFunc(slices.Clone(s.Handed), func(g goods) bool { return g.Robot == e.Robot })
		s.Handed = append(s.Handed, goods{Robot: e.Robot, Lines: e.Lines})
		s.Arrived = sum(s.Arrived, e.Lines...)
	case PickerDone:
		s.Last, s.Robot = e.Robot, ""
	case CarrierLost:
		return s.without(e)
	case event.ShoppingListCompleted:
		s.Phase = completed
	case event.ShoppingListCanceled:
		s.Phase, s.Robot, s.Goods = canceled, "", nil
	case ListBarred:
		s.Phase = canceled
	}
	return s
}

// given begins an assignment.
func (s list) given(robot string, update int64, stops []mall.Stop) list {
	s.Phase, s.Robot, s.Update, s.Way = assigned, robot, update, update
	s.Stops = slices.Clone(s.Stops)
	for _, at := range stops {
		s.Stops[at.Stop-1].Way, s.Stops[at.Stop-1].Blocked = update, false
	}
	return s
}

// settled notes what a robot found at a stop.
func (s list) settled(n int64, robot string, picked int64) list {
	s.Phase = active
	s.Stops = slices.Clone(s.Stops)
	at := &s.Stops[n-1]
	at.Settled, at.Picked, at.Robot = true, picked, robot
	if picked > 0 {
		s.Goods = load(s.Goods, robot, mall.Line{SKU: at.SKU, Quantity: picked})
	}
	return s
}

// recovered moves what a lost robot carried to who has it now.
func (s list) recovered(e event.ItemsRecovered) list {
	i := s.lost(e.Lost)
	if i < 0 {
		return s
	}
	s.Goods = slices.Delete(slices.Clone(s.Goods), i, i+1)
	if e.Robot == "" {
		s.Arrived = sum(s.Arrived, e.Lines...)
	} else {
		s.Goods = load(s.Goods, e.Robot, e.Lines...)
	}
	return s
}

// without takes a robot from the list. What it carried is lost with it, and whom it went for is to be fetched by another.
func (s list) without(e CarrierLost) list {
	if s.Robot == e.Robot {
		s.Last, s.Robot = e.Robot, ""
	}
	s.Goods = slices.Clone(s.Goods)
	for i := range s.Goods {
		g := &s.Goods[i]
		if g.Robot == e.Robot && !g.Lost {
			g.Lost, g.At = true, e.At
		}
		if g.Fetcher == e.Robot {
			g.Fetcher = ""
		}
	}
	// A robot that was lost before with goods of this list has one heap of them, at the place where it is now.
	for i := len(s.Goods) - 1; i > 0; i-- {
		if j := s.lost(s.Goods[i].Robot); s.Goods[i].Lost && j >= 0 && j < i {
			s.Goods[j].Lines, s.Goods[j].At = sum(s.Goods[j].Lines, s.Goods[i].Lines...), s.Goods[i].At
			s.Goods = slices.Delete(s.Goods, i, i+1)
		}
	}
	return s
}

// lost returns the index of what a lost robot carries, or -1.
func (s list) lost(robot string) int {
	return slices.IndexFunc(s.Goods, func(g goods) bool { return g.Lost && g.Robot == robot })
}

// carries returns what a robot that is not lost has.
func (s list) carries(robot string) []mall.Line {
	for _, g := range s.Goods {
		if g.Robot == robot && !g.Lost {
			return g.Lines
		}
	}
	return nil
}

// open returns the stops that nobody has settled.
func (s list) open() []mall.Stop {
	var open []mall.Stop
	for _, at := range s.Stops {
		if !at.Settled {
			open = append(open, at.Stop)
		}
	}
	return open
}

// fetches tells whether a robot was sent for lost goods that it does not have yet.
func (s list) fetches(robot string) bool {
	return slices.ContainsFunc(s.Goods, func(g goods) bool { return g.Lost && g.Fetcher == robot })
}

// picked returns everything that was found, and missing what was not.
func (s list) picked() (picked, missing []mall.Line) {
	for _, at := range s.Stops {
		if at.Settled && at.Picked > 0 {
			picked = sum(picked, mall.Line{SKU: at.SKU, Quantity: at.Picked})
		}
		if at.Settled && at.Picked < at.Quantity {
			missing = sum(missing, mall.Line{SKU: at.SKU, Quantity: at.Quantity - at.Picked})
		}
	}
	return picked, missing
}

// load adds to what a robot carries, in a copy.
func load(all []goods, robot string, lines ...mall.Line) []goods {
	all = slices.Clone(all)
	for i := range all {
		if all[i].Robot == robot && !all[i].Lost {
			all[i].Lines = sum(all[i].Lines, lines...)
			return all
		}
	}
	return append(all, goods{Robot: robot, Lines: sum(nil, lines...)})
}

// sum adds lines up, one a SKU, in the order of SKUs.
func sum(lines []mall.Line, more ...mall.Line) []mall.Line {
	lines = slices.Clone(lines)
	for _, m := range more {
		i, found := slices.BinarySearchFunc(lines, m, func(a, b mall.Line) int { return cmp.Compare(a.SKU, b.SKU) })
		if found {
			lines[i].Quantity += m.Quantity
		} else {
			lines = slices.Insert(lines, i, m)
		}
	}
	return lines
}

// work is a decision about a list under way.
type work struct {
	list
	id     string
	events []backbone.Event
}

func (s list) work(id string) *work { return &work{list: s, id: id} }

func (w *work) say(e backbone.Event) {
	w.list = evolveList(w.list, e)
	w.events = append(w.events, e)
}

func (w *work) append() backbone.Append { return lists.Append(w.id, w.events...) }

// offer brings what there is to do of the list to the floor: its stops, or what a lost robot carries.
func (w *work) offer(d *desk, lost string) {
	j := Job{List: w.id, Lost: lost}
	if lost == "" {
		open := w.open()
		if w.Phase != available || len(open) == 0 {
			return
		}
		j.At = d.place(open[0].Store)
	} else {
		i := w.lost(lost)
		if i < 0 || w.Goods[i].Fetcher != "" {
			return
		}
		j.At = w.Goods[i].At
	}
	if !d.offer(j) {
		w.say(JobPutOff{List: w.id, Lost: lost})
	}
}

// settle completes the list where nothing is left to do.
func (w *work) settle() {
	if w.Phase == completed || w.Phase == canceled || w.Robot != "" || len(w.Goods) > 0 || len(w.open()) > 0 {
		return
	}
	lines, missing := w.picked()
	w.say(event.ShoppingListCompleted{List: w.id, Order: w.Order, Lines: orEmpty(lines), Missing: missing})
}

// orEmpty returns a list that JSON writes as one.
func orEmpty(lines []mall.Line) []mall.Line {
	if lines == nil {
		return []mall.Line{}
	}
	return lines
}

func create(s list, c command.CreateShoppingList, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Phase == canceled:
		return nil, ErrListCanceled
	case s.Phase == "":
		return []backbone.Event{event.ShoppingListCreated(c)}, nil
	case s.Order != c.Order || s.WhenShort != c.WhenShort ||
		!slices.EqualFunc(s.Stops, c.Stops, func(a stop, b mall.Stop) bool { return a.Stop == b }):
		return nil, ErrListExists
	}
	return nil, nil
}

func initiate(l backbone.Loaded, c command.InitiateShopping, _ backbone.Meta) ([]backbone.Append, error) {
	s := lists.State(l, c.List)
	switch s.Phase {
	case "":
		return nil, ErrListUnknown
	case canceled:
		return nil, ErrListCanceled
	case pending:
	default:
		return nil, nil
	}
	w, d := s.work(c.List), deskOf(l)
	w.say(event.ShoppingListAvailable{List: c.List, Order: s.Order})
	w.offer(d, "")
	return d.appends(w.append()), nil
}

// report is about stops alone: a robot that is lost has no list any more.
func report(s list, c command.ReportStop, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Phase == "":
		return nil, ErrListUnknown
	case s.Phase == canceled:
		return nil, ErrListCanceled
	case c.Stop > int64(len(s.Stops)):
		return nil, ErrStopUnknown
	}
	at := s.Stops[c.Stop-1]
	if at.Settled && at.Robot == c.Robot && at.Way == c.Update {
		if c.Outcome == at.outcome() && c.Picked == at.Picked {
			return nil, nil // told twice
		}
		return nil, ErrStopSettled
	}
	if s.Robot != c.Robot || s.Way != c.Update {
		return nil, ErrReplaced
	}
	if at.Way != c.Update {
		return nil, ErrStopUnknown
	}
	switch c.Outcome {
	case mall.OutcomePicked:
		if c.Picked != at.Quantity {
			return nil, ErrQuantity
		}
		return one(event.StopPicked{List: c.List, Order: s.Order, Stop: c.Stop, Robot: c.Robot, SKU: at.SKU, Quantity: c.Picked})
	case mall.OutcomeShort:
		if c.Picked >= at.Quantity {
			return nil, ErrQuantity
		}
		return one(event.StopShort{
			List: c.List, Order: s.Order, Stop: c.Stop, Robot: c.Robot, SKU: at.SKU, Wanted: at.Quantity, Picked: c.Picked,
		})
	}
	if at.Blocked {
		return nil, nil
	}
	return one(event.StopBlocked{List: c.List, Order: s.Order, Stop: c.Stop, Robot: c.Robot})
}

// outcome returns what was reported of a settled stop.
func (s stop) outcome() mall.Outcome {
	if s.Picked < s.Quantity {
		return mall.OutcomeShort
	}
	return mall.OutcomePicked
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }

func deliverStreams(c command.DeliverItems) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), floors.Ref(theFloor)}
}

func deliver(l backbone.Loaded, c command.DeliverItems, _ backbone.Meta) ([]backbone.Append, error) {
	s, lines := lists.State(l, c.List), sum(nil, c.Lines...)
	switch s.Phase {
	case "":
		return nil, ErrListUnknown
	case canceled:
		return nil, ErrListCanceled
	}
	w, d := s.work(c.List), deskOf(l)
	carried := s.carries(c.Robot)
	if lost := s.lost(c.Robot); len(carried) == 0 && lost >= 0 {
		// It was lost and has come back by itself.
		carried = s.Goods[lost].Lines
		if slices.Equal(carried, lines) {
			w.say(event.ItemsRecovered{List: c.List, Order: s.Order, Lost: c.Robot, Robot: c.Robot, Lines: lines})
			d.drop(c.List, c.Robot)
		}
	}
	switch {
	case len(carried) == 0:
		i := slices.IndexFunc(s.Handed, func(g goods) bool { return g.Robot == c.Robot })
		if i >= 0 && slices.Equal(s.Handed[i].Lines, lines) {
			return nil, nil // told twice
		}
		return nil, ErrNothing
	case !slices.Equal(carried, lines):
		return nil, ErrOtherLines
	}
	w.say(event.ItemsDelivered{List: c.List, Order: s.Order, Robot: c.Robot, Lines: lines})
	w.settle()
	return d.appends(w.append()), nil
}

func recoverStreams(c command.RecoverItems) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), floors.Ref(theFloor)}
}

func recoverItems(l backbone.Loaded, c command.RecoverItems, _ backbone.Meta) ([]backbone.Append, error) {
	s := lists.State(l, c.List)
	switch s.Phase {
	case "":
		return nil, ErrListUnknown
	case canceled:
		return nil, ErrListCanceled
	}
	i := s.lost(c.Lost)
	if i < 0 || c.Robot != "" && s.Goods[i].Fetcher != c.Robot {
		return nil, ErrNothingLost
	}
	w, d := s.work(c.List), deskOf(l)
	w.say(event.ItemsRecovered{List: c.List, Order: s.Order, Lost: c.Lost, Robot: c.Robot, Lines: s.Goods[i].Lines})
	d.drop(c.List, c.Lost)
	w.settle()
	return d.appends(w.append()), nil
}

func cancelStreams(c command.CancelList) []backbone.Ref {
	return []backbone.Ref{lists.Ref(c.List), floors.Ref(theFloor)}
}

func cancel(l backbone.Loaded, c command.CancelList, _ backbone.Meta) ([]backbone.Append, error) {
	s := lists.State(l, c.List)
	switch s.Phase {
	case canceled:
		return nil, nil
	case "":
		return []backbone.Append{lists.Append(c.List, ListBarred(c))}, nil
	}
	w, d := s.work(c.List), deskOf(l)
	d.drop(c.List, "")
	var busy []string
	if s.Robot != "" {
		busy = append(busy, s.Robot)
	}
	for _, g := range s.Goods {
		if g.Lost {
			d.drop(c.List, g.Robot)
		}
		if who := cmp.Or(g.Fetcher, g.Robot); !g.Lost || g.Fetcher != "" {
			busy = append(busy, who)
		}
	}
	slices.Sort(busy)
	for _, robot := range slices.Compact(busy) {
		w.say(RobotCalledOff{List: c.List, Robot: robot})
	}
	back, _ := s.picked()
	w.say(event.ShoppingListCanceled{List: c.List, Order: s.Order, Reason: c.Reason, Return: back})
	return d.appends(w.append()), nil
}

// ListBarred says that a list was cancelled before there was one: it is not to be.
type ListBarred struct {
	List   string `json:"list"`
	Reason string `json:"reason"`
}

// JobPutOff says that what is to do of the list is not offered to robots for a while.
type JobPutOff struct {
	List string `json:"list"`
	Lost string `json:"lost,omitempty"`
}

// PickerDone says that a robot does nothing for the list any more.
type PickerDone struct {
	List  string `json:"list"`
	Robot string `json:"robot"`
}

// CarrierLost says that a robot which worked for the list is lost, and where.
type CarrierLost struct {
	List  string     `json:"list"`
	Robot string     `json:"robot"`
	At    mall.Place `json:"at"`
}

// RobotCalledOff says that a robot is to stop what it does for the list.
type RobotCalledOff struct {
	List  string `json:"list"`
	Robot string `json:"robot"`
}

// EventType returns the wire name.
func (ListBarred) EventType() string { return "souk.depot.ListBarred.v1" }

// EventType returns the wire name.
func (JobPutOff) EventType() string { return "souk.depot.JobPutOff.v1" }

// EventType returns the wire name.
func (PickerDone) EventType() string { return "souk.depot.PickerDone.v1" }

// EventType returns the wire name.
func (CarrierLost) EventType() string { return "souk.depot.CarrierLost.v1" }

// EventType returns the wire name.
func (RobotCalledOff) EventType() string { return "souk.depot.RobotCalledOff.v1" }
