package robots_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/robots"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/stores"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logins let everybody in whose password is their id.
type logins struct {
	mu      sync.Mutex
	revoked map[string]bool
}

func (l *logins) Admit(_ context.Context, robot, password string) (string, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return robot, robot == password && !l.revoked[robot], nil
}

func (l *logins) Standing(context.Context) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]string{}
	for _, robot := range []string{"r1", "r2"} {
		if !l.revoked[robot] {
			all[robot] = robot
		}
	}
	return all, nil
}

// counted counts the commands that reach the depot, by type.
type counted struct {
	robots.Commands
	mu    sync.Mutex
	count map[string]int
}

func (c *counted) Do(ctx context.Context, cmd backbone.Command, o ...backbone.DoOption) (backbone.Answer, error) {
	c.mu.Lock()
	c.count[cmd.CommandType()]++
	c.mu.Unlock()
	return c.Commands.Do(ctx, cmd, o...)
}

func (c *counted) of(wire string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[wire]
}

// bench is a depot with its gateway, and a client.
type bench struct {
	t        *testing.T
	world    *backbonetest.World
	gateway  *robots.Gateway
	commands *counted
	closing  chan struct{}
	http     *http.Client
	url      string
	client   robotsv1connect.RobotsServiceClient
}

func begin(t *testing.T, change ...func(*robots.Config)) *bench {
	t.Helper()
	b := &bench{t: t, closing: make(chan struct{})}
	b.world = backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{depot.Service(depot.Config{}), stores.Service()}})
	b.commands = &counted{Commands: b.world.Runtime(), count: map[string]int{}}
	c := robots.Config{
		Commands: b.commands, Reader: b.world.Reader("depot"), Changed: b.world.Runtime().Changed, Logins: &logins{revoked: map[string]bool{}}, Closing: b.closing,
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if b.gateway, err = robots.New(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var loop sync.WaitGroup
	loop.Go(func() { b.gateway.Run(ctx) })
	server := httptest.NewUnstartedServer(b.gateway)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	b.http, b.url = &http.Client{Transport: transport}, server.URL
	b.client = robotsv1connect.NewRobotsServiceClient(b.http, b.url, connect.WithGRPC())
	t.Cleanup(func() {
		cancel()
		loop.Wait()
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return b
}

// robot is a robot that says what a test wants.
type robot struct {
	*bench
	stream *connect.BidiStreamForClient[robotsv1.WorkRequest, robotsv1.WorkResponse]
}

// comes opens a stream and is welcomed.
func (b *bench) comes(id string) *robot {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), 30*time.Second)
	r := &robot{b, b.client.Work(ctx)}
	b.t.Cleanup(cancel)
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(id, id)
	r.stream.RequestHeader()["Authorization"] = request.Header["Authorization"]
	r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 10, Home: &soukv1.Place{X: 5}}}})
	if r.hears().GetWelcome() == nil {
		b.t.Fatal("it is not welcomed")
	}
	return r
}

func (r *robot) says(m *robotsv1.WorkRequest) {
	r.t.Helper()
	if err := r.stream.Send(m); err != nil {
		r.t.Fatal(err)
	}
}

func (r *robot) is(mode robotsv1.RobotMode, order *robotsv1.OrderRef) {
	r.t.Helper()
	r.has(80, mode, order)
}

// has is is with so much of its battery left, in percent.
func (r *robot) has(battery int64, mode robotsv1.RobotMode, order *robotsv1.OrderRef) {
	r.t.Helper()
	r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Status{Status: &robotsv1.RobotStatus{Mode: mode, Battery: battery, Order: order}}})
}

func (r *robot) acts(a *robotsv1.ActionStatus) *robotsv1.Taken {
	r.t.Helper()
	a.State = robotsv1.ActionState_ACTION_STATE_FINISHED
	r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Action{Action: a}})
	for {
		if taken := r.hears().GetTaken(); taken != nil {
			return taken
		}
	}
}

func (r *robot) hears() *robotsv1.WorkResponse {
	r.t.Helper()
	m, err := r.stream.Receive()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// ends expects that the stream ends with a code.
func (r *robot) ends(code connect.Code) {
	r.t.Helper()
	for {
		_, err := r.stream.Receive()
		if err == nil {
			continue
		}
		if connect.CodeOf(err) != code {
			r.t.Errorf("the stream ends with %v, want %v", err, code)
		}
		return
	}
}

const (
	idle     = robotsv1.RobotMode_ROBOT_MODE_IDLE
	working  = robotsv1.RobotMode_ROBOT_MODE_WORKING
	charging = robotsv1.RobotMode_ROBOT_MODE_CHARGING
	broken   = robotsv1.RobotMode_ROBOT_MODE_ERROR
)

func (b *bench) list(id string) {
	b.world.Do(b.t, command.CreateShoppingList{List: id, Order: id, Stops: []mall.Stop{{Stop: 1, SKU: "tea", Name: "Tea", Quantity: 2}}})
	b.world.Do(b.t, command.InitiateShopping{List: id})
}

func ref(id string, update int64) *robotsv1.OrderRef {
	return &robotsv1.OrderRef{OrderId: id, UpdateId: update}
}

// until waits for something that is to happen soon.
func (b *bench) until(what string, happened func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-ctx.Done():
			b.t.Fatalf("it did not come to this: %s", what)
		case <-tick.C:
		}
	}
}

// A robot is told its order, and what it says of it is taken once, however often it says it.
func TestAnOrderFromBothSides(t *testing.T) {
	t.Parallel()
	b := begin(t)
	r := b.comes("r1")
	r.is(idle, nil)
	b.list("o1")
	o := r.hears().GetOrder()
	if o.GetOrder().GetOrderId() != "o1" || len(o.GetStops()) != 1 || !o.GetStops()[0].GetReleased() {
		t.Fatalf("%v", o)
	}
	r.is(working, o.GetOrder())
	pick := func() *robotsv1.ActionStatus {
		return &robotsv1.ActionStatus{Number: 1, Order: o.GetOrder(), Kind: robotsv1.ActionKind_ACTION_KIND_PICK, Stop: 1, Outcome: robotsv1.Outcome_OUTCOME_PICKED, Picked: 2}
	}
	for range 2 {
		if taken := r.acts(pick()); taken.GetNumber() != 1 || taken.GetRefusal() != "" {
			t.Errorf("%v", taken)
		}
	}
	other := pick()
	other.Picked = 1
	if taken := r.acts(other); taken.GetRefusal() != "other_action" {
		t.Errorf("something else under the same number: %v", taken)
	}
	if taken := r.acts(&robotsv1.ActionStatus{Number: 2, Order: o.GetOrder(), Kind: robotsv1.ActionKind_ACTION_KIND_LEAVE}); taken.GetRefusal() != "carries_goods" {
		t.Errorf("%v", taken)
	}
	if taken := r.acts(&robotsv1.ActionStatus{Number: 3, Kind: robotsv1.ActionKind_ACTION_KIND_HAND_IN}); taken.GetRefusal() != "invalid" {
		t.Errorf("nonsense: %v", taken)
	}
	hand := &robotsv1.ActionStatus{Number: 4, Order: o.GetOrder(), Kind: robotsv1.ActionKind_ACTION_KIND_HAND_IN, Lines: []*soukv1.Line{{Sku: "tea", Quantity: 2}}}
	if taken := r.acts(hand); taken.GetRefusal() != "" {
		t.Errorf("%v", taken)
	}
	if taken := r.acts(&robotsv1.ActionStatus{Number: 5, Order: o.GetOrder(), Kind: robotsv1.ActionKind_ACTION_KIND_LEAVE}); taken.GetRefusal() != "" {
		t.Errorf("%v", taken)
	}
	if l, _, err := depot.ListOf(t.Context(), b.world.Reader("depot"), "o1"); err != nil || l.State != "completed" {
		t.Errorf("%+v %v", l, err)
	}
}

// What a robot has to do stands over a lost link: one that knows its order is not told it again, one that has forgotten is, with
// what it has done.
func TestALostLinkChangesNothing(t *testing.T) {
	t.Parallel()
	b := begin(t)
	r := b.comes("r1")
	r.is(idle, nil)
	b.list("o1")
	o := r.hears().GetOrder()
	r.acts(&robotsv1.ActionStatus{Number: 1, Order: o.GetOrder(), Kind: robotsv1.ActionKind_ACTION_KIND_PICK, Stop: 1, Outcome: robotsv1.Outcome_OUTCOME_PICKED, Picked: 2})
	again := b.comes("r1")
	r.ends(connect.CodeAborted) // the older stream
	again.is(idle, nil)
	o = again.hears().GetOrder()
	if o.GetOrder().GetUpdateId() != 1 || len(o.GetDone()) != 1 || len(o.GetCarries()) != 1 {
		t.Fatalf("%v", o)
	}
	// It has another order than it should: that is cancelled first, the right one comes when it is free.
	again.is(working, ref("o9", 1))
	if i := again.hears().GetInstant(); i.GetKind() != robotsv1.InstantKind_INSTANT_KIND_CANCEL || i.GetOrder().GetOrderId() != "o9" {
		t.Errorf("%v", i)
	}
	again.is(working, o.GetOrder())
	b.world.Do(t, command.CancelList{List: "o1", Reason: "x"})
	if i := again.hears().GetInstant(); i.GetKind() != robotsv1.InstantKind_INSTANT_KIND_CANCEL || i.GetOrder().GetOrderId() != "o1" {
		t.Errorf("%v", i)
	}
	// Its actions have stopped: it gets the next.
	again.is(idle, nil)
	b.list("o2")
	if o := again.hears().GetOrder(); o.GetOrder().GetOrderId() != "o2" {
		t.Errorf("%v", o)
	}
}

// A robot that refused an order is asked how it is, and told again.
func TestARefusedOrderComesAgain(t *testing.T) {
	t.Parallel()
	b := begin(t)
	r := b.comes("r1")
	r.is(idle, nil)
	b.list("o1")
	o := r.hears().GetOrder()
	r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Error{Error: &robotsv1.RobotError{
		Level: robotsv1.ErrorLevel_ERROR_LEVEL_WARNING, Code: robotsv1.ErrorCode_ERROR_CODE_OTHER_ORDER_ACTIVE, Order: o.GetOrder(),
	}}})
	if i := r.hears().GetInstant(); i.GetKind() != robotsv1.InstantKind_INSTANT_KIND_STATE {
		t.Errorf("%v", i)
	}
	r.is(idle, nil)
	if again := r.hears().GetOrder(); again.GetOrder().GetOrderId() != "o1" {
		t.Errorf("%v", again)
	}
}

// A robot whose battery was drained while it worked is sent to its charger when it is done, and not to the next list, however fresh its lease is;
// when it has charged, however short that was, it is given that list. Red where the depot goes by the battery of the last renewal, and where it never
// hears that the robot has charged.
func TestADrainedRobotChargesFirst(t *testing.T) {
	t.Parallel()
	b := begin(t)
	r := b.comes("r1")
	r.is(idle, nil)
	b.list("o1")
	o := r.hears().GetOrder().GetOrder()
	b.list("o2")
	r.is(working, o)
	r.acts(&robotsv1.ActionStatus{Number: 1, Order: o, Kind: robotsv1.ActionKind_ACTION_KIND_PICK, Stop: 1, Outcome: robotsv1.Outcome_OUTCOME_SHORT})
	r.has(1, working, o)
	if taken := r.acts(&robotsv1.ActionStatus{Number: 2, Order: o, Kind: robotsv1.ActionKind_ACTION_KIND_LEAVE}); taken.GetRefusal() != "" {
		t.Fatalf("%v", taken)
	}
	r.has(1, idle, nil)
	if i := r.hears(); i.GetInstant().GetKind() != robotsv1.InstantKind_INSTANT_KIND_CHARGE {
		t.Fatalf("it is told %v", i)
	}
	r.has(1, charging, nil)
	r.has(95, idle, nil)
	if again := r.hears().GetOrder(); again.GetOrder().GetOrderId() != "o2" {
		t.Errorf("it is told %v", again)
	}
}

// However often a robot says something, its lease is renewed when it is time and when its mode changes, and positions leave no trace.
// One in error is not counted on.
func TestLeasesAtABoundedRate(t *testing.T) {
	t.Parallel()
	b := begin(t)
	r := b.comes("r1")
	for n := range 60 {
		r.is(idle, nil)
		r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Position{Position: &robotsv1.Position{At: &soukv1.Place{X: int64(n)}}}})
	}
	b.until("its positions came", func() bool {
		c := b.gateway.Counts()
		return c.Positions+c.Dropped == 60
	})
	if n := b.commands.of(command.RenewLeaseV1); n != 1 {
		t.Errorf("its lease was renewed %d times", n)
	}
	list, last := b.gateway.Sightings(0)
	if len(list) != 1 || list[0].Robot != "r1" || !list[0].Online || list[0].State != mall.RobotIdle {
		t.Errorf("%+v", list)
	}
	if list, _ = b.gateway.Sightings(last); len(list) != 0 {
		t.Errorf("nothing happened since, and %+v", list)
	}
	changed, stop := b.gateway.Watch()
	defer stop()
	r.is(broken, nil)
	<-changed
	b.until("the depot knows", func() bool {
		v, _, err := depot.RobotOf(t.Context(), b.world.Reader("depot"), "r1")
		return err == nil && v.State == mall.RobotError
	})
	before := b.commands.of(command.RenewLeaseV1)
	for range 20 {
		r.is(broken, nil)
	}
	r.says(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Error{Error: &robotsv1.RobotError{Level: robotsv1.ErrorLevel_ERROR_LEVEL_FATAL, Hint: "a wheel is off"}}})
	b.until("the board shows it", func() bool {
		list, _ := b.gateway.Sightings(last)
		return len(list) == 1 && list[0].Error == "a wheel is off"
	})
	if n := b.commands.of(command.RenewLeaseV1); n != before {
		t.Errorf("the lease of a robot in error was renewed %d times", n-before)
	}
}

// F10: one login has so many streams, so that it cannot take the places of all; what is ended makes room. A message that is too long
// only when it is unpacked is too long. Red without maxOpen, when streams that ended still count, and without maxMessage.
func TestF10_OneRobotTakesNoOthersPlace(t *testing.T) {
	t.Parallel()
	b := begin(t, func(c *robots.Config) { c.MaxRobots, c.SlowAfter = 6, time.Minute })
	opens := func(id string) (*robot, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		t.Cleanup(cancel)
		r := &robot{b, b.client.Work(ctx)}
		request := http.Request{Header: http.Header{}}
		request.SetBasicAuth(id, id)
		r.stream.RequestHeader()["Authorization"] = request.Header["Authorization"]
		if err := r.stream.Send(nil); err != nil {
			t.Fatal(err)
		}
		return r, cancel
	}
	var ends []context.CancelFunc
	for range 4 {
		_, end := opens("r1")
		ends = append(ends, end)
		b.until("it is counted", func() bool { return b.gateway.Counts().Open == len(ends) })
	}
	fifth, _ := opens("r1")
	fifth.ends(connect.CodeResourceExhausted)
	b.comes("r2")
	for _, end := range ends {
		end()
	}
	b.until("they have ended", func() bool { return b.gateway.Counts().Open == 1 })
	b.comes("r1")

	packed := robotsv1connect.NewRobotsServiceClient(b.http, b.url, connect.WithGRPC(), connect.WithSendGzip())
	b.client = packed
	bomb := b.comes("r1")
	m := &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Error{Error: &robotsv1.RobotError{Hint: strings.Repeat("x", 10<<20)}}}
	if err := bomb.stream.Send(m); err != nil {
		t.Fatal(err) // ten kilobytes on the wire
	}
	bomb.ends(connect.CodeResourceExhausted)
}

// What does not keep to the contract is sent away: no hello, too much at once, a retired robot; and everybody when the mall stops.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	b := begin(t)
	mute := b.client.Work(t.Context())
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth("r2", "r2")
	mute.RequestHeader()["Authorization"] = request.Header["Authorization"]
	if err := mute.Send(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Status{Status: &robotsv1.RobotStatus{Mode: idle}}}); err != nil {
		t.Fatal(err)
	}
	(&robot{b, mute}).ends(connect.CodeInvalidArgument)

	loud := b.comes("r1")
	for range 1000 {
		m := &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Position{Position: &robotsv1.Position{}}}
		if loud.stream.Send(m) != nil {
			break // it is sent away already
		}
	}
	loud.ends(connect.CodeResourceExhausted)

	large := b.comes("r1")
	m := &robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Error{Error: &robotsv1.RobotError{Hint: strings.Repeat("x", 100<<10)}}}
	if err := large.stream.Send(m); err != nil && !errors.Is(err, context.Canceled) {
		t.Log(err) // it may be sent away while it still talks
	}
	large.ends(connect.CodeResourceExhausted)

	last := b.comes("r1")
	last.is(idle, nil)
	close(b.closing)
	last.ends(connect.CodeUnavailable)
	if n := b.gateway.Counts().Robots; n != 0 {
		b.until("nobody is there", func() bool { return b.gateway.Counts().Robots == 0 })
	}
}
