package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// Commands takes commands to the services that handle them and returns when they are durable. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Shop knows what devices scan.
type Shop interface {
	// Visitor returns the customer of a card, or of an id of theirs; false where nobody is known by it.
	Visitor(ctx context.Context, scanned string) (customer string, known bool, err error)
	// Place returns where the goods of a store lie.
	Place(ctx context.Context, store string) (location string, known bool, err error)
	// StoresAt returns the stores whose goods lie at a location.
	StoresAt(ctx context.Context, location string) ([]string, error)
	// SKU returns the SKU of what was scanned; false for what nobody knows.
	SKU(ctx context.Context, store, scanned string) (sku string, known bool, err error)
}

// Opener opens sealed personal fields; ok is false where the key is gone. *backbone.Keys is one.
type Opener interface {
	Reveal(ctx context.Context, token string) (text string, ok bool, err error)
}

// Outcome says what became of a message.
type Outcome string

// The outcomes of a message.
const (
	Taken    Outcome = "taken"
	Copy     Outcome = "copy"     // it came before
	Conflict Outcome = "conflict" // another one came under its id
	Nonsense Outcome = "nonsense" // it cannot be read
	Later    Outcome = "later"    // it cannot be decided now; the device sends it again
)

// Config says where devices connect and what they find.
type Config struct {
	// Listener is where devices connect; nil lets none in, and what they would be told is told to nobody.
	Listener net.Listener
	// Chain is the first level of the topics of older systems; default "souk".
	Chain string
	// Shop and Keys are asked, Reader reads the gateway's own service. Required where there is a Listener.
	Shop   Shop
	Keys   Opener
	Reader *backbone.Reader
	// Intake takes in what devices have seen while the services that decide are away, as they may be where they run in other processes.
	Intake bool
	// Sessions is a file of this process in which stands what waits for devices that are away, so that it survives the process; "" for
	// none. What displays show is not in it.
	Sessions string
	// MostSessions bounds the sessions that outlive their connections; default 20,000. MostOfOne bounds the sessions of one device, MostFilters the
	// filters in all of them; defaults 32 and 256. Who asks for more is refused, and by MQTT 5 told that a quota is exceeded; what they had they keep.
	MostSessions, MostOfOne, MostFilters int
	// Clock defaults to the system's.
	Clock backbone.Clock
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Tries bounds the connections of one address, Rate the messages of one device; defaults 20/s and bursts of 2,000, since what stands in a mall
	// comes at once when the power is back, and 5,000/s with bursts of 10,000. Who goes beyond is cut off, and comes again.
	Tries, Rate door.Rate
	// Settled is told of each message that came, by its name. It may be nil, is called from several goroutines and must be quick.
	Settled func(name string, o Outcome)
}

const (
	// maxClients bounds the connections.
	maxClients = 10_000
	// maxUnknown bounds the connections of those who have not said who they are, beside the others.
	maxUnknown = 1000
	// maxWaiting bounds what waits in a session.
	maxWaiting = 8192
	// helloWithin is how long a connection may take to say whose it is.
	helloWithin = 10 * time.Second
	// sessionFor is how long a session is kept for a device that is away, and messages in it.
	sessionFor = time.Hour
	// decideWithin bounds one attempt to have a message decided.
	decideWithin = 10 * time.Second
	// goneWithin bounds how long a connection waits for the one whose session it takes over.
	goneWithin = 2 * time.Second
	// lookEvery is how often revoked logins are looked for, and devices that are sent nothing more.
	lookEvery = time.Second
)

// Gateway is the server that devices connect to. Its methods may be called from several goroutines.
type Gateway struct {
	Config
	server    *mqtt.Server
	turnstile *turnstile
	messages  *door.Limiter
	sessions  *sessions
	closed    atomic.Bool
	serving   chan struct{} // closed when sessions are back
	missed    atomic.Int64  // messages that went to a session after it had been handed on

	mu       sync.RWMutex
	commands Commands
	logins   map[string]Login // of those that came since the start
	quota    quota
	bare     map[bareName]bool
	greeted  map[string]bool                   // stores whose devices were told that we are here
	reading  map[*mqtt.Client]chan struct{}    // closed when a connection is read from no longer
	aside    map[*mqtt.Client][]packets.Packet // what they are still to say that they have, while the server deals with something else
}

// bareName is a name of an older system that a session asked for without its store.
type bareName struct{ session, name string }

// Open prepares the gateway. Devices that connect wait until Serve.
func Open(c Config) (*Gateway, error) {
	if c.Chain == "" {
		c.Chain = "souk"
	}
	if err := mall.ValidID(c.Chain); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Settled == nil {
		c.Settled = func(string, Outcome) {}
	}
	if c.Tries == (door.Rate{}) {
		c.Tries = door.Rate{PerSecond: 20, Burst: 2000}
	}
	c.MostSessions, c.MostOfOne, c.MostFilters = cmp.Or(c.MostSessions, 20_000), cmp.Or(c.MostOfOne, 32), cmp.Or(c.MostFilters, 256)
	switch {
	case c.MostSessions < 1 || c.MostOfOne < 1 || c.MostFilters < 1:
		return nil, errors.New("devices: the most sessions, of all and of one device, and the most filters of one are 1 at least")
	case c.MostOfOne > c.MostSessions:
		return nil, fmt.Errorf("devices: one device may not have %d sessions where all together may have %d", c.MostOfOne, c.MostSessions)
	}
	if c.Rate == (door.Rate{}) {
		c.Rate = door.Rate{PerSecond: 5000, Burst: 10_000}
	}
	var entry *turnstile
	if c.Listener != nil {
		entry = &turnstile{Listener: c.Listener, clock: c.Clock, tries: door.NewLimiter(c.Tries, 65536), most: maxClients + maxUnknown}
		c.Listener = entry
	}
	g := &Gateway{
		Config: c, turnstile: entry, messages: door.NewLimiter(c.Rate, 65536), logins: map[string]Login{}, bare: map[bareName]bool{},
		greeted: map[string]bool{}, aside: map[*mqtt.Client][]packets.Packet{}, serving: make(chan struct{}), reading: map[*mqtt.Client]chan struct{}{},
	}
	if c.Listener == nil {
		return g, nil
	}
	var err error
	if g.sessions, err = openSessions(c.Sessions); err != nil {
		return nil, fmt.Errorf("sessions of devices: %w", err)
	}
	can := mqtt.NewDefaultServerCapabilities()
	can.MaximumQos = 1
	can.MaximumClients = maxClients
	can.MaximumPacketSize = maxPacket
	can.MaximumSessionExpiryInterval = uint32(sessionFor / time.Second)
	can.MaximumMessageExpiryInterval = int64(tellFor / time.Second)
	can.MaximumClientWritesPending = 1024
	can.MaximumInflight = maxWaiting
	can.TopicAliasMaximum = 0 // a topic is judged by its name
	can.SharedSubAvailable = 0
	can.MinimumProtocolVersion = 4 // 3.1.1
	g.server = mqtt.New(&mqtt.Options{
		InlineClient: true, Capabilities: can, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		SysTopicResendInterval: 60, // seconds; every second is a third of what the server costs that waits
	})
	if err := g.server.AddHook(&hook{g: g}, nil); err != nil {
		return nil, err
	}
	return g, nil
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// Address returns where devices connect, "" where they do not.
func (g *Gateway) Address() string {
	if g.Listener == nil {
		return ""
	}
	return g.Listener.Addr().String()
}

// Serve lets devices in and returns. Until ctx ends it looks after those whose login is revoked.
func (g *Gateway) Serve(ctx context.Context, commands Commands) error {
	if g.server == nil {
		return nil
	}
	g.mu.Lock()
	g.commands = commands
	g.mu.Unlock()
	if err := g.restore(ctx); err != nil {
		return err
	}
	if err := g.server.AddListener(listeners.NewNet("devices", g.Listener)); err != nil {
		return err
	}
	err := g.server.Serve()
	if err == nil {
		close(g.serving)
	}
	return err
}

// Watch cuts the connections of devices whose login is revoked, and looks for those that the server has stopped to send to, until ctx ends.
func (g *Gateway) Watch(ctx context.Context) {
	if g.server == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var dropped int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		g.nudge()
		if n := atomic.LoadInt64(&g.server.Info.InflightDropped); n != dropped {
			g.Logger.Warn("devices miss what they were to be told, since more waited for them than is kept, or for longer", "messages", n-dropped)
			dropped = n
		}
		if err := g.dismiss(ctx); err != nil && ctx.Err() == nil {
			g.Logger.Warn("the logins of devices cannot be looked at", "error", err)
		}
	}
}

// dismiss cuts the connections of devices that would not be let in any more.
func (g *Gateway) dismiss(ctx context.Context) error {
	list, err := Logins(ctx, g.Reader, "")
	if err != nil {
		return err
	}
	valid := map[string]Login{}
	for _, l := range list {
		valid[l.Device] = l
	}
	gone := map[string]bool{}
	g.mu.Lock()
	for device, l := range g.logins {
		if valid[device] != l {
			delete(g.logins, device)
			gone[device] = true
		}
	}
	g.mu.Unlock()
	if len(gone) > 0 {
		g.expel(gone)
	}
	return nil
}

// expel cuts the connections of devices, and empties their sessions.
func (g *Gateway) expel(gone map[string]bool) {
	for _, cl := range g.server.Clients.GetAll() {
		if gone[string(cl.Properties.Username)] {
			_ = g.server.DisconnectClient(cl, packets.ErrNotAuthorized) // it says why it was asked to
			cl.ClearInflights()
			g.server.UnsubscribeClient(cl)
			g.sessions.add(line{Session: cl.ID, Ended: true})
		}
	}
}

// Close sends all devices away. It may be called more than once.
func (g *Gateway) Close() error {
	if g.server == nil || g.closed.Swap(true) {
		return nil
	}
	err := errors.Join(g.server.Close(), g.sessions.Close())
	g.turnstile.sends.Wait() // what they are told last
	if closed := g.Listener.Close(); closed != nil && !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

func (g *Gateway) login(device string) (Login, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	l, ok := g.logins[device]
	return l, ok
}
