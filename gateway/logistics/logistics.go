package logistics

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// The names on the bus. They exist in this package alone.
const (
	topicNeeded   = "RestockNeeded"
	topicUnwanted = "RestockCanceled"
	topicNotice   = "delivery-notice"
	topicCanceled = "purchase-canceled"
	topicReceipt  = "receipt"
)

const (
	// within bounds one step of a conversation with the bus.
	within = 5 * time.Second
	// firstWait and lastWait lie between attempts at what is not there at the moment.
	firstWait, lastWait = 100 * time.Millisecond, 2 * time.Second
	// decideWithin bounds one attempt to have a notice decided.
	decideWithin = 10 * time.Second
	maxNotice    = 16 << 10 // bytes
)

// Commands takes commands to the services that handle them and returns when they are durable. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Needed is what the bus is told of a purchase.
type Needed struct {
	Purchase  string
	SKU       string
	Location  string
	Quantity  int64
	Threshold int64
	Asked     time.Time
	// Canceled says that it is not wanted any more.
	Canceled bool
}

// Config says where the bus is.
type Config struct {
	// URL is mqtt://user:password@host:port, or mqtts:// for TLS.
	URL string
	// Login returns the user and the password of now, before each connection. Default: those of URL.
	Login func() (user, password string, err error)
	// Instance names this mall on the bus, the same after each start, so that the bus keeps what comes while it is away.
	Instance string
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Gateway speaks to the bus. Its methods may be called from several goroutines.
type Gateway struct {
	Config
	broker, user, password string

	mu     sync.Mutex
	out    mqtt.Client // nil: not connected
	closed bool
}

// Open reads the configuration. It connects to nobody yet: either side may come first.
func Open(c Config) (*Gateway, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Host == "" {
		return nil, errors.New("logistics: its address is not a URL") // without the address, which may hold a password
	}
	g := &Gateway{Config: c}
	switch at.Scheme {
	case "mqtt":
		g.broker = "tcp://" + at.Host
	case "mqtts":
		g.broker = "ssl://" + at.Host
	default:
		return nil, fmt.Errorf("logistics: there is no client for %s://; there is one for mqtt:// and mqtts://", at.Scheme)
	}
	g.user = at.User.Username()
	g.password, _ = at.User.Password()
	if err := mall.ValidID(c.Instance); err != nil {
		return nil, fmt.Errorf("instance of the gateway to logistics: %w", err)
	}
	if g.Logger == nil {
		g.Logger = slog.Default()
	}
	return g, nil
}

func (g *Gateway) options(id string) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker(g.broker).SetClientID(id).SetUsername(g.user).SetPassword(g.password)
	if g.Login != nil {
		o.SetCredentialsProvider(func() (user, password string) {
			if user, password, err := g.Login(); err == nil {
				return user, password
			}
			return "", "" // which the bus refuses, and it is tried again
		})
	}
	return o.SetProtocolVersion(4).SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(within).
		SetWriteTimeout(within).SetKeepAlive(15 * time.Second).SetOrderMatters(false)
}

// Send tells the bus of a purchase and returns when the bus has it. An error leaves open whether it does.
func (g *Gateway) Send(ctx context.Context, n Needed) error {
	topic, body := topicNeeded, any(struct {
		Timestamp string `json:"timestamp"`
		Item      string `json:"item_id"`
		Quantity  int64  `json:"quantity"`
		Threshold int64  `json:"threshold"`
		Location  string `json:"location"`
		Purchase  string `json:"purchase_id"`
	}{n.Asked.UTC().Format(time.RFC3339Nano), n.SKU, n.Quantity, n.Threshold, n.Location, n.Purchase})
	if n.Canceled {
		topic, body = topicUnwanted, struct {
			Purchase string `json:"purchase_id"`
			Item     string `json:"item_id"`
		}{n.Purchase, n.SKU}
	}
	if err := g.publish(ctx, topic, body); err != nil {
		return err
	}
	backbone.CrashPoint("purchase.sent")
	return nil
}

// publish opens the connection where there is none. A connection on which something failed is not used again, and a new one
// begins without what was under way: whoever asked for it asks again.
func (g *Gateway) publish(ctx context.Context, topic string, body any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client, err := g.connected(ctx)
	if err != nil {
		return err
	}
	if err := settled(ctx, client.Publish(topic, 1, false, payload)); err != nil {
		g.drop(client)
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

func (g *Gateway) connected(ctx context.Context) (mqtt.Client, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil, errors.New("the gateway to logistics is closed")
	case g.out != nil && g.out.IsConnectionOpen():
		return g.out, nil
	}
	client := mqtt.NewClient(g.options(g.Instance + "-out-" + rand.Text()[:8]).SetCleanSession(true))
	if err := settled(ctx, client.Connect()); err != nil {
		client.Disconnect(0)
		return nil, fmt.Errorf("the bus of the logistics department: %w", err)
	}
	g.out = client
	return client, nil
}

func (g *Gateway) drop(client mqtt.Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.out == client {
		g.out = nil
	}
	client.Disconnect(0)
}

// settled waits for an acknowledgement.
func settled(ctx context.Context, t mqtt.Token) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-timer.C:
		return errors.New("the bus does not answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run takes notices in until ctx ends; what was begun then is finished first.
func (g *Gateway) Run(ctx context.Context, commands Commands) {
	said := ""
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, lastWait) {
		began := time.Now()
		err := g.listen(ctx, commands)
		if time.Since(began) > lastWait {
			wait, said = firstWait, ""
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			g.Logger.Warn("no notices are taken in from the logistics department at the moment", "error", err)
		}
		pause(ctx, wait)
	}
}

// listen takes notices in until the connection ends.
func (g *Gateway) listen(ctx context.Context, commands Commands) error {
	ended := make(chan error, 1)
	var working sync.WaitGroup
	defer working.Wait()
	options := g.options(g.Instance + "-in").SetCleanSession(false).SetAutoAckDisabled(true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { ended <- err })
	options.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		working.Add(1) // the client waits for its handlers when it disconnects
		defer working.Done()
		g.take(ctx, commands, m)
	})
	client := mqtt.NewClient(options)
	defer client.Disconnect(250)
	if err := settled(ctx, client.Connect()); err != nil {
		return err
	}
	if err := settled(ctx, client.SubscribeMultiple(map[string]byte{topicNotice: 1, topicCanceled: 1}, nil)); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// notice is what a supplier says: that goods are delivered, or that they will not come.
type notice struct {
	Delivery string `json:"delivery_id"`
	Purchase string `json:"purchase_id"`
	Item     string `json:"item_id"`
	Quantity int64  `json:"quantity"`
	Reason   string `json:"reason"`
}

// receipt answers a notice.
type receipt struct {
	Of       string `json:"of"`
	Purchase string `json:"purchase_id"`
	Delivery string `json:"delivery_id,omitempty"`
	Status   string `json:"status"` // accepted or refused
	Reason   string `json:"reason,omitempty"`
}

// take has a notice decided, as often as that takes, and acknowledges it when what was decided is durable. Where ctx ends
// before, the bus keeps it.
func (g *Gateway) take(ctx context.Context, commands Commands, m mqtt.Message) {
	n, c, err := read(m.Topic(), m.Payload())
	if err != nil {
		g.Logger.Warn("a notice of the logistics department makes no sense", "topic", m.Topic(), "error", err)
		m.Ack()
		return
	}
	id := "logistics_" + digest(m.Topic()+"\n"+n.Purchase+"\n"+n.Delivery)
	answer := receipt{Of: m.Topic(), Purchase: n.Purchase, Delivery: n.Delivery, Status: "accepted"}
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := decide(ctx, commands, c, id)
		refusal, refused := errors.AsType[*backbone.Refusal](err)
		if refused {
			answer.Status, answer.Reason = "refused", refusal.Code
			g.Logger.Warn("a notice of the logistics department is refused", "topic", m.Topic(), "purchase", n.Purchase, "reason", refusal.Code)
		}
		if errors.Is(err, backbone.ErrDifferentCommand) {
			answer.Status, answer.Reason, refused = "refused", "another_notice_of_this_id", true
		}
		if err == nil || refused {
			break
		}
		if !pause(ctx, wait) {
			return
		}
	}
	backbone.CrashPoint("notice.taken")
	m.Ack()
	backbone.CrashPoint("notice.settled")
	if err := g.publish(ctx, topicReceipt, answer); err != nil {
		g.Logger.Warn("a notice was not answered", "purchase", n.Purchase, "error", err) // it comes again, and is a copy
	}
}

func decide(ctx context.Context, commands Commands, c backbone.Command, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideWithin)
	defer cancel()
	a, err := commands.Do(ctx, c, backbone.WithID(id), backbone.By("logistics:bus"))
	if err != nil {
		return err
	}
	return a.Err()
}

func read(topic string, payload []byte) (n notice, c command.Command, err error) {
	if len(payload) > maxNotice {
		return n, nil, fmt.Errorf("it has %d bytes", len(payload))
	}
	if err := json.Unmarshal(payload, &n); err != nil {
		return n, nil, errors.New("it is no JSON object with the right fields")
	}
	switch topic {
	case topicNotice:
		c = command.AcceptDelivery{Purchase: n.Purchase, Delivery: n.Delivery, SKU: n.Item, Quantity: n.Quantity}
	case topicCanceled:
		if n.Reason == "" {
			n.Reason = "canceled by the supplier"
		}
		c = command.CancelPurchase{Purchase: n.Purchase, Reason: n.Reason}
	default:
		return n, nil, errors.New("nobody asked for it")
	}
	return n, c, c.Validate()
}

// Close ends the connections. Calls fail from then on and are made again after the next start.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.out != nil {
		g.out.Disconnect(250)
		g.out = nil
	}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pause waits and reports whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
