package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/mall"
	"example.org/souk/provider/internal/admin"
)

// Config says how a stand-in runs.
type Config struct {
	// Listen is a loopback address with a port. Default 127.0.0.1:0, a free port.
	Listen string
	// Ledger is the path of the ledger file, created if it is not there. One process uses it at a time. Required.
	Ledger string
	// APIKey is what callers must present, for payments and for the rest; at least 16 characters. Required: there is no
	// default. See NewAPIKey.
	APIKey string
	// CallbackURL is told about every execution, in the background. Default: nobody is.
	CallbackURL string
	// CallbackCert is a file with the certificate that is trusted there, and no other; default those that the machine trusts.
	CallbackCert string
	// CallbackSecret signs callbacks. Required with CallbackURL.
	CallbackSecret string
	// Faults are switched on from the start. Default none.
	Faults Faults
	// Now is the clock by which entries are stamped and keys are forgotten. Default time.Now.
	Now func() time.Time
}

// NewAPIKey returns a random API key.
func NewAPIKey() string { return admin.NewKey() }

// Provider is a running stand-in.
type Provider struct {
	listener net.Listener
	server   *http.Server
	ledger   *ledger
	faults   *switchboard
	caller   *caller
	waiting  atomic.Int64  // callers that a pause holds
	stop     chan struct{} // closed when the stand-in stops; waiting handlers give up
	close    func() error
}

// New opens the ledger and the port; from then on callers can connect, and are answered once Run is called. The stand-in
// must be ended by Run or, if that is never called, by Close.
func New(config Config) (*Provider, error) {
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if err := errors.Join(admin.Check(config.APIKey, config.Listen), config.Faults.check()); err != nil {
		return nil, fmt.Errorf("payment stand-in: %w", err)
	}
	switch {
	case config.Ledger == "":
		return nil, errors.New("payment stand-in: a ledger file is required")
	case config.CallbackURL != "" && config.CallbackSecret == "":
		return nil, errors.New("payment stand-in: callbacks need a secret")
	}
	caller, err := newCaller(config)
	if err != nil {
		return nil, fmt.Errorf("payment stand-in: callbacks: %w", err)
	}
	book, err := openLedger(config.Ledger, config.Now)
	if err != nil {
		return nil, fmt.Errorf("payment stand-in: %w", err)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("payment stand-in: %w", err), book.journal.Close())
	}
	p := &Provider{
		listener: listener,
		ledger:   book,
		faults:   &switchboard{tries: map[string]int{}},
		caller:   caller,
		stop:     make(chan struct{}),
	}
	p.faults.set(config.Faults)
	p.server = admin.Server(config.APIKey, p.routes())
	p.close = sync.OnceValue(func() error {
		close(p.stop)
		// Callers that are being answered get half a second; a stand-in that is stopped need not be kind for longer.
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if p.server.Shutdown(ctx) != nil {
			_ = p.server.Close() // it closes what Shutdown left; there is nothing to do about a socket that will not close
		}
		_ = p.listener.Close() // the server has closed it already, unless Run was never called
		return p.ledger.journal.Close()
	})
	return p, nil
}

// URL returns the address to call, http://host:port.
func (p *Provider) URL() string { return "http://" + p.listener.Addr().String() }

// Run answers callers until ctx ends, then closes the port and the ledger. It is called once.
func (p *Provider) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() { p.caller.run(ctx) })
	served := make(chan error, 1)
	group.Go(func() { served <- p.server.Serve(p.listener) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("payment stand-in: %w", err)
	}
	cancel()
	err = errors.Join(err, p.close())
	group.Wait()
	return err
}

// Close ends a stand-in that was never run. After Run it does nothing new; it may be called again.
func (p *Provider) Close() error { return p.close() }

// Faults returns the faults of the moment.
func (p *Provider) Faults() Faults { return p.faults.get() }

// SetFaults replaces all faults. It fails, and changes nothing, when they make no sense.
func (p *Provider) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("payment stand-in: %w", err)
	}
	p.faults.set(f)
	return nil
}

// Report returns the ledger with all entries, as it is on disk.
func (p *Provider) Report() (Report, error) { return p.report(true) }

func (p *Provider) report(withEntries bool) (Report, error) {
	report, err := p.ledger.report(withEntries)
	if err != nil {
		return Report{}, fmt.Errorf("payment stand-in: %w", err)
	}
	report.Waiting = p.waiting.Load()
	report.Callbacks = CallbackCount{Sent: p.caller.sent.Load(), Failed: p.caller.failed.Load()}
	return report, nil
}

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/payments/{payment}/{op}", p.servePayment)
	mux.HandleFunc("GET /v1/keys/{key}", p.serveKey)
	mux.HandleFunc("GET /ledger", p.serveLedger)
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { admin.Answer(w, p.Faults()) })
	mux.HandleFunc("PUT /faults", p.serveSetFaults)
	return mux
}

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	keyPattern      = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,200}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
)

// read checks a request and makes it a call.
func read(r *http.Request) (request, error) {
	call := request{key: r.Header.Get("Idempotency-Key"), op: r.PathValue("op"), payment: r.PathValue("payment")}
	var body struct {
		Payment  string     `json:"payment"`
		Customer string     `json:"customer"`
		Amount   mall.Money `json:"amount"`
	}
	if err := admin.Decode(r, &body); err != nil {
		return call, err
	}
	call.customer, call.amount = body.Customer, body.Amount
	authorize := call.op == "authorize"
	switch {
	case !keyPattern.MatchString(call.key):
		return call, errors.New("Idempotency-Key is missing or malformed")
	case !idPattern.MatchString(call.payment) || (authorize && body.Payment != call.payment) || (!authorize && body.Payment != ""):
		return call, errors.New("the payment id is malformed, or the path and the body differ")
	case authorize != (call.customer != "") || (authorize && !idPattern.MatchString(call.customer)):
		return call, errors.New("the customer id belongs to an authorization, and only there")
	case call.op == "void":
		if call.amount != (mall.Money{}) {
			return call, errors.New("a void has no amount")
		}
	case call.amount.Amount <= 0 || !currencyPattern.MatchString(call.amount.Currency):
		return call, errors.New("the amount must be more than zero, in a currency of three capital letters")
	}
	return call, nil
}

func (p *Provider) servePayment(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("op") {
	case "authorize", "void", "capture", "refund":
	default:
		admin.Refuse(w, http.StatusNotFound, "not_found", "")
		return
	}
	call, err := read(r)
	if err != nil {
		admin.Refuse(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	if !p.passGate(r) {
		panic(http.ErrAbortHandler)
	}
	try, faults := p.faults.try(call.key)
	if !p.wait(faults.SlowMS) {
		panic(http.ErrAbortHandler)
	}
	if faults.hits(faults.FailPercent, "fail", call.key, try) {
		admin.Refuse(w, http.StatusServiceUnavailable, "unavailable", "")
		return
	}
	if call.op == "authorize" && faults.hits(faults.DeclinePercent, "decline", call.key, 0) {
		call.decline = "insufficient funds"
	}
	e, fresh, err := p.ledger.execute(call)
	switch {
	case errors.Is(err, errKeyReused):
		admin.Refuse(w, http.StatusUnprocessableEntity, "key_reused", err.Error())
		return
	case err != nil:
		admin.Refuse(w, http.StatusInternalServerError, "internal", "")
		return
	}
	if fresh && e.State != stateRefused {
		copies := 1
		switch {
		case faults.NoCallback:
			copies = 0
		case faults.DuplicateCallback:
			copies = 2
		}
		if err := p.caller.report(e, copies); err != nil {
			admin.Refuse(w, http.StatusInternalServerError, "internal", "")
			return
		}
	}
	if faults.hits(faults.TimeoutPercent, "timeout", call.key, try) {
		p.wait(faults.TimeoutMS)
		panic(http.ErrAbortHandler) // drops the connection without an answer
	}
	if e.State == stateRefused {
		admin.Refuse(w, e.Status, e.Code, "")
		return
	}
	admin.Answer(w, resultOf(e))
}

// passGate waits while the stand-in is paused. It reports false when the caller gave up or the stand-in stops.
func (p *Provider) passGate(r *http.Request) bool {
	gate := p.faults.gate.Opened()
	select {
	case <-gate:
		return true
	default:
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	select {
	case <-gate:
		return true
	case <-r.Context().Done():
		return false
	case <-p.stop:
		return false
	}
}

// wait lets ms milliseconds pass. It reports false when the stand-in stops meanwhile.
func (p *Provider) wait(ms int) bool {
	if ms == 0 {
		return true
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.stop:
		return false
	}
}

type result struct {
	State     string     `json:"state"`
	Reference string     `json:"reference,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Code      string     `json:"code,omitempty"`
	Amount    mall.Money `json:"amount"`
	At        time.Time  `json:"at"`
}

func resultOf(e Entry) result {
	return result{State: e.State, Reference: e.Reference, Reason: e.Reason, Code: e.Code, Amount: e.Amount, At: e.At}
}

func (p *Provider) serveKey(w http.ResponseWriter, r *http.Request) {
	if !p.passGate(r) {
		panic(http.ErrAbortHandler)
	}
	e, found, err := p.ledger.find(r.PathValue("key"))
	switch {
	case err != nil:
		admin.Refuse(w, http.StatusInternalServerError, "internal", "")
	case !found:
		admin.Refuse(w, http.StatusNotFound, "key_unknown", "")
	default:
		admin.Answer(w, resultOf(e))
	}
}

func (p *Provider) serveLedger(w http.ResponseWriter, r *http.Request) {
	report, err := p.report(r.URL.Query().Get("entries") != "false")
	if err != nil {
		admin.Refuse(w, http.StatusInternalServerError, "internal", "")
		return
	}
	admin.Answer(w, report)
}

func (p *Provider) serveSetFaults(w http.ResponseWriter, r *http.Request) {
	var faults Faults
	err := admin.Decode(r, &faults)
	if err == nil {
		err = p.SetFaults(faults)
	}
	if err != nil {
		admin.Refuse(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	admin.Answer(w, p.Faults())
}
