package robot

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	"example.org/souk/device/internal/faults"
	"example.org/souk/device/internal/link"
)

// Login is what a robot is let in by.
type Login struct{ Robot, Password string }

// Config says what the robots do. Server and Robots are required.
type Config struct {
	// Server is the mall's address, http://host:port or https://host:port; CAFile holds the certificate by which it is trusted,
	// default those that the system trusts.
	Server, CAFile string
	// Robots work in one program, each on a stream of its own.
	Robots []Login

	Seed    uint64
	Speed   float64 // centimetres a second; default 150
	Carries int64   // pieces at a time; default 20
	// Positions is how many are said a second, at most 10; default 10. A robot that stands still says none, unless Steady.
	Positions int
	Steady    bool
	Faults    Faults
	// Admin is a loopback address at which faults are switched: GET and PUT /faults with the password of the first robot as the
	// bearer token. Default none.
	Admin string
	// Out is told what robots do, a line of JSON each. Default nobody.
	Out io.Writer
}

// Line is a line of what the robots tell.
type Line struct {
	Robot  string `json:"robot"`
	What   string `json:"what"` // connected, disconnected, not_connected, order, picked, short, blocked, fetched, handed_in, left, vanished, back, drained, charging, charged
	Order  string `json:"order,omitempty"`
	Update int64  `json:"update,omitempty"`
	Stop   int64  `json:"stop,omitempty"`
	Error  string `json:"error,omitempty"`
}

// fleet is a running program.
type fleet struct {
	Config
	client robotsv1connect.RobotsServiceClient

	mu     sync.Mutex
	faults Faults

	out sync.Mutex
}

// tick is how often a robot thinks.
const tick = 100 * time.Millisecond

// Run lets the robots work until ctx ends.
func Run(ctx context.Context, c Config) error {
	c.Speed, c.Carries, c.Positions = cmp.Or(c.Speed, usualSpeed), cmp.Or(c.Carries, 20), min(cmp.Or(c.Positions, 10), 10)
	if c.Out == nil {
		c.Out = io.Discard
	}
	if len(c.Robots) == 0 {
		return errors.New("there is no robot")
	}
	if c.Speed < 0 || c.Carries < 1 || c.Positions < 1 {
		return errors.New("a robot is not slower than nothing, carries a piece and says where it is")
	}
	if err := c.Faults.check(); err != nil {
		return err
	}
	for _, l := range c.Robots {
		if err := link.CheckWeb(c.Server, l.Password); err != nil {
			return err
		}
	}
	secure, err := link.Trust(c.CAFile)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, TLSClientConfig: secure,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
	}
	defer transport.CloseIdleConnections()
	f := &fleet{Config: c, faults: c.Faults, client: robotsv1connect.NewRobotsServiceClient(&http.Client{Transport: transport}, c.Server, connect.WithGRPC())}
	if c.Admin != "" {
		stop, err := faults.Serve(c.Admin, c.Robots[0].Password, c.Out, faults.Switch[Faults]{Check: Faults.check, Get: f.current, Set: f.set})
		if err != nil {
			return err
		}
		defer stop()
	}
	var all sync.WaitGroup
	for i, l := range c.Robots {
		all.Go(func() { f.work(ctx, l, newBrain(c.Seed, i, c, newSession())) })
	}
	all.Wait()
	return nil
}

func newSession() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails: see its documentation
	return base64.RawURLEncoding.EncodeToString(b)
}

func (f *fleet) current() Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

func (f *fleet) set(to Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = to
}

// work is the life of one robot: it thinks, with a link and without one.
func (f *fleet) work(ctx context.Context, l Login, b *brain) {
	r := &robot{fleet: f, Login: l, brain: b}
	defer r.hangUp(nil)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	next, wait := time.Now(), tick
	for {
		var told <-chan *robotsv1.WorkResponse
		var ended <-chan error
		if r.line != nil {
			told, ended = r.line.told, r.line.ended
		}
		select {
		case <-ctx.Done():
			return
		case m := <-told:
			if b.gone == 0 {
				r.hear(m)
			}
		case err := <-ended:
			r.hangUp(err)
			next = time.Now().Add(wait)
			wait = min(2*wait, 5*time.Second)
		case <-ticker.C:
			r.think()
			if r.line == nil && b.gone == 0 && !time.Now().Before(next) {
				r.call(ctx)
			}
			if r.line != nil && r.line.welcome {
				wait = tick
			}
		}
	}
}

// robot is a brain with its link, if it has one.
type robot struct {
	*fleet
	Login
	brain *brain
	line  *line
	beat  time.Time // the next status
	every time.Duration
	moved time.Time // the next position
	said  string    // why it is not connected, as it was told last
}

// line is a stream. told and ended are what comes from it; it is written to by its robot alone.
type line struct {
	stream  *connect.BidiStreamForClient[robotsv1.WorkRequest, robotsv1.WorkResponse]
	cancel  context.CancelFunc
	told    chan *robotsv1.WorkResponse
	ended   chan error
	done    chan struct{}
	welcome bool // was said
}

// call the mall.
func (r *robot) call(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	stream := r.client.Work(ctx)
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(r.Robot, r.Password)
	stream.RequestHeader()["Authorization"] = request.Header["Authorization"]
	n := &line{
		stream: stream, cancel: cancel, told: make(chan *robotsv1.WorkResponse, 8), ended: make(chan error, 1), done: make(chan struct{}),
	}
	r.line = n
	if err := stream.Send(r.brain.hello()); err != nil && !errors.Is(err, io.EOF) {
		n.ended <- err
		close(n.done)
		return
	}
	go func() { // it ends with the stream
		defer close(n.done)
		for {
			m, err := stream.Receive()
			if err != nil {
				n.ended <- err
				return
			}
			select {
			case n.told <- m:
			case <-ctx.Done():
				n.ended <- ctx.Err()
				return
			}
		}
	}()
}

func (r *robot) hangUp(err error) {
	if r.line == nil {
		return
	}
	welcome := r.line.welcome
	r.line.cancel()
	// A stream whose sender is still waited for does not notice that it was cancelled, and so does not end.
	_ = r.line.stream.CloseRequest() // it is over anyhow
	<-r.line.done
	_ = r.line.stream.CloseResponse()
	r.line = nil
	if welcome {
		r.said = ""
		r.tell(Line{What: "disconnected", Error: text(err)})
	} else {
		r.notConnected(err)
	}
}

// notConnected tells once why the mall does not let the robot in, however often it tries. A login that is refused is tried again as well: it may
// be given later.
func (r *robot) notConnected(err error) {
	why := text(err)
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		why = refused
	}
	if why != "" && why != r.said {
		r.said = why
		r.tell(Line{What: "not_connected", Error: "it is not connected to " + r.Server + ", and tries again: " + why})
	}
}

// refused says what is wrong with a login that the mall does not take. It tells nobody, so this is all that it can be.
const refused = "the mall does not take the login: the id or the password is not that of a robot's login"

func text(err error) string {
	if err == nil {
		return ""
	}
	return link.Why(err)
}

// hear what it is told.
func (r *robot) hear(m *robotsv1.WorkResponse) {
	had := r.brain.order
	r.brain.tell(m)
	if w := m.GetWelcome(); w != nil {
		r.line.welcome, r.every = true, time.Duration(w.GetStatusEveryMs())*time.Millisecond
		r.tell(Line{What: "connected"})
		r.say(r.brain.again()...)
		r.beat = time.Now().Add(r.every)
	}
	if o := r.brain.order; o != nil && had == nil {
		r.tell(Line{What: "order", Order: o.GetOrder().GetOrderId(), Update: o.GetOrder().GetUpdateId()})
	}
	if r.brain.order == nil && had != nil {
		r.tell(Line{What: "left", Order: had.GetOrder().GetOrderId(), Update: had.GetOrder().GetUpdateId()})
	}
}

// think and say what comes of it.
func (r *robot) think() {
	b, was, loaded, now := r.brain, r.brain.gone != 0, r.brain.loads, time.Now()
	moved := b.step(tick, r.current())
	if gone := b.gone != 0; gone != was {
		what := "back"
		if gone {
			what = "vanished"
		}
		r.tell(Line{What: what, Order: b.order.GetOrder().GetOrderId()})
		if !gone {
			r.hangUp(errors.New("it heard nothing for a while")) // over a new link both say again what matters
		}
	}
	for _, m := range b.out {
		r.tellAction(m.GetAction())
	}
	r.tellBattery(loaded)
	if r.line == nil || !r.line.welcome || b.gone != 0 {
		b.out, b.drop = nil, false // what was said of actions stands in open
		return
	}
	beat := !now.Before(r.beat)
	if beat {
		r.beat = now.Add(r.every)
	}
	r.say(b.flush(beat)...)
	if (moved || r.Steady) && !now.Before(r.moved) {
		r.moved = now.Add(time.Second/time.Duration(r.Positions) - tick/2)
		r.say(b.position())
	}
	if b.drop {
		b.drop = false
		r.hangUp(errors.New("the link broke"))
	}
}

// say it where there is a link. A link that fails ends by itself.
func (r *robot) say(list ...*robotsv1.WorkRequest) {
	for _, m := range list {
		if r.line == nil || r.line.stream.Send(m) != nil {
			return
		}
	}
}

func (r *robot) tellAction(a *robotsv1.ActionStatus) {
	if a == nil {
		return
	}
	l := Line{Order: a.GetOrder().GetOrderId(), Update: a.GetOrder().GetUpdateId(), Stop: a.GetStop()}
	switch a.GetKind() {
	case robotsv1.ActionKind_ACTION_KIND_PICK:
		l.What = map[robotsv1.Outcome]string{
			robotsv1.Outcome_OUTCOME_PICKED: "picked", robotsv1.Outcome_OUTCOME_SHORT: "short", robotsv1.Outcome_OUTCOME_BLOCKED: "blocked",
		}[a.GetOutcome()]
	case robotsv1.ActionKind_ACTION_KIND_FETCH:
		l.What = "fetched"
	case robotsv1.ActionKind_ACTION_KIND_HAND_IN:
		l.What = "handed_in"
	default:
		return
	}
	r.tell(l)
}

// tellBattery says what became of the battery; loaded tells whether it was loading before.
func (r *robot) tellBattery(loaded bool) {
	if r.brain.low {
		r.brain.low = false
		r.tell(Line{What: "drained", Order: r.brain.order.GetOrder().GetOrderId()})
	}
	switch {
	case r.brain.loads && !loaded:
		r.tell(Line{What: "charging"})
	case loaded && !r.brain.loads:
		r.tell(Line{What: "charged"})
	}
}

// tell whoever watches the program.
func (r *robot) tell(l Line) {
	l.Robot = r.Robot
	data, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("%+v: %v", l, err)) // texts and numbers always encode
	}
	r.out.Lock()
	defer r.out.Unlock()
	_, _ = r.Out.Write(append(data, '\n')) // who does not listen any more is told nothing
}
