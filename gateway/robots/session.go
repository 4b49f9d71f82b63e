package robots

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
)

// session is one stream of a robot. Its fields belong to the goroutine of run, but for what receive is said to use.
type session struct {
	*visit
	g      *Gateway
	stream *connect.BidiStream[robotsv1.WorkRequest, robotsv1.WorkResponse]
	cut    context.CancelCauseFunc
	woken  chan struct{}
	heard  chan *robotsv1.WorkRequest // what is not a position

	hello    *robotsv1.Hello
	status   *robotsv1.RobotStatus // nil until the first
	standing *robotsv1.OrderRef    // the order that the robot has
	free     bool                  // it has none and is idle
	steered  mall.Steer            // what it was told and has not done
	offered  sending               // the order that it was told last
	stopped  sending               // the cancel that it was told last

	noted   mall.RobotState // as the depot was told
	charge  int64           // likewise, in percent
	renewed time.Time
	last    time.Time // when it was heard of last; run asks the feed for positions

	window   time.Time // of receive: counts messages
	in       int
	position time.Time
}

// sending is something that is said again where nothing follows from it.
type sending struct {
	ref *robotsv1.OrderRef
	at  time.Time
}

// sayAgain is how long a robot may take to answer.
const sayAgain = 5 * time.Second

// apace is how far off the depot may be about a battery when it decides what its robot does next, in percent.
const apace = 10

func (s *sending) due(ref *robotsv1.OrderRef, now time.Time) bool {
	if proto.Equal(s.ref, ref) && now.Sub(s.at) < sayAgain {
		return false
	}
	s.ref, s.at = ref, now
	return true
}

func (s *session) rouse() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Work implements robotsv1connect.RobotsServiceHandler.
func (g *Gateway) Work(ctx context.Context, stream *connect.BidiStream[robotsv1.WorkRequest, robotsv1.WorkResponse]) error {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return errLogin
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	s := &session{
		visit: v, g: g, stream: stream, cut: cut, woken: make(chan struct{}, 1), heard: make(chan *robotsv1.WorkRequest, 4), last: g.Clock.Now(),
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		cut(s.receive(ctx))
	}()
	defer func() {
		_ = s.out.SetReadDeadline(time.Now()) // it wakes who reads; a connection that is gone has done so already
		<-received
	}()
	err := s.run(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	if wire := (*connect.Error)(nil); errors.As(err, &wire) {
		return wire
	}
	g.Logger.WarnContext(ctx, "a robot's stream ends", "robot", s.robot, "error", err)
	return connect.NewError(connect.CodeUnavailable, errors.New("the depot cannot be reached now; connect again"))
}

// receive takes in what the robot says, until the stream ends. Positions go no further than the feed.
func (s *session) receive(ctx context.Context) error {
	for {
		m, err := s.stream.Receive()
		if err != nil {
			return err
		}
		now := s.g.Clock.Now()
		if now.Sub(s.window) >= time.Second {
			s.window, s.in = now, 0
		}
		if s.in++; s.in > maxRate {
			return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("a robot says at most %d things a second", maxRate))
		}
		if p := m.GetPosition(); p != nil {
			s.move(p, now)
			continue
		}
		select {
		case s.heard <- m:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *session) move(p *robotsv1.Position, now time.Time) {
	if now.Sub(s.position) < apart {
		s.g.dropped.Add(1)
		return
	}
	s.position = now
	s.g.positions.Add(1)
	s.g.feed.change(s.robot, now, func(v *Sighting) { v.At, v.Heading = place(p.GetAt()), p.GetHeading() })
}

func (s *session) run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.g.enter(s)
	defer s.g.exit(s)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.g.Closing:
			return errClosing
		case m := <-s.heard:
			s.last = s.g.Clock.Now()
			err = s.hear(ctx, m)
		case <-s.woken:
			err = s.compare(ctx)
		case <-tick.C:
			err = s.tend(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// begin takes the robot's Hello and lets it join the fleet.
func (s *session) begin(ctx context.Context) error {
	patience := time.NewTimer(s.g.SlowAfter)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return connect.NewError(connect.CodeDeadlineExceeded, errors.New("a stream begins with Hello"))
	case m := <-s.heard:
		s.hello = m.GetHello()
	}
	if s.hello == nil {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("a stream begins with Hello"))
	}
	if err := cmpID("session", s.hello.GetSession()); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	c := command.RegisterRobot{Robot: s.robot, Carries: s.hello.GetCarries(), Home: place(s.hello.GetHome())}
	if err := c.Validate(); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	answer, err := s.g.Commands.Do(ctx, c, backbone.By(s.actor()))
	if err != nil {
		return err
	}
	backbone.CrashPoint("robot.joined")
	if err := answer.Err(); err != nil {
		return connect.NewError(connect.CodePermissionDenied, err)
	}
	s.standing = named(s.hello.GetOrder())
	s.g.feed.change(s.robot, s.g.Clock.Now(), func(v *Sighting) {
		v.Online, v.At, v.List, v.Error = true, place(s.hello.GetHome()), s.standing.GetOrderId(), ""
	})
	return s.say(&robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Welcome{Welcome: &robotsv1.Welcome{
		StatusEveryMs: (s.g.Lease / 3).Milliseconds(), LeaseMs: s.g.Lease.Milliseconds(), Depot: wirePlace(depot.Depot),
	}}})
}

func (s *session) actor() string { return string(door.Robot) + ":" + s.robot }

func cmpID(field, id string) error {
	if err := mall.ValidID(id); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// named returns an order that a robot names, nil for none.
func named(ref *robotsv1.OrderRef) *robotsv1.OrderRef {
	if ref.GetOrderId() == "" {
		return nil
	}
	return ref
}

// say something to the robot. One that takes nothing for too long is sent away.
func (s *session) say(m *robotsv1.WorkResponse) error {
	_ = s.out.SetWriteDeadline(time.Now().Add(s.g.SlowAfter)) // a writer without deadlines bounds nothing anyhow
	err := s.stream.Send(m)
	_ = s.out.SetWriteDeadline(time.Time{})
	return err
}

// hear what is no position.
func (s *session) hear(ctx context.Context, m *robotsv1.WorkRequest) error {
	switch say := m.GetSay().(type) {
	case *robotsv1.WorkRequest_Status:
		s.status, s.standing = say.Status, named(say.Status.GetOrder())
		s.free = s.standing == nil && say.Status.GetMode() == robotsv1.RobotMode_ROBOT_MODE_IDLE
		state := stateOf(say.Status.GetMode())
		if state == "" {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("a status has a mode"))
		}
		s.g.feed.change(s.robot, s.last, func(v *Sighting) {
			v.State, v.Battery, v.At, v.List = state, s.battery(), place(s.status.GetAt()), s.standing.GetOrderId()
			if state != mall.RobotError {
				v.Error = ""
			}
		})
		if err := s.renew(ctx, false); err != nil {
			return err
		}
		return s.compare(ctx)
	case *robotsv1.WorkRequest_Action:
		return s.act(ctx, say.Action)
	case *robotsv1.WorkRequest_Error:
		return s.wrong(ctx, say.Error)
	}
	return connect.NewError(connect.CodeInvalidArgument, errors.New("a robot says hello once, then status, position, action or error"))
}

// wrong notes what is wrong with the robot. An order that it refused is told again when it has said how it is.
func (s *session) wrong(ctx context.Context, e *robotsv1.RobotError) error {
	s.g.Logger.WarnContext(ctx, "a robot says that something is wrong", "robot", s.robot, "level", e.GetLevel().String(), "code", e.GetCode().String(),
		"order", e.GetOrder().GetOrderId(), "update", e.GetOrder().GetUpdateId())
	s.g.feed.change(s.robot, s.last, func(v *Sighting) {
		if v.Error = shortened(e.GetHint()); v.Error == "" {
			v.Error = e.GetCode().String()
		}
	})
	if e.GetCode() != robotsv1.ErrorCode_ERROR_CODE_UNSPECIFIED {
		s.free = false
		return s.say(instant(robotsv1.InstantKind_INSTANT_KIND_STATE, nil))
	}
	return nil
}

// shortened keeps of a robot's words what a board can show.
func shortened(hint string) string {
	const most = 200
	if len(hint) > most {
		hint = strings.ToValidUTF8(hint[:most], "") // a letter may be cut in the middle
	}
	return hint
}

// act takes what the robot has done to the depot. What goes on is known from its status.
func (s *session) act(ctx context.Context, a *robotsv1.ActionStatus) error {
	if st := a.GetState(); st != robotsv1.ActionState_ACTION_STATE_FINISHED && st != robotsv1.ActionState_ACTION_STATE_FAILED {
		return nil
	}
	if err := s.tellBattery(ctx, a); err != nil {
		return err
	}
	refusal, err := s.take(ctx, a)
	if err != nil {
		return err
	}
	if a.GetKind() == robotsv1.ActionKind_ACTION_KIND_LEAVE && refusal == "" {
		s.standing, s.free = nil, false // it says when it is idle
	}
	return s.say(&robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Taken{Taken: &robotsv1.Taken{Number: a.GetNumber(), Refusal: refusal}}})
}

// tellBattery has the depot know the battery of a robot that is done with its order, so that it is charged before it is given another.
func (s *session) tellBattery(ctx context.Context, a *robotsv1.ActionStatus) error {
	if off := s.battery() - s.charge; a.GetKind() != robotsv1.ActionKind_ACTION_KIND_LEAVE || s.status == nil || max(off, -off) < apace {
		return nil
	}
	return s.note(ctx)
}

func (s *session) take(ctx context.Context, a *robotsv1.ActionStatus) (refusal string, err error) {
	c, err := s.commandOf(ctx, a)
	switch {
	case err != nil:
		return "", err
	case c == nil:
		return "invalid", nil
	}
	var answer backbone.Answer
	if err = c.Validate(); err == nil {
		backbone.CrashPoint("robot.heard")
		answer, err = s.g.Commands.Do(ctx, c, backbone.By(s.actor()), backbone.WithID(s.commandID(a.GetNumber())))
		backbone.CrashPoint("robot.taken")
	}
	if err == nil {
		err = answer.Err()
	}
	return refusalOf(err)
}

// refusalOf tells a refusal, which the robot hears, from what kept its command from being decided.
func refusalOf(err error) (refusal string, _ error) {
	if field := (*mall.FieldError)(nil); errors.As(err, &field) {
		return "invalid", nil
	}
	if refused := (*backbone.Refusal)(nil); errors.As(err, &refused) {
		return refused.Code, nil
	}
	if errors.Is(err, backbone.ErrDifferentCommand) {
		return "other_action", nil
	}
	return "", err
}

// commandID is that of what the robot says under a number, however often it does.
func (s *session) commandID(number int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", s.robot, s.hello.GetSession(), number))
	return "robot-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// commandOf returns what an action is to the depot, nil for nonsense.
func (s *session) commandOf(ctx context.Context, a *robotsv1.ActionStatus) (command.Command, error) {
	list := a.GetOrder().GetOrderId()
	switch a.GetKind() {
	case robotsv1.ActionKind_ACTION_KIND_PICK:
		return command.ReportStop{
			List: list, Stop: a.GetStop(), Robot: s.robot, Update: a.GetOrder().GetUpdateId(), Outcome: outcomes[a.GetOutcome()], Picked: a.GetPicked(),
		}, nil
	case robotsv1.ActionKind_ACTION_KIND_FETCH:
		b, _, err := depot.RobotOf(ctx, s.g.Reader, s.robot)
		return command.RecoverItems{List: list, Lost: b.Lost, Robot: s.robot}, err
	case robotsv1.ActionKind_ACTION_KIND_HAND_IN:
		return command.DeliverItems{List: list, Robot: s.robot, Lines: lines(a.GetLines())}, nil
	case robotsv1.ActionKind_ACTION_KIND_LEAVE:
		return command.CompleteList{List: list, Robot: s.robot}, nil
	}
	return nil, nil
}

// tend does what is due by time.
func (s *session) tend(ctx context.Context) error {
	if s.status == nil {
		return nil
	}
	if err := s.renew(ctx, false); err != nil {
		return err
	}
	if s.stopped.ref != nil || s.offered.ref != nil {
		return s.compare(ctx) // it may have to be said again
	}
	return nil
}

// renew the robot's lease where it is time, or with force where the depot has another idea of the robot.
func (s *session) renew(ctx context.Context, force bool) error {
	state, now := stateOf(s.status.GetMode()), s.g.Clock.Now()
	changed := state != s.noted
	switch {
	case state == mall.RobotCharging && s.steered == mall.SteerCharge && changed: // the depot waits for it, and it may not last
	case changed && now.Sub(s.renewed) < 100*time.Millisecond && !s.renewed.IsZero():
		return nil // in a moment
	case changed || force:
	case state == mall.RobotError: // nobody counts on it
		return nil
	case now.Sub(s.renewed) < s.g.Lease/3 || !s.last.After(s.renewed):
		return nil
	}
	return s.note(ctx)
}

// note how the robot is at the depot.
func (s *session) note(ctx context.Context) error {
	c := command.RenewLease{Robot: s.robot, State: stateOf(s.status.GetMode()), Battery: s.battery(), At: place(s.status.GetAt())}
	answer, err := s.g.Commands.Do(ctx, c, backbone.By(s.actor()))
	if err != nil {
		return err
	}
	if err := answer.Err(); err != nil {
		return connect.NewError(connect.CodePermissionDenied, err)
	}
	s.noted, s.charge, s.renewed = c.State, c.Battery, s.g.Clock.Now()
	return nil
}

func (s *session) battery() int64 { return min(max(s.status.GetBattery(), 0), 100) }

// compare what the robot has to do with what it does, and say what it does not know.
func (s *session) compare(ctx context.Context) error {
	if s.status == nil {
		return nil
	}
	b, known, err := depot.RobotOf(ctx, s.g.Reader, s.robot)
	if err != nil {
		return err
	}
	if !known {
		return connect.NewError(connect.CodePermissionDenied, depot.ErrRobotRetired)
	}
	if err := s.steer(b.Steer); err != nil {
		return err
	}
	task, err := depot.TaskOf(ctx, s.g.Reader, s.robot)
	if err != nil {
		return err
	}
	now := s.g.Clock.Now()
	if task == nil {
		s.offered = sending{}
		if s.standing != nil {
			return s.stop(now)
		}
		s.stopped = sending{}
		if s.free && b.List == "" && b.State != mall.RobotIdle {
			return s.renew(ctx, true) // the depot waits to hear that it is free
		}
		return nil
	}
	ref := &robotsv1.OrderRef{OrderId: task.List, UpdateId: task.Update}
	switch {
	case proto.Equal(ref, s.standing):
		s.offered, s.stopped = sending{}, sending{}
	case s.standing != nil:
		return s.stop(now)
	case s.free && s.offered.due(ref, now):
		s.stopped = sending{}
		err := s.say(&robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Order{Order: order(ref, task)}})
		backbone.CrashPoint("robot.told")
		return err
	}
	return nil
}

func (s *session) stop(now time.Time) error {
	if !s.stopped.due(s.standing, now) {
		return nil
	}
	return s.say(instant(robotsv1.InstantKind_INSTANT_KIND_CANCEL, s.standing))
}

func (s *session) steer(to mall.Steer) error {
	if s.steered == to {
		return nil
	}
	s.steered = to
	switch to {
	case mall.SteerPause:
		return s.say(instant(robotsv1.InstantKind_INSTANT_KIND_PAUSE, nil))
	case mall.SteerResume:
		return s.say(instant(robotsv1.InstantKind_INSTANT_KIND_RESUME, nil))
	case mall.SteerCharge:
		return s.say(instant(robotsv1.InstantKind_INSTANT_KIND_CHARGE, nil))
	}
	return nil
}
