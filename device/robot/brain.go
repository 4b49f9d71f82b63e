package robot

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	soukv1 "example.org/souk/api/gen/souk/v1"
)

// Faults is what goes wrong, in percent of the stops; Duplicates and Drops in percent of what is said of actions. The zero
// value is a robot that works.
type Faults struct {
	Short      int `json:"short"`      // less is found than is wanted
	Block      int `json:"block"`      // the way is barred
	Vanish     int `json:"vanish"`     // the robot says nothing any more and does not move
	VanishMS   int `json:"vanish_ms"`  // for so long, in milliseconds; 0: for good
	Duplicates int `json:"duplicates"` // is said twice
	Drops      int `json:"drops"`      // the link breaks after it
	Drain      int `json:"drain"`      // the battery is all but empty after it
}

func (f Faults) check() error {
	for _, percent := range []int{f.Short, f.Block, f.Vanish, f.Duplicates, f.Drops, f.Drain} {
		if percent < 0 || percent > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	if f.VanishMS < 0 || f.VanishMS > 3_600_000 {
		return errors.New("a robot vanishes for 0 to 3600000 ms")
	}
	return nil
}

const (
	// pickTime is how long a robot of the usual speed takes at a stop; a faster one is faster in everything.
	pickTime   = time.Second
	usualSpeed = 150
	// perPercent is how far a robot drives on a hundredth of its battery, in centimetres, and chargeTime how long one of the usual speed takes to
	// load one.
	perPercent = 5_000
	chargeTime = 600 * time.Millisecond
	// full is where a robot that charges is ready again, and least what is left for the way there, in percent.
	full  = 90
	least = 1
	// noticed is by how much the battery falls before that is said, in percent.
	noticed = 10
)

// phase is what the robot does with its order.
type phase int

const (
	toStops phase = iota
	toFetch
	toDepot
	handing  // has said that it hands in, and waits to hear that it is taken
	leaving  // has said that it is done with the order, likewise
	stopping // was told to stop, or found out that the order is another's by now; goes to the depot
)

// brain is a robot without its link. Time comes in steps, chance from a seed. It is used by one goroutine.
type brain struct {
	chance  *rand.Rand
	speed   float64 // centimetres a second
	carries int64
	home    *soukv1.Place
	depot   *soukv1.Place
	session string

	x, y    float64
	heading int32
	battery float64
	charge  bool // was told to, and does when it is free
	loads   bool // is charging
	paused  bool
	gone    time.Duration // it has vanished for so long; below 0: for good

	order  *robotsv1.RobotOrder // that it has
	last   *robotsv1.OrderRef   // that it had before
	phase  phase
	done   map[int64]bool // stops
	begun  int64          // the stop whose fate is drawn
	fate   fate
	wait   time.Duration // at a stop, until it is done
	load   []*soukv1.Line
	number int64                    // of what was said of actions
	open   []*robotsv1.ActionStatus // that is not taken, oldest first

	said *robotsv1.RobotStatus
	out  []*robotsv1.WorkRequest
	drop bool // the link is to break
	low  bool // the battery has just been drained
}

// fate says which faults would strike at a stop, each if it is switched on: the number is below its percentage.
type fate struct{ short, block, vanish, duplicate, drop, missing, drain int }

func newBrain(seed uint64, number int, c Config, session string) *brain {
	home := &soukv1.Place{X: int64(number%32) * 100, Y: int64(number/32)*100 + 100}
	return &brain{
		chance: rand.New(rand.NewPCG(seed, uint64(number))), speed: c.Speed, carries: c.Carries, home: home, depot: &soukv1.Place{},
		session: session, x: float64(home.GetX()), y: float64(home.GetY()), battery: 100,
	}
}

func (b *brain) at() *soukv1.Place {
	return &soukv1.Place{X: int64(math.Round(b.x)), Y: int64(math.Round(b.y))}
}

func (b *brain) hello() *robotsv1.WorkRequest {
	return &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{
		Session: b.session, Carries: b.carries, Home: b.home, Order: b.order.GetOrder(),
	}}}
}

// mode is what the robot is about.
func (b *brain) mode() robotsv1.RobotMode {
	switch {
	case b.paused:
		return robotsv1.RobotMode_ROBOT_MODE_PAUSED
	case b.order != nil:
		return robotsv1.RobotMode_ROBOT_MODE_WORKING
	case b.loads || b.charge:
		return robotsv1.RobotMode_ROBOT_MODE_CHARGING
	}
	return robotsv1.RobotMode_ROBOT_MODE_IDLE
}

func (b *brain) status() *robotsv1.RobotStatus {
	return &robotsv1.RobotStatus{Mode: b.mode(), Battery: int64(b.battery), At: b.at(), Order: b.order.GetOrder()}
}

// again is what is said first over a new link: how the robot is, and what was not taken.
func (b *brain) again() []*robotsv1.WorkRequest {
	b.said = b.status()
	list := []*robotsv1.WorkRequest{{Say: &robotsv1.WorkRequest_Status{Status: b.said}}}
	for _, a := range b.open {
		list = append(list, &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Action{Action: a}})
	}
	b.out = nil
	return list
}

// flush returns what is to be said. A status stands before what follows from it.
func (b *brain) flush(beat bool) []*robotsv1.WorkRequest {
	out := b.out
	b.out = nil
	now := b.status()
	if beat || b.said == nil || now.GetMode() != b.said.GetMode() || !proto.Equal(now.GetOrder(), b.said.GetOrder()) || now.GetBattery() <= b.said.GetBattery()-noticed {
		b.said = now
		out = append(out, &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Status{Status: now}})
	}
	return out
}

func (b *brain) position() *robotsv1.WorkRequest {
	return &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Position{Position: &robotsv1.Position{At: b.at(), Heading: b.heading}}}
}

// tell takes what the robot is told.
func (b *brain) tell(m *robotsv1.WorkResponse) {
	switch say := m.GetSay().(type) {
	case *robotsv1.WorkResponse_Welcome:
		if at := say.Welcome.GetDepot(); at != nil {
			b.depot = at
		}
	case *robotsv1.WorkResponse_Order:
		if code := b.accept(say.Order); code != robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED {
			b.complain(code, say.Order.GetOrder())
		}
	case *robotsv1.WorkResponse_Instant:
		b.instant(say.Instant)
	case *robotsv1.WorkResponse_Taken:
		b.taken(say.Taken)
	}
}

func (b *brain) complain(code robotsv1.ErrorCode, ref *robotsv1.OrderRef) {
	b.out = append(b.out, &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Error{Error: &robotsv1.RobotError{
		Level: robotsv1.ErrorLevel_ERROR_LEVEL_WARNING, Code: code, Order: ref,
	}}})
}

// accept an order, or say why not.
func (b *brain) accept(o *robotsv1.RobotOrder) robotsv1.ErrorCode {
	id, update := o.GetOrder().GetOrderId(), o.GetOrder().GetUpdateId()
	if b.order == nil {
		if b.last.GetOrderId() == id && update < b.last.GetUpdateId() {
			return robotsv1.ErrorCode_ERROR_CODE_OUTDATED_ORDER_UPDATE
		}
		if b.mode() != robotsv1.RobotMode_ROBOT_MODE_IDLE {
			return robotsv1.ErrorCode_ERROR_CODE_OTHER_ORDER_ACTIVE
		}
		b.begin(o)
		return robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED
	}
	has := b.order.GetOrder()
	switch {
	case has.GetOrderId() != id:
		return robotsv1.ErrorCode_ERROR_CODE_OTHER_ORDER_ACTIVE
	case update < has.GetUpdateId():
		return robotsv1.ErrorCode_ERROR_CODE_OUTDATED_ORDER_UPDATE
	case update == has.GetUpdateId():
		if !same(o, b.order) {
			return robotsv1.ErrorCode_ERROR_CODE_SAME_ORDER_UPDATE_ID
		}
		return robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED
	case b.phase > toDepot || !proto.Equal(o.GetRecovery(), b.order.GetRecovery()) || !extends(o.GetStops(), b.order.GetStops()):
		return robotsv1.ErrorCode_ERROR_CODE_BASE_CHANGED
	}
	b.order = o // the base is as it was, the horizon is new
	b.phase = toStops
	return robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED
}

// same tells whether two orders have the same content.
func same(a, b *robotsv1.RobotOrder) bool {
	return proto.Equal(a.GetRecovery(), b.GetRecovery()) &&
		slices.EqualFunc(a.GetStops(), b.GetStops(), func(a, b *robotsv1.OrderStop) bool { return proto.Equal(a, b) })
}

// extends tells whether all stops that were released before stand in the new ones as they were.
func extends(after, before []*robotsv1.OrderStop) bool {
	for i, s := range before {
		if s.GetReleased() && (i >= len(after) || !proto.Equal(s, after[i])) {
			return false
		}
	}
	return true
}

func (b *brain) begin(o *robotsv1.RobotOrder) {
	b.order, b.phase, b.done, b.begun = o, toStops, map[int64]bool{}, 0
	for _, d := range o.GetDone() {
		b.done[d.GetStop()] = true
	}
	b.load = o.GetCarries()
}

func (b *brain) instant(i *robotsv1.Instant) {
	switch i.GetKind() {
	case robotsv1.InstantKind_INSTANT_KIND_PAUSE:
		b.paused = true
	case robotsv1.InstantKind_INSTANT_KIND_RESUME:
		b.paused, b.charge, b.loads = false, false, false
	case robotsv1.InstantKind_INSTANT_KIND_CHARGE:
		b.charge = true
	case robotsv1.InstantKind_INSTANT_KIND_STATE:
		b.said = nil
	case robotsv1.InstantKind_INSTANT_KIND_CANCEL:
		if b.order == nil || !proto.Equal(i.GetOrder(), b.order.GetOrder()) {
			b.complain(robotsv1.ErrorCode_ERROR_CODE_NO_ORDER_TO_CANCEL, i.GetOrder())
			return
		}
		b.stop()
	}
}

// stop with the order. What the robot says of it is not waited for; what it carries it takes to the depot.
func (b *brain) stop() {
	if b.phase != handing && b.phase != leaving { // these run to their end
		b.phase = stopping
	}
}

// taken hears what became of what it said.
func (b *brain) taken(t *robotsv1.Taken) {
	i := slices.IndexFunc(b.open, func(a *robotsv1.ActionStatus) bool { return a.GetNumber() == t.GetNumber() })
	if i < 0 {
		return // said twice
	}
	a := b.open[i]
	b.open = slices.Delete(b.open, i, i+1)
	if b.order == nil || !proto.Equal(a.GetOrder(), b.order.GetOrder()) {
		return
	}
	switch a.GetKind() {
	case robotsv1.ActionKind_ACTION_KIND_HAND_IN:
		b.load = nil // where it was not taken, somebody else takes it back
		b.leave()
	case robotsv1.ActionKind_ACTION_KIND_LEAVE:
		b.last, b.order = b.order.GetOrder(), nil // refused or not: there is nothing left to do for it
	case robotsv1.ActionKind_ACTION_KIND_FETCH:
		if t.GetRefusal() == "" {
			b.load = add(b.load, b.order.GetRecovery().GetLines()...)
		}
	case robotsv1.ActionKind_ACTION_KIND_PICK:
		if t.GetRefusal() != "" {
			b.putBack(a)
			b.stop() // the order is another's by now
		}
	}
}

// putBack what was picked for nobody.
func (b *brain) putBack(a *robotsv1.ActionStatus) {
	for _, s := range b.order.GetStops() {
		if s.GetStop() == a.GetStop() {
			b.load = add(b.load, &soukv1.Line{Sku: s.GetSku(), Quantity: -a.GetPicked()})
		}
	}
}

// say of an action what became of it, until it is taken.
func (b *brain) say(a *robotsv1.ActionStatus, f Faults) {
	b.number++
	a.Number, a.Order, a.State = b.number, b.order.GetOrder(), robotsv1.ActionState_ACTION_STATE_FINISHED
	if a.GetOutcome() == robotsv1.Outcome_OUTCOME_BLOCKED {
		a.State = robotsv1.ActionState_ACTION_STATE_FAILED
	}
	b.open = append(b.open, a)
	m := &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Action{Action: a}}
	b.out = append(b.out, m)
	if b.fate.duplicate < f.Duplicates {
		b.out = append(b.out, m)
	}
	b.drop = b.drop || b.fate.drop < f.Drops
}

func (b *brain) leave() {
	b.phase = leaving
	b.say(&robotsv1.ActionStatus{Kind: robotsv1.ActionKind_ACTION_KIND_LEAVE}, Faults{})
}

// step lets time pass. It returns whether the robot has moved.
func (b *brain) step(d time.Duration, f Faults) (moved bool) {
	if b.gone != 0 {
		if b.gone > 0 {
			b.gone = max(b.gone-d, 0)
		}
		return false
	}
	switch {
	case b.paused:
	case b.order != nil:
		return b.work(d, f)
	case b.loads:
		b.battery = min(b.battery+float64(d)/float64(chargeTime)*b.speed/usualSpeed, 100)
		if b.battery >= full {
			b.loads, b.charge = false, false
		}
	case b.charge:
		if b.drive(b.home, d) {
			b.loads = true
		}
		return true
	}
	return false
}

// work on the order.
func (b *brain) work(d time.Duration, f Faults) (moved bool) {
	switch b.phase {
	case toStops:
		s := b.next()
		if s == nil {
			b.phase = toDepot
			if b.order.GetRecovery() != nil && len(b.order.GetRecovery().GetLines()) > 0 {
				b.phase = toFetch
			}
			return false
		}
		if b.begun != s.GetStop() {
			b.begun, b.wait, b.fate = s.GetStop(), time.Duration(float64(pickTime)*usualSpeed/b.speed), b.draw()
			if b.fate.vanish < f.Vanish {
				b.gone = -1
				if f.VanishMS > 0 {
					b.gone = time.Duration(f.VanishMS) * time.Millisecond
				}
				return false
			}
		}
		if !b.drive(s.GetAt(), d) {
			return true
		}
		if b.wait -= d; b.wait <= 0 {
			b.pick(s, f)
		}
	case toFetch:
		if !b.drive(b.order.GetRecovery().GetAt(), d) {
			return true
		}
		b.phase = toDepot
		b.say(&robotsv1.ActionStatus{Kind: robotsv1.ActionKind_ACTION_KIND_FETCH}, f)
	case toDepot, stopping:
		if !b.drive(b.depot, d) {
			return true
		}
		if len(b.open) > 0 {
			return false // it hands in what is known to be picked
		}
		if len(b.load) == 0 {
			b.leave()
			return false
		}
		b.phase = handing
		b.say(&robotsv1.ActionStatus{Kind: robotsv1.ActionKind_ACTION_KIND_HAND_IN, Lines: b.load}, f)
	case handing, leaving:
	}
	return false
}

// next returns the stop that is before the robot.
func (b *brain) next() *robotsv1.OrderStop {
	for _, s := range b.order.GetStops() {
		if s.GetReleased() && !b.done[s.GetStop()] {
			return s
		}
	}
	return nil
}

// pick what is at a stop, as far as it is there.
func (b *brain) pick(s *robotsv1.OrderStop, f Faults) {
	a := &robotsv1.ActionStatus{
		Kind: robotsv1.ActionKind_ACTION_KIND_PICK, Stop: s.GetStop(), Outcome: robotsv1.Outcome_OUTCOME_PICKED, Picked: s.GetQuantity(),
	}
	switch {
	case b.fate.block < f.Block:
		a.Outcome, a.Picked = robotsv1.Outcome_OUTCOME_BLOCKED, 0
	case b.fate.short < f.Short:
		a.Outcome, a.Picked = robotsv1.Outcome_OUTCOME_SHORT, s.GetQuantity()-1-int64(b.fate.missing)%s.GetQuantity()
	}
	if a.GetPicked() > 0 {
		b.load = add(b.load, &soukv1.Line{Sku: s.GetSku(), Quantity: a.GetPicked()})
	}
	b.done[s.GetStop()] = true
	if b.fate.drain < f.Drain {
		b.battery, b.low = least, true
	}
	b.say(a, f)
}

// draw decides what would go wrong at a stop. It draws as often whatever is switched on.
func (b *brain) draw() fate {
	n := func() int { return b.chance.IntN(100) }
	return fate{short: n(), block: n(), vanish: n(), duplicate: n(), drop: n(), missing: b.chance.IntN(1000), drain: n()}
}

// drive towards a place; true when it is there.
func (b *brain) drive(to *soukv1.Place, d time.Duration) bool {
	dx, dy := float64(to.GetX())-b.x, float64(to.GetY())-b.y
	left, way := math.Hypot(dx, dy), b.speed*d.Seconds()
	if left < 0.5 {
		return true
	}
	b.heading = int32(math.Mod(math.Atan2(dx, dy)*180/math.Pi+360, 360))
	if way >= left {
		b.x, b.y = float64(to.GetX()), float64(to.GetY())
	} else {
		b.x, b.y = b.x+dx/left*way, b.y+dy/left*way
	}
	b.battery = max(b.battery-min(way, left)/perPercent, least)
	return way >= left
}

// add lines up, one a SKU, in the order of SKUs, in new ones.
func add(lines []*soukv1.Line, more ...*soukv1.Line) []*soukv1.Line {
	sum := map[string]int64{}
	for _, l := range slices.Concat(lines, more) {
		sum[l.GetSku()] += l.GetQuantity()
	}
	all := make([]*soukv1.Line, 0, len(sum))
	for sku, n := range sum {
		if n > 0 {
			all = append(all, &soukv1.Line{Sku: sku, Quantity: n})
		}
	}
	slices.SortFunc(all, func(a, b *soukv1.Line) int { return cmp.Compare(a.GetSku(), b.GetSku()) })
	return all
}
