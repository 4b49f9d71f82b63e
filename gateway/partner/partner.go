package partner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Commands takes commands to the services that handle them and returns when they are durable. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Catalogue knows what can be ordered now, and at which price.
type Catalogue interface {
	// Find returns the product of a SKU or a name, without a quantity; false for what nobody sells.
	Find(ctx context.Context, skuOrName string) (mall.Item, bool, error)
}

// Outcome says what became of a message.
type Outcome string

// The outcomes of a message.
const (
	Taken       Outcome = "taken"
	Duplicate   Outcome = "duplicate"   // the same order came again
	Redelivered Outcome = "redelivered" // the broker handed out again what was settled
	Conflict    Outcome = "conflict"    // another order came under the id of one that was taken
	Refused     Outcome = "refused"
	Own         Outcome = "own" // published by a mall
)

// Config says which brokers partners are at.
type Config struct {
	// URLs are the addresses of brokers: amqp:// or amqps:// for RabbitMQ, kafka:// for Kafka, with several hosts set apart
	// by commas, nats:// or tls:// for NATS.
	URLs []string
	// Logins return the user and the password of now at an address that holds none, before each connection; nil, or none for an
	// address: those that it holds.
	Logins map[string]Login
	// Account is the customer that the orders from there belong to. Accounts are those of addresses that have one of their own.
	Account  string
	Accounts map[string]string
	// Instance tells this process from others that read from the same brokers, also those of the same mall, and is the same after each
	// start. Required.
	Instance string
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Settled is told of each message that was settled, Up when a connection takes messages in and when it does not any
	// more. Both may be nil; they may be called from several goroutines and must be quick.
	Settled func(connection string, o Outcome)
	Up      func(connection string, up bool)
}

// Gateway is the connections to the brokers of partners. Its methods may be called from several goroutines.
type Gateway struct {
	Config
	links []*link
}

// link is one connection. Its name is its address without what is secret; account is whose the orders are that come over it.
type link struct {
	name    string
	account string
	broker  broker
}

// broker is what a client of a broker does for the gateway.
type broker interface {
	// receive declares what is needed and hands every message of "orders" to give, until ctx ends or something fails; then
	// it may be called again. give returns false when ctx has ended. done acknowledges a message; where it is not called,
	// the broker hands the message out again after close, or after the end of the connection.
	receive(ctx context.Context, up func(), give func(m message) bool) error
	// publish returns when the broker has confirmed all of the list, in whose order they are sent. It may be called from
	// several goroutines.
	publish(ctx context.Context, list []outgoing) error
	// close ends what receive and publish have opened.
	close()
}

// message is what a broker hands out.
type message struct {
	body []byte
	own  bool // it carries our mark
	// receipt is the same whenever the broker hands out this message and no other; empty where it has no such thing.
	receipt     string
	redelivered bool
	done        func()
}

// Login returns a user and its password.
type Login func() (user, password string, err error)

// SplitAccount takes the account off an address that is written ACCOUNT=URL; account is empty where there is none. An error
// tells nothing of the address, which may hold a password.
func SplitAccount(text string) (account, address string, err error) {
	account, address, found := strings.Cut(text, "=")
	if !found || strings.Contains(account, "://") { // it stands in the address
		return "", text, nil
	}
	if err := mall.ValidID(account); err != nil {
		return "", "", fmt.Errorf("what stands before the = is no account: %w", err)
	}
	return account, address, nil
}

// Open reads the configuration. It connects to nobody yet: either side may come first.
func Open(c Config) (*Gateway, error) {
	if err := mall.ValidID(c.Account); err != nil {
		return nil, fmt.Errorf("account of partners: %w", err)
	}
	if err := mall.ValidID(c.Instance); err != nil {
		return nil, fmt.Errorf("instance of the gateway to partners: %w", err)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Settled == nil {
		c.Settled = func(string, Outcome) {}
	}
	if c.Up == nil {
		c.Up = func(string, bool) {}
	}
	g := &Gateway{Config: c}
	for _, address := range c.URLs {
		at, err := url.Parse(address)
		if err != nil || at.Host == "" {
			return nil, errors.New("partner: its address is not a URL") // without the address, which may hold a password
		}
		l := &link{name: (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path}).String(), account: c.Account}
		if own, ok := c.Accounts[address]; ok {
			l.account = own
		}
		if err := mall.ValidID(l.account); err != nil {
			return nil, fmt.Errorf("account of partner %s: %w", l.name, err)
		}
		switch at.Scheme {
		case "amqp", "amqps":
			l.broker, err = newRabbit(address, c.Logins[address])
		case "kafka":
			if c.Logins[address] != nil {
				return nil, fmt.Errorf("partner %s: %w", l.name, errKafkaLogin)
			}
			l.broker, err = newKafka(at, c.Instance)
		case "nats", "tls":
			l.broker = newNATS(address, c.Logins[address])
		default:
			return nil, fmt.Errorf("partner: there is no client for %s://; there is one for amqp://, amqps://, kafka://, nats:// and tls://", at.Scheme)
		}
		if err != nil {
			return nil, fmt.Errorf("partner %s: %w", l.name, err)
		}
		if g.link(l.name) != nil {
			return nil, fmt.Errorf("partner %s is named twice", l.name)
		}
		g.links = append(g.links, l)
	}
	return g, nil
}

// AccountsInUse lists the customers that orders over the connections belong to, each once.
func (g *Gateway) AccountsInUse() (list []string) {
	for _, l := range g.links {
		if !slices.Contains(list, l.account) {
			list = append(list, l.account)
		}
	}
	return list
}

func (g *Gateway) link(name string) *link {
	for _, l := range g.links {
		if l.name == name {
			return l
		}
	}
	return nil
}

// Run takes messages in until ctx ends; what was begun then is finished first.
func (g *Gateway) Run(ctx context.Context, commands Commands, catalogue Catalogue) {
	var running sync.WaitGroup
	for _, l := range g.links {
		running.Go(func() { (&intake{g, l, commands, catalogue}).run(ctx) })
	}
	running.Wait()
}

// Close ends the connections. Calls fail from then on and are made again after the next start.
func (g *Gateway) Close() {
	for _, l := range g.links {
		l.broker.close()
	}
}

// intake takes in the messages of one connection.
type intake struct {
	*Gateway
	link      *link
	commands  Commands
	catalogue Catalogue
}

const (
	// lanes work on messages at once; those of one order go through one lane, in their order.
	lanes = 16
	// firstWait and lastWait lie between attempts at what is not there at the moment.
	firstWait, lastWait = 100 * time.Millisecond, 2 * time.Second
	// decideWithin bounds one attempt to have a message decided.
	decideWithin = 30 * time.Second
)

// job is a message that was read.
type job struct {
	message
	command string // its id, the same in every attempt
	asked   asked
	wrong   error // no order can be read from it
}

func (in *intake) run(ctx context.Context) {
	var working sync.WaitGroup
	queues := make([]chan job, lanes)
	for i := range queues {
		queues[i] = make(chan job, lanes)
		working.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-queues[i]:
					if ctx.Err() != nil {
						return // it was not begun, so the broker keeps it
					}
					in.settle(ctx, j)
				}
			}
		})
	}
	give := func(m message) bool {
		if m.own {
			in.Settled(in.link.name, Own)
			m.done()
			return ctx.Err() == nil
		}
		j := job{message: m, command: commandID(in.link.name, m)}
		j.asked, j.wrong = readOrder(m.body)
		lane := fnv.New32a()
		_, _ = lane.Write([]byte(j.asked.ID)) // never fails
		select {
		case queues[lane.Sum32()%lanes] <- j:
			return true
		case <-ctx.Done():
			return false
		}
	}
	said := ""
	for wait := firstWait; ctx.Err() == nil; wait = min(2*wait, lastWait) {
		err := in.link.broker.receive(ctx, func() {
			in.Up(in.link.name, true)
			wait, said = firstWait, ""
		}, give)
		in.Up(in.link.name, false)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			in.Logger.Warn("no orders are taken in from partners at the moment", "connection", in.link.name, "error", err)
		}
		pause(ctx, wait)
	}
	working.Wait()
}

// commandID names the command of a message. Where the broker does not tell messages apart, every delivery has one of its
// own, and the order's state tells what was taken.
func commandID(connection string, m message) string {
	if m.receipt == "" {
		return "partner_" + rand.Text()
	}
	return "partner_" + digest([]byte(connection+"\n"+m.receipt+"\n"+string(m.body)))
}

// settle has a message decided, as often as that takes, and acknowledges it when what was decided is durable. Where ctx
// ends before, the broker keeps the message.
func (in *intake) settle(ctx context.Context, j job) {
	said := ""
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		outcome, err := in.decide(context.WithoutCancel(ctx), j)
		if err == nil {
			in.Settled(in.link.name, outcome)
			j.done()
			backbone.CrashPoint("partner.settled")
			return
		}
		if err.Error() != said {
			said = err.Error()
			in.Logger.Warn("a message of a partner waits", "connection", in.link.name, "command", j.command, "error", err)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// decide has a message decided once. With an error nothing is known to be durable.
func (in *intake) decide(ctx context.Context, j job) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, decideWithin)
	defer cancel()
	c, err := in.ask(ctx, j)
	if err != nil {
		return "", err
	}
	backbone.CrashPoint("partner.read")
	a, err := in.commands.Do(ctx, c, backbone.WithID(j.command), backbone.By("partner:"+in.link.account))
	backbone.CrashPoint("partner.taken")
	switch {
	case errors.Is(err, backbone.ErrDifferentCommand):
		return Redelivered, nil // it was decided before, when the catalogue said something else
	case err != nil:
		return "", err
	case a.Repeated || len(a.Refs) == 0:
		return Redelivered, nil
	}
	outcome := outcomes[a.Refs[0].Type]
	if outcome == Duplicate && j.redelivered {
		return Redelivered, nil
	}
	if outcome != Taken {
		in.Logger.Warn(notes[outcome], "connection", in.link.name, "event", a.Refs[0].ID, "stream", a.Refs[0].Stream)
	}
	return outcome, nil
}

var outcomes = map[string]Outcome{
	OrderTaken{}.EventType():            Taken,
	OrderRepeated{}.EventType():         Duplicate,
	OrderConflicted{}.EventType():       Conflict,
	OrderRefused{}.EventType():          Refused,
	PartnerMessageRefused{}.EventType(): Refused,
}

var notes = map[Outcome]string{
	Duplicate: "an order of a partner came again: duplicate, ignored",
	Conflict:  "another order came under the id of one that a partner has sent before: it is kept as an event, and not placed",
	Refused:   "a message of a partner is refused: it is kept as an event, and no order",
}

// ask makes the command of a message.
func (in *intake) ask(ctx context.Context, j job) (backbone.Command, error) {
	if j.wrong != nil {
		return RefusePartnerMessage{ //nolint:nilerr // what is wrong is what the command tells
			Message: digest([]byte(in.link.name + "\n" + string(j.body))), Connection: in.link.name,
			Cause: CauseMalformed, Detail: causeOf(j.wrong), Body: keep(j.body), Redelivered: j.redelivered,
		}, nil
	}
	product, found, err := in.catalogue.Find(ctx, j.asked.Item)
	if err != nil {
		return nil, errors.Join(backbone.ErrUnavailable, err)
	}
	if found {
		product.Quantity = j.asked.Quantity
	}
	return TakePartnerOrder{
		Order: orderID(in.link.account, j.asked.ID), Connection: in.link.name, Account: in.link.account,
		ID: j.asked.ID, Item: j.asked.Item, Quantity: j.asked.Quantity, Product: product, Redelivered: j.redelivered,
	}, nil
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
