package house

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/gateway/callback"
	"example.org/souk/gateway/console"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/gateway/logistics"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/partner"
	"example.org/souk/gateway/robots"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/peers"
	"example.org/souk/mall/depot"
)

// Config says what a house runs and where. The zero value with a Data directory
// is the whole mall on loopback, with the stand-in for a payment provider.
type Config struct {
	// Data is the directory that holds the database, the keys, and what the
	// stand-ins keep. It is created with mode 0700.
	Data string
	// HTTP is the address of the online store and the console; default
	// 127.0.0.1:8080. Other than on loopback it speaks TLS.
	HTTP string
	// TLS says how it speaks TLS.
	TLS TLSConfig
	// OIDC names an issuer outside whose tokens are taken as well; default none.
	OIDC OIDCConfig
	// TestMode adds the routes that fill and empty a test's world, and listens on
	// the ports 8900 and 8901 as well if HTTP is not on port 0.
	TestMode bool
	// Empty leaves the demo shop out on first start.
	Empty bool
	// Without leaves services out.
	Without []string
	// Currency is the shop's; default EUR.
	Currency string
	// OrderPatience is how long an order may wait for its approval; default 24 hours.
	OrderPatience time.Duration
	// StepPatience is how long a step of the checkout may wait for another service's
	// answer; default 30 seconds.
	StepPatience time.Duration
	// Collection is how long an order that is ready waits to be collected; default 48 hours.
	Collection time.Duration
	// BasketHold is how long a basket is kept unless it is extended; default 30 minutes.
	BasketHold time.Duration
	// PaymentHold is how long an authorized payment is kept that no order takes; default 30 minutes.
	PaymentHold time.Duration
	// RobotLease is how long a robot is counted on that is not heard of; see depot.Config.
	RobotLease time.Duration
	// Retention is how long answers to commands are kept, and commands, replies and
	// calls in the logs; see backbone.Config. It is no shorter than OrderPatience:
	// until then a command of an order may come again. Default 7 days, or
	// OrderPatience where that is longer.
	Retention time.Duration
	// DB is the URL of a PostgreSQL database that holds what the services keep, and of
	// those of services that have one of their own; see ParseDatabases. Default none:
	// the file souk.db in the data directory.
	DB string
	// Run names the parts that run here, services and gateways, as one of several
	// processes on the same databases. Default nil: all of them run here, and no other
	// process uses the databases.
	Run []string
	// Listen is where this process speaks to the others, host:port; default port 0 on
	// loopback. Only with Run.
	Listen string
	// Drain is how long a process that was asked to end still takes requests, while it says that it is not ready, so
	// that whoever spreads requests over several processes goes elsewhere. Only with Run; default 0.
	Drain time.Duration
	// Advertise is the address under which others reach Listen; default Listen's own.
	Advertise string
	// Broker is the URL of a broker that carries messages between the services; default
	// none: the log itself does.
	Broker string
	// Partners are the URLs of the brokers that partners speak through, as ACCOUNT=URL where a connection's orders belong to a
	// customer of their own; default none.
	Partners []string
	// PartnerAccount is the customer that the orders over the other connections belong to; default PARTNER_001.
	PartnerAccount string
	// MQTT says where devices connect; default nowhere.
	MQTT MQTTConfig
	// Logistics is the URL of the message bus of the logistics department, with its user and password; default that of a
	// supplier's stand-in, "off" for none.
	Logistics string
	// Payment says who moves the money.
	Payment PaymentConfig
	// Mail says who sends mail.
	Mail MailConfig
	// SMS says who sends text messages.
	SMS SMSConfig
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Hooks observe the backbone.
	Hooks backbone.Hooks
	// Added services run beside the mall's own.
	Added []*backbone.Service
	// CallerRate bounds the requests a second of one caller; default 1,000.
	CallerRate int
	// ConnectionsEach bounds the connections of one address at each listener; default 4,096.
	ConnectionsEach int
	// Quiet serves no HTTP: the command line uses a data directory without it.
	Quiet bool
}

const (
	defaultPatience  = 24 * time.Hour
	defaultRetention = 7 * 24 * time.Hour
)

// database is the name of the database in the data directory.
const database = "souk.db"

// House is one process of the mall.
type House struct {
	Runtime   *backbone.Runtime
	Authority *door.Authority
	Door      *door.Door
	Keys      *backbone.Keys

	cfg       Config
	stores    *databases
	owner     string       // how leases know this process; "": they need not
	disown    func() error // gives up the data directory; nil where the database is in it
	unlock    func()       // gives up a database that other machines can reach; nil where it is a file
	taken     chan error   // another mall has that database
	bus       driver.Transport
	hub       door.Hub
	kiosks    door.Hub
	standIn   *standIn
	reports   *reports // nil: the payment provider does not call back
	mailer    interface{ Close() error }
	partners  *partner.Gateway // nil: there are none
	peers     *peers.Peers     // nil: this is the only process
	between   net.Listener     // of other processes; nil: there are none
	supplier  *standIn
	logistics *logistics.Gateway // nil: there is no bus
	devices   *devices.Gateway   // nil: the command line has none
	robots    *robots.Gateway    // nil where the depot does not run
	staff     *staff.Gateway     // nil: staff come in elsewhere
	sighted   sightings          // what staff see of robots
	noting    sync.Mutex         // held while somebody is added to the list of the forgotten
	taking    sync.WaitGroup     // what the partners' messages are taken in by
	servers   []*http.Server
	listeners []net.Listener
	tls       *tls.Config  // of the web server; nil: it speaks in the clear
	issuer    *door.Issuer // outside; nil: there is none
	cancel    context.CancelFunc
	loops     sync.WaitGroup
	metrics   *metrics
	answers   *answers
	noRoom    atomic.Bool   // a commit failed for want of room, and none of that size was made since
	started   atomic.Bool   // Start has come to its end
	opened    chan struct{} // closed when the services run
	joined    atomic.Bool   // other processes may call this one
	closing   chan struct{} // closed when Stop begins
	once      sync.Once
	first     bool // the database was made by this start
}

// Open prepares a house: it opens the ports, takes the data directory's lock, so
// that one process at a time uses it, and builds everything. Nothing runs before
// Start but the payment stand-in, and whoever connects waits until then.
func Open(ctx context.Context, cfg Config) (_ *House, err error) {
	if cfg.Data == "" {
		return nil, errors.New("a data directory is needed")
	}
	if os.Getenv(standInMark) != "" && !cfg.Quiet {
		return nil, errors.New("this process was started as a stand-in: name a program that can be one")
	}
	if cfg.HTTP == "" {
		cfg.HTTP = "127.0.0.1:8080"
	}
	if cfg.TestMode && !Loopback(cfg.HTTP) {
		return nil, fmt.Errorf("address %q is not a loopback address: in test mode whoever reaches it is let in", cfg.HTTP)
	}
	if cfg.Currency == "" {
		cfg.Currency = "EUR"
	}
	if cfg.OrderPatience <= 0 {
		cfg.OrderPatience = defaultPatience
	}
	if cfg.Retention <= 0 {
		cfg.Retention = max(defaultRetention, cfg.OrderPatience)
	}
	if cfg.Retention < cfg.OrderPatience {
		return nil, fmt.Errorf("a retention of %s is shorter than the %s for which an order may wait: its commands may come again until then, "+
			"and only a kept answer tells", cfg.Retention, cfg.OrderPatience)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	h := &House{cfg: cfg, opened: make(chan struct{}), closing: make(chan struct{}), taken: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if !cfg.Quiet {
		if err := h.listen(ctx); err != nil {
			return nil, err
		}
	}
	if err := h.openStore(ctx); err != nil {
		return nil, err
	}
	if h.Several() {
		if err := h.join(ctx); err != nil {
			return nil, err
		}
	}
	if h.bus, err = OpenTransport(ctx, TransportConfig{
		Broker: cfg.Broker, Owner: h.owner, Store: h.stores.of, Log: h.stores.log, Logger: cfg.Logger, Unchecked: cfg.Quiet,
	}); err != nil {
		return nil, err
	}
	h.Keys, err = backbone.OpenKeys(h.keysConfig())
	if err != nil {
		return nil, err
	}
	ports, err := h.ports(ctx)
	if err != nil {
		return nil, err
	}
	parts := Parts(ports, cfg.Added...)
	run, err := h.choose(parts)
	if err != nil {
		return nil, err
	}
	if err := h.reachable(parts, run); err != nil {
		return nil, err
	}
	if !cfg.Quiet {
		if err := h.openMetrics(); err != nil {
			return nil, err
		}
	}
	retention := cfg.Retention
	if cfg.Quiet {
		retention = -1 // the command line does not know for how long the mall keeps what it keeps
	}
	h.Runtime, err = backbone.New(backbone.Config{
		Parts: parts, Run: run, Store: h.stores.of, Log: h.stores.log, Transport: h.bus, Owner: h.owner, Logger: cfg.Logger, Hooks: h.cfg.Hooks,
		SealHead: h.keepHead, Retention: retention,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Quiet {
		if h.Several() {
			h.stores.know(h.Services())
		}
		return h, nil
	}
	return h, h.openDoor(ctx)
}

func (h *House) openDoor(ctx context.Context) (err error) {
	if h.peers != nil {
		h.Authority, err = door.OpenAuthorityIn(ctx, peers.NewVault(h.stores.shared), clock{})
	} else {
		h.Authority, err = door.OpenAuthority(filepath.Join(h.cfg.Data, "keys"), clock{})
	}
	if err != nil {
		return err
	}
	if err := h.trustIssuer(ctx); err != nil {
		return err
	}
	h.answers = newAnswers(h.stores.shared, h.Runtime.Transact)
	h.Door, err = door.New(door.Config{
		Authority: h.Authority, Logger: h.cfg.Logger, TLS: h.secure(), TestMode: h.cfg.TestMode, Idempotency: h.answers,
		Homes:      h.homes(),
		CallerRate: h.rate(1), AddressRate: h.rate(5), Ready: h.probes(), Observe: h.metrics.observe,
	})
	if err != nil {
		return err
	}
	if h.runs(online.ServiceName) {
		if err := online.Register(h.Door, h.onlineStore()); err != nil {
			return err
		}
	}
	if h.runs(kioskPart) {
		if err := kiosk.Register(h.Door, h.kioskStand()); err != nil {
			return err
		}
	}
	if h.reports != nil {
		if err := callback.Register(h.Door, h.Runtime, h.reports.open); err != nil {
			return err
		}
	}
	if h.runs(staff.ServiceName) {
		if err := h.openStaff(); err != nil {
			return err
		}
	}
	if err := h.serveMetrics(); err != nil {
		return err
	}
	if !h.runs(consolePart) {
		return nil
	}
	return console.Register(h.Door, newView(h), h.closing)
}

// homes says where browsers go that have signed in, where that is served here.
func (h *House) homes() map[door.Role]string {
	homes := map[door.Role]string{}
	if h.runs(kioskPart) {
		homes[door.Device], homes[door.Customer] = "/kiosk", "/kiosk"
	}
	if h.runs(staff.ServiceName) {
		homes[door.Staff] = "/staff"
	}
	return homes
}

// rate is the bound of a caller, times n; the zero Rate is the door's own default.
func (h *House) rate(n int) door.Rate {
	return door.Rate{PerSecond: float64(h.cfg.CallerRate * n), Burst: 2 * h.cfg.CallerRate * n}
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// Schemas lists what stands in the database: the door's tables and those of every service.
func Schemas(parts []*backbone.Service) []driver.Schema {
	list := []driver.Schema{doorSchema()}
	for _, p := range parts {
		list = append(list, driver.Schema{Service: p.Name, Migrations: p.Migrations})
	}
	return list
}

// Pending is a migration that was not applied.
type Pending = sqlitestore.Pending

// Lacks lists what Migrate would apply, and changes nothing.
func (h *House) Lacks(ctx context.Context) ([]Pending, error) {
	var list []Pending
	for _, store := range h.stores.all() {
		var schemas []driver.Schema
		for _, s := range h.schemas() {
			if h.stores.of(s.Service) == store {
				schemas = append(schemas, s)
			}
		}
		lacks, err := h.lacksOf(ctx, store, schemas...)
		if err != nil {
			return nil, err
		}
		list = append(list, lacks...)
	}
	return list, nil
}

func (h *House) lacksOf(ctx context.Context, store driver.Store, schemas ...driver.Schema) ([]Pending, error) {
	planner, ok := store.(interface {
		Plan(ctx context.Context, schemas []driver.Schema) ([]Pending, error)
	})
	if !ok {
		return nil, errors.New("this database cannot tell what it lacks")
	}
	return planner.Plan(ctx, schemas)
}

// schemas lists what stands in the databases.
func (h *House) schemas() []driver.Schema {
	list := Schemas(h.Runtime.Parts())
	if h.Several() {
		list = append(list, peers.Schema())
	}
	return list
}

// Migrate brings all tables up to date. Start does it too; who only reads calls it alone.
func (h *House) Migrate(ctx context.Context) error {
	schemas := []driver.Schema{doorSchema()}
	if h.Several() {
		schemas = append(schemas, peers.Schema())
	}
	if h.cfg.Quiet && h.partners != nil { // it does not run here, and is read
		schemas = append(schemas, driver.Schema{Service: partner.ServiceName})
	}
	if err := h.stores.shared.Migrate(ctx, schemas); err != nil {
		return err
	}
	return h.Runtime.Migrate(ctx)
}

// Start runs the house and returns when it takes orders.
func (h *House) Start(ctx context.Context) error {
	if err := h.Migrate(ctx); err != nil {
		return err
	}
	if err := h.meetSupplier(ctx); err != nil {
		return err
	}
	forgotten, err := h.forgetListed(ctx)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel = cancel
	var programs http.Handler
	if !h.cfg.Quiet {
		err := h.openRobots()
		if err != nil {
			return err
		}
		if programs, err = h.programs(); err != nil {
			return err
		}
	}
	// Two processes that begin together may each wait for the other's logs.
	early := len(h.stores.abroad) > 0
	if early {
		if err := h.serveOthers(run, programs); err != nil {
			return err
		}
	}
	if err := h.Runtime.Start(ctx); err != nil {
		return err
	}
	close(h.opened)
	if h.first && !h.cfg.Empty && !h.cfg.TestMode && h.peers == nil {
		if err := h.SeedDemo(ctx); err != nil {
			return fmt.Errorf("demo shop: %w", err)
		}
	}
	if h.cfg.Quiet {
		return nil
	}
	if len(forgotten) > 0 {
		h.loops.Go(func() { h.tellListed(run, forgotten) })
	}
	if h.peers == nil {
		h.loops.Go(func() { h.wake(run, "orders", &h.hub, 1000, customerOf) })
	} else if !early {
		if err := h.serveOthers(run, programs); err != nil {
			return err
		}
	}
	if h.robots != nil {
		h.loops.Go(func() { h.robots.Run(run) })
		if err := h.noteEntry(ctx, depot.ServiceName, Entry{URL: h.URL()}); err != nil {
			return err
		}
	}
	if h.runs(kioskPart) {
		for service, topic := range wakers {
			if h.Runtime.Runs(service) {
				h.loops.Go(func() { h.wake(run, service, &h.kiosks, 100, topic) })
			}
		}
	}
	h.loops.Go(func() { h.pruneAnswers(run) })
	if h.issuer != nil {
		h.loops.Go(func() { h.issuer.Run(run) })
	}
	if h.staff != nil {
		h.loops.Go(func() { _ = h.staff.Run(run) }) // it ends with run, and for no other reason
		h.showRobots(run)
	}
	for _, l := range h.listeners {
		server := h.Door.Server()
		h.servePrograms(server, programs)
		server.Handler = h.serveRobots(server.Handler)
		server.BaseContext = func(net.Listener) context.Context { return run }
		h.servers = append(h.servers, server)
		h.loops.Go(func() {
			if err := h.serve(server, l); !errors.Is(err, http.ErrServerClosed) {
				h.cfg.Logger.Error("the web server ended", "address", l.Addr(), "error", err)
			}
		})
	}
	h.takeFromPartners(run)
	h.takeNotices(run)
	if err := h.letDevicesIn(run); err != nil {
		return err
	}
	h.started.Store(true)
	return nil
}

// listen opens the ports. It comes before all else: the payment stand-in has to know where to call back, and a port that is
// taken must not leave a database behind that is no first start's any more.
func (h *House) listen(ctx context.Context) error {
	if _, _, err := net.SplitHostPort(h.cfg.HTTP); err != nil {
		return fmt.Errorf("the web server: %w; write --http HOST:PORT", err)
	}
	if h.secure() {
		var err error
		if h.tls, err = certified(filepath.Join(h.cfg.Data, "tls"), h.cfg.HTTP, h.cfg.TLS.CertFile, h.cfg.TLS.KeyFile); err != nil {
			return fmt.Errorf("certificate of the web server: %w", err)
		}
	}
	addresses := []string{h.cfg.HTTP}
	if host, port, _ := net.SplitHostPort(h.cfg.HTTP); h.cfg.TestMode && port != "0" {
		for _, p := range []string{"8900", "8901"} {
			if p != port {
				addresses = append(addresses, net.JoinHostPort(host, p))
			}
		}
	}
	for i, a := range addresses {
		l, err := h.bind(ctx, listensWeb, a)
		switch {
		case err != nil && i > 0:
			return fmt.Errorf("port of the test mode, which there is once on a machine: %w", err)
		case err != nil:
			return fmt.Errorf("port of the web server: %w; choose another with --http", err)
		}
		h.listeners = append(h.listeners, l)
	}
	return nil
}

// URL returns the base address of the online store and the console.
func (h *House) URL() string {
	if len(h.listeners) == 0 {
		return ""
	}
	address := h.listeners[0].Addr().String()
	if h.tls == nil {
		return "http://" + address
	}
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host).IsUnspecified() {
		if name, err := os.Hostname(); err == nil { // its own certificate names it
			address = net.JoinHostPort(name, port)
		}
	}
	return "https://" + address
}

// fromHere returns the address under which this machine reaches the web server.
func (h *House) fromHere() string {
	address := h.listeners[0].Addr().String()
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host).IsUnspecified() {
		address = net.JoinHostPort("localhost", port)
	}
	if h.tls == nil {
		return "http://" + address
	}
	return "https://" + address
}

// secure tells whether the web server speaks TLS.
func (h *House) secure() bool {
	return h.cfg.TLS.On || h.cfg.TLS.CertFile != "" || !Loopback(h.cfg.HTTP)
}

// serve runs a web server until it is shut down.
func (h *House) serve(server *http.Server, l net.Listener) error {
	if h.tls == nil {
		return server.Serve(l)
	}
	server.TLSConfig = h.tls.Clone()
	return server.ServeTLS(l, "", "")
}

// Certificate returns the file by which the web server is trusted; "" where it speaks in the clear.
func (h *House) Certificate() string {
	if h.tls == nil {
		return ""
	}
	return cmp.Or(h.cfg.TLS.CertFile, filepath.Join(h.cfg.Data, "tls", "certificate.pem"))
}

// Address returns where other processes are answered; "" where there are none.
func (h *House) Address() string {
	if h.between == nil {
		return ""
	}
	return h.between.Addr().String()
}

// TestMode tells whether requests without a token are let in.
func (h *House) TestMode() bool { return h.cfg.TestMode }

// Stop drains: the doors close first, what was begun is finished, then the
// database is closed. It may be called more than once.
func (h *House) Stop(ctx context.Context) error {
	var errs []error
	h.once.Do(func() { close(h.closing) })
	if h.joined.Load() {
		errs = append(errs, h.peers.Leave(ctx))
		select {
		case <-ctx.Done():
		case <-time.After(h.cfg.Drain):
		}
	}
	for _, s := range h.servers {
		errs = append(errs, s.Shutdown(ctx))
	}
	h.servers = nil
	if h.devices != nil {
		errs = append(errs, h.devices.Close())
	}
	if h.cancel != nil {
		h.cancel() // streams, which outlive Shutdown, end here
	}
	h.taking.Wait()
	errs = append(errs, h.Runtime.Stop(ctx))
	h.loops.Wait()
	return errors.Join(append(errs, h.close())...)
}

func (h *House) close() error {
	var errs []error
	for _, l := range h.listeners {
		_ = l.Close() // its server has closed it already, if there was one
	}
	if h.between != nil {
		_ = h.between.Close() // likewise
	}
	if h.standIn != nil {
		h.standIn.stop()
	}
	h.closeLogistics()
	if h.mailer != nil {
		errs = append(errs, h.mailer.Close())
		h.mailer = nil
	}
	if h.devices != nil {
		errs = append(errs, h.devices.Close())
		h.devices = nil
	}
	if h.partners != nil {
		h.partners.Close()
		h.partners = nil
	}
	if h.bus != nil {
		errs = append(errs, h.bus.Close())
		h.bus = nil
	}
	if h.stores != nil {
		errs = append(errs, h.stores.close())
		h.stores = nil
	}
	if h.disown != nil {
		errs = append(errs, h.disown())
		h.disown = nil
	}
	if h.unlock != nil {
		h.unlock()
		h.unlock = nil
	}
	return errors.Join(errs...)
}

// Store returns the database of a service.
func (h *House) Store(service string) driver.Store { return h.stores.of(service) }

// Currency returns the shop's currency.
func (h *House) Currency() string { return h.cfg.Currency }
