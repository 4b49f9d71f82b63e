package robots

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/depot"
)

// Commands takes commands to the depot and returns when they are durable. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Logins knows which robots may come in.
type Logins interface {
	// Admit tells whether this is the password of a robot's login, and what stands for the login.
	Admit(ctx context.Context, robot, password string) (login string, ok bool, err error)
	// Standing returns the logins of all robots, as Admit names them.
	Standing(ctx context.Context) (map[string]string, error)
}

// Config says what stands behind the gateway. Commands, Reader, Changed and Logins are required.
type Config struct {
	Commands Commands
	// Reader reads the depot.
	Reader *backbone.Reader
	// Changed tells when the depot's log has grown; see backbone.Runtime.Changed.
	Changed func(service string) (<-chan struct{}, func())
	Logins  Logins
	// Lease is how long a robot is counted on; default depot.DefaultLease. It is that of the depot's service.
	Lease time.Duration
	// Closing is closed when the process is about to stop: streams end then. It may be nil.
	Closing <-chan struct{}
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// MaxRobots bounds the streams; default 4,096.
	MaxRobots int
	// SlowAfter ends a stream whose robot does not take a message for so long; default 10 s.
	SlowAfter time.Duration
	// Tries bounds the attempts to come in from one address; default 20/s and bursts of 2,000, since a fleet comes at once.
	Tries door.Rate
}

const (
	// maxMessage bounds what a robot says at once, in bytes.
	maxMessage = 64 << 10
	// maxRate bounds how often a robot may say something, in messages a second. One that says more is sent away.
	maxRate = 200
	// maxOpen bounds the streams of one robot: that which it has, those that it lost and begins anew. Without it one login could
	// take the places of all.
	maxOpen = 4
	// apart is how far positions are apart at least: ten a second, and some patience.
	apart = 60 * time.Millisecond
	// lookEvery is how often revoked logins and what changed elsewhere are looked for.
	lookEvery = time.Second
)

// Gateway serves robots. Its methods may be called from several goroutines.
type Gateway struct {
	Config
	path  string
	serve http.Handler
	tries *door.Limiter

	positions, dropped atomic.Uint64

	mu       sync.Mutex
	sessions map[string]*session
	open     int            // streams, those that are about to end included
	openOf   map[string]int // the same, of each robot

	feed feed
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// New returns the gateway.
func New(c Config) (*Gateway, error) {
	if c.Commands == nil || c.Reader == nil || c.Changed == nil || c.Logins == nil {
		return nil, errors.New("robots: Commands, Reader, Changed and Logins are required")
	}
	fallback(&c.Lease, depot.DefaultLease)
	fallback[backbone.Clock](&c.Clock, systemClock{})
	fallback(&c.Logger, slog.Default())
	fallback(&c.MaxRobots, 4096)
	fallback(&c.SlowAfter, 10*time.Second)
	fallback(&c.Tries, door.Rate{PerSecond: 20, Burst: 2000})
	g := &Gateway{Config: c, sessions: map[string]*session{}, openOf: map[string]int{}, tries: door.NewLimiter(c.Tries, 65536)}
	g.feed.robots = map[string]*Sighting{}
	g.path, g.serve = robotsv1connect.NewRobotsServiceHandler(g, connect.WithReadMaxBytes(maxMessage), connect.WithRecover(g.survive))
	return g, nil
}

func fallback[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Path is the beginning of the paths that the gateway serves.
func (g *Gateway) Path() string { return g.path }

// visitKey is where a request's context carries who came in.
type visitKey struct{}

// visit is a robot that was let in.
type visit struct {
	robot, login string
	out          *http.ResponseController
}

// ServeHTTP lets a robot in that gives the password of its login.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Cache-Control"] = []string{"no-store"}
	v, err := g.admit(r)
	if err != nil {
		refuse := connect.NewErrorWriter()
		if refuse.IsSupported(r) {
			_ = refuse.Write(w, r, err) // who went away is told nothing
			return
		}
		http.Error(w, "robots speak gRPC here, and give the password of their login", http.StatusUnauthorized)
		return
	}
	defer g.leave(v.robot)
	v.out = http.NewResponseController(w)
	// The server bounds how long a request may take; a robot works for days. What it may send and take is bounded in the stream.
	_ = v.out.SetReadDeadline(time.Time{}) // a writer without deadlines bounds nothing anyhow
	_ = v.out.SetWriteDeadline(time.Time{})
	g.serve.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
}

var errLogin = connect.NewError(connect.CodeUnauthenticated, errors.New("say who you are, with the id and the password of a robot's login"))

func (g *Gateway) admit(r *http.Request) (*visit, error) {
	if wait := g.tries.Take(door.AddressOf(r.RemoteAddr), g.Clock.Now()); wait > 0 {
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too many come at once; come again"))
	}
	robot, password, ok := r.BasicAuth()
	if !ok || mall.ValidID(robot) != nil {
		return nil, errLogin
	}
	login, ok, err := g.Logins.Admit(r.Context(), robot, password)
	switch {
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("logins cannot be looked at now"))
	case !ok:
		g.Logger.WarnContext(r.Context(), "a robot was not let in", "robot", robot, "from", r.RemoteAddr)
		return nil, errLogin
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.MaxRobots {
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("there are too many robots here"))
	}
	if g.openOf[robot] >= maxOpen {
		return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("the robot has too many streams; end one"))
	}
	g.open++
	g.openOf[robot]++
	return &visit{robot: robot, login: login}, nil
}

func (g *Gateway) leave(robot string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.openOf[robot]--; g.openOf[robot] == 0 {
		delete(g.openOf, robot)
	}
}

// survive ends the stream of a robot over which the gateway stumbled.
func (g *Gateway) survive(ctx context.Context, spec connect.Spec, _ http.Header, cause any) error {
	g.Logger.ErrorContext(ctx, "handler panicked", "panic", cause, "method", spec.Procedure, "stack", string(debug.Stack()))
	return connect.NewError(connect.CodeInternal, errors.New("something went wrong here"))
}

// Why streams end from our side.
var (
	errNewer   = connect.NewError(connect.CodeAborted, errors.New("the robot has a newer stream"))
	errRevoked = connect.NewError(connect.CodeUnauthenticated, errors.New("the login was revoked"))
	errClosing = connect.NewError(connect.CodeUnavailable, errors.New("the mall stops; connect again"))
)

// Run tells robots when there is something for them, and sends those away whose login is revoked, until ctx ends.
func (g *Gateway) Run(ctx context.Context) {
	changed, stop := g.Changed(depot.ServiceName)
	defer stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	at := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-look.C:
			if err := g.dismiss(ctx); err != nil && ctx.Err() == nil {
				g.Logger.WarnContext(ctx, "the logins of robots cannot be looked at", "error", err)
			}
		}
		at = g.rouse(ctx, at)
	}
}

// rouse wakes the robots of which the depot said something after a position, and returns the position of now.
func (g *Gateway) rouse(ctx context.Context, at int64) int64 {
	head, err := g.Reader.Head(ctx)
	if err != nil {
		return at // it is tried again in a moment
	}
	if at < 0 {
		g.wakeAll()
		return head
	}
	for at < head {
		list, err := g.Reader.Log(ctx, backbone.ReadQuery{After: at, Until: head, Types: depot.Tells(), Limit: 1000})
		if err != nil {
			return at
		}
		for _, m := range list {
			var of struct {
				Robot string `json:"robot"`
			}
			if json.Unmarshal(m.Data, &of) == nil {
				g.wake(of.Robot)
			}
		}
		if len(list) < 1000 {
			return head
		}
		at = list[len(list)-1].Position
	}
	return at
}

func (g *Gateway) wake(robot string) {
	g.mu.Lock()
	s := g.sessions[robot]
	g.mu.Unlock()
	if s != nil {
		s.rouse()
	}
}

func (g *Gateway) wakeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sessions {
		s.rouse()
	}
}

// dismiss ends the streams of robots that would not be let in any more.
func (g *Gateway) dismiss(ctx context.Context) error {
	standing, err := g.Logins.Standing(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for robot, s := range g.sessions {
		if login, ok := standing[robot]; !ok || login != s.login {
			s.cut(errRevoked)
		}
	}
	return nil
}

// enter makes a session the robot's, and ends the one before.
func (g *Gateway) enter(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.sessions[s.robot]; before != nil {
		before.cut(errNewer)
	}
	g.sessions[s.robot] = s
}

func (g *Gateway) exit(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[s.robot] == s {
		delete(g.sessions, s.robot)
		g.feed.change(s.robot, g.Clock.Now(), func(v *Sighting) { v.Online = false })
	}
}

// Counts is what the gateway has seen since it began.
type Counts struct {
	Robots    int    // streams of robots that were welcomed
	Open      int    // streams that are open
	Positions uint64 // taken
	Dropped   uint64 // positions that came too early after another
}

// Counts returns what the gateway has seen.
func (g *Gateway) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{Robots: len(g.sessions), Open: g.open, Positions: g.positions.Load(), Dropped: g.dropped.Load()}
}
