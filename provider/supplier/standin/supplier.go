package standin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/internal/fault"
)

// The names on the bus.
const (
	topicNeeded   = "RestockNeeded"
	topicUnwanted = "RestockCanceled"
	topicNotice   = "delivery-notice"
	topicCanceled = "purchase-canceled"
	topicReceipt  = "receipt"
)

// againAfter is when a notice is said again that nobody gave a receipt for.
const againAfter = time.Second

// Faults is what goes wrong. The zero value is a supplier that delivers all of an order at once. A percentage is decided by the
// seed and the purchase, so that the same run meets the same faults.
type Faults struct {
	Seed uint64 `json:"seed"`
	// DelayMS is how long a delivery takes, in milliseconds.
	DelayMS int `json:"delay_ms"`
	// Hold delivers nothing by itself.
	Hold bool `json:"hold"`
	// CancelPercent of the orders are cancelled.
	CancelPercent int `json:"cancel_percent"`
	// PartPercent of the orders are delivered in two parts.
	PartPercent int `json:"part_percent"`
	// DuplicatePercent of the notices are said twice.
	DuplicatePercent int `json:"duplicate_percent"`
	// RefusePercent of the orders are not taken at first; whoever sends them sends them again.
	RefusePercent int `json:"refuse_percent"`
}

func (f Faults) check() error {
	for _, percent := range []int{f.CancelPercent, f.PartPercent, f.DuplicatePercent, f.RefusePercent} {
		if percent < 0 || percent > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	if f.DelayMS < 0 || f.DelayMS > 600_000 {
		return errors.New("a delay lies between 0 and 600000 ms")
	}
	return nil
}

// Config says how a stand-in runs.
type Config struct {
	// Listen and Admin are loopback addresses of the bus and of the faults; default 127.0.0.1:0, a free port.
	Listen, Admin string
	// Ledger is the path of the ledger file, created if it is not there. One process uses it at a time. Required.
	Ledger string
	// Password is what everybody on the bus presents, under any name; at least 16 characters. Required.
	Password string
	// Faults are switched on from the start. Default none.
	Faults Faults
}

// PasswordFile returns the password in the file at path, which is made with a new one if it is not there.
func PasswordFile(path string) (string, error) { return admin.KeyFile(path) }

// Supplier is a running stand-in.
type Supplier struct {
	config   Config
	ledger   *ledger
	bus      *mqtt.Server
	port     net.Listener
	door     net.Listener
	web      *http.Server
	look     chan struct{} // something is to be delivered, or the faults changed
	shutDown func() error

	mu     sync.Mutex
	faults Faults
	tries  map[string]int
}

// New opens the ledger and the ports. The stand-in must be ended by Run or, if that is never called, by Close.
func New(config Config) (*Supplier, error) {
	for _, a := range []*string{&config.Listen, &config.Admin} {
		if *a == "" {
			*a = "127.0.0.1:0"
		}
	}
	if err := errors.Join(admin.Check(config.Password, config.Listen, config.Admin), config.Faults.check()); err != nil {
		return nil, fmt.Errorf("supplier stand-in: %w", err)
	}
	if config.Ledger == "" {
		return nil, errors.New("supplier stand-in: a ledger file is required")
	}
	book, err := openLedger(config.Ledger)
	if err != nil {
		return nil, fmt.Errorf("supplier stand-in: %w", err)
	}
	s := &Supplier{config: config, ledger: book, look: make(chan struct{}, 1), faults: config.Faults, tries: map[string]int{}}
	s.shutDown = sync.OnceValue(s.end)
	if s.port, err = net.Listen("tcp", config.Listen); err == nil {
		s.door, err = net.Listen("tcp", config.Admin)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("supplier stand-in: %w", err), s.Close())
	}
	can := mqtt.NewDefaultServerCapabilities()
	can.MaximumQos = 1
	can.MaximumPacketSize = 64 << 10
	can.MinimumProtocolVersion = 4
	s.bus = mqtt.New(&mqtt.Options{InlineClient: true, Capabilities: can, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := errors.Join(s.bus.AddHook(&hook{s: s}, nil), s.bus.AddListener(listeners.NewNet("bus", s.port))); err != nil {
		return nil, errors.Join(fmt.Errorf("supplier stand-in: %w", err), s.Close())
	}
	s.web = admin.Server(config.Password, s.routes())
	return s, nil
}

// URL returns the address of the bus.
func (s *Supplier) URL() string { return "mqtt://" + s.port.Addr().String() }

// Admin returns the address of the faults and the ledger.
func (s *Supplier) Admin() string { return "http://" + s.door.Addr().String() }

// Report returns the ledger, oldest entry first.
func (s *Supplier) Report() []Entry { return s.ledger.report() }

// Run takes orders and delivers until ctx ends, then closes the ports and the ledger. It is called once.
func (s *Supplier) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.web.Serve(s.door) }()
	if err := s.bus.Serve(); err != nil {
		return errors.Join(err, s.Close())
	}
	said := map[string]time.Time{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Close()
		case err := <-served:
			return errors.Join(fmt.Errorf("supplier stand-in: %w", err), s.Close())
		case <-s.look:
		case <-tick.C:
		}
		if err := s.work(said, false); err != nil {
			return errors.Join(fmt.Errorf("supplier stand-in: %w", err), s.Close())
		}
	}
}

// Close ends a stand-in that was never run. It may be called again.
func (s *Supplier) Close() error { return s.shutDown() }

func (s *Supplier) end() error {
	if s.web != nil {
		_ = s.web.Close() // nobody waits for an answer of a stand-in that is stopped
	}
	if s.bus != nil {
		_ = s.bus.Close()
	}
	for _, l := range []net.Listener{s.port, s.door} {
		if l != nil {
			_ = l.Close() // its server has closed it already, if there was one
		}
	}
	return s.ledger.journal.Close()
}

// work answers orders that are due and says what was not heard. now delivers whatever the faults say.
func (s *Supplier) work(said map[string]time.Time, now bool) error {
	f := s.Faults()
	orders, _ := s.ledger.waiting()
	for _, id := range orders {
		if f.Hold && !now {
			break
		}
		key := "order/" + id
		if _, seen := said[key]; !seen {
			said[key] = time.Now()
		}
		if !now && time.Since(said[key]) < time.Duration(f.DelayMS)*time.Millisecond {
			continue
		}
		if err := s.answer(f, id); err != nil {
			return err
		}
	}
	_, notices := s.ledger.waiting()
	for _, n := range notices {
		key := n.Purchase + "/" + n.Delivery
		last, before := said[key]
		if before && time.Since(last) < againAfter {
			continue
		}
		said[key] = time.Now()
		times := 1
		if !before && fault.Hits(f.DuplicatePercent, f.Seed, "duplicate", key, 1) {
			times = 2
		}
		for range times {
			if err := s.say(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// answer delivers an order, or says that it cannot.
func (s *Supplier) answer(f Faults, id string) error {
	_, err := s.ledger.write(id, func(p *purchase) []Entry {
		switch {
		case p == nil || p.ended:
			return nil
		case fault.Hits(f.CancelPercent, f.Seed, "cancel", id, 1):
			return []Entry{{What: Canceled, Item: p.item}}
		case p.quantity > 1 && fault.Hits(f.PartPercent, f.Seed, "part", id, 1):
			half := p.quantity / 2
			return []Entry{
				{What: Delivered, Item: p.item, Quantity: half, Delivery: id + "-1"},
				{What: Delivered, Item: p.item, Quantity: p.quantity - half, Delivery: id + "-2"},
			}
		}
		return []Entry{{What: Delivered, Item: p.item, Quantity: p.quantity, Delivery: id + "-1"}}
	})
	return err
}

func (s *Supplier) say(e Entry) error {
	topic, body := topicNotice, any(struct {
		Delivery string `json:"delivery_id"`
		Purchase string `json:"purchase_id"`
		Item     string `json:"item_id"`
		Quantity int64  `json:"quantity"`
	}{e.Delivery, e.Purchase, e.Item, e.Quantity})
	if e.What == Canceled {
		topic, body = topicCanceled, struct {
			Purchase string `json:"purchase_id"`
			Reason   string `json:"reason"`
		}{e.Purchase, "sold out"}
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.bus.Publish(topic, payload, false, 1)
}

// Faults returns the faults of the moment.
func (s *Supplier) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (s *Supplier) try(purchase string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[purchase]++
	return s.tries[purchase]
}

func (s *Supplier) wake() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

func (s *Supplier) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { admin.Answer(w, s.Faults()) })
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		if err := errors.Join(admin.Decode(r, &f), f.check()); err != nil {
			admin.Refuse(w, http.StatusBadRequest, "invalid", err.Error())
			return
		}
		s.mu.Lock()
		s.faults = f
		s.mu.Unlock()
		s.wake()
		admin.Answer(w, f)
	})
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) { admin.Answer(w, s.ledger.report()) })
	mux.HandleFunc("POST /deliver", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.work(map[string]time.Time{}, true); err != nil {
			admin.Refuse(w, http.StatusInternalServerError, "failed", err.Error())
			return
		}
		admin.Answer(w, s.ledger.report())
	})
	return mux
}

// hook is what the bus asks.
type hook struct {
	mqtt.HookBase
	s *Supplier
}

// ID names the hook.
func (*hook) ID() string { return "supplier" }

// Provides tells which questions the hook answers.
func (*hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublish
}

// OnConnectAuthenticate lets in whoever has the password.
func (h *hook) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	return subtle.ConstantTimeCompare(pk.Connect.Password, []byte(h.s.config.Password)) == 1
}

// OnACLCheck lets everybody on the bus read and say everything.
func (*hook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnPublish takes what the supplier is told, and returns when it is in the ledger.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	var said struct {
		Purchase string `json:"purchase_id"`
		Delivery string `json:"delivery_id"`
		Item     string `json:"item_id"`
		Quantity int64  `json:"quantity"`
	}
	_ = json.Unmarshal(pk.Payload, &said) // what cannot be read names no purchase
	if said.Purchase == "" {
		return pk, nil // it is not for us
	}
	var judge func(*purchase) []Entry
	switch pk.TopicName {
	case topicNeeded:
		f := h.s.Faults()
		if try := h.s.try(said.Purchase); fault.Hits(f.RefusePercent, f.Seed, "refuse", said.Purchase+strconv.Itoa(try), try) {
			cl.Stop(packets.ErrRejectPacket)
			return pk, packets.ErrRejectPacket
		}
		judge = func(p *purchase) []Entry {
			if p != nil {
				return nil // ordered before, or not wanted any more
			}
			return []Entry{{What: Ordered, Item: said.Item, Quantity: said.Quantity}}
		}
	case topicUnwanted:
		judge = func(p *purchase) []Entry {
			if p != nil && p.ended {
				return nil
			}
			return []Entry{{What: Unwanted}}
		}
	case topicReceipt:
		judge = func(p *purchase) []Entry {
			if p == nil {
				return nil
			}
			if _, open := p.open[said.Delivery]; !open {
				return nil
			}
			return []Entry{{What: Receipted, Delivery: said.Delivery}}
		}
	default:
		return pk, nil
	}
	if _, err := h.s.ledger.write(said.Purchase, judge); err != nil {
		cl.Stop(packets.ErrRejectPacket)
		return pk, packets.ErrRejectPacket
	}
	h.s.wake()
	return pk, nil
}
