package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/device/robot"
	"example.org/souk/gateway/callback"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
	smsstandin "example.org/souk/provider/sms/standin"
	supplierstandin "example.org/souk/provider/supplier/standin"
)

// Config says what is played.
type Config struct {
	// Seed decides what people do; the same seed gives the same sequence.
	Seed uint64
	// Speed is how fast they do it: 1 is two orders and one visitor a second. Default 1.
	Speed float64
	// Orders ends it after so many orders were tried; 0 goes on until ctx ends.
	Orders int
	// Check looks at what was kept when all has come to rest.
	Check bool
	// Chaos kills, pauses, doubles and loses while it runs.
	Chaos bool
	// DB is the databases, as house.ParseDatabases reads them, on which every service and gateway runs in a process of its own. No mall
	// has run there, and what this one keeps stays there. Default one process on data that is thrown away.
	DB string
	// HTTP is the address of the pages, with DB of the online store alone; default a free port on loopback.
	HTTP string
	// Program runs souk, where with chaos or DB the mall is a process of its own, or many. Default the running executable.
	Program []string
	// Out is told how it goes: every second, or all the time where it is a terminal.
	Out      io.Writer
	Terminal bool
	// Logger hears of what the mall warns of; default nobody.
	Logger *slog.Logger
}

// Result is what came of it.
type Result struct {
	Seed     uint64           `json:"seed"`
	Tried    int64            `json:"tried"`
	Accepted int64            `json:"accepted"`
	Kills    int64            `json:"kills"`
	Killed   map[string]int64 `json:"killed"` // how often which process was
	Pauses   int64            `json:"pauses"`
	Cut      int64            `json:"cut"`     // devices, robots and kiosks that were switched off
	Doubled  int64            `json:"doubled"` // of those, and of processes, that had a second one beside them
	Looked   []string         `json:"looked"`
	Broken   []string         `json:"broken"`
}

// rates at speed 1, a second.
const (
	orderRate   = 2
	visitorRate = 1 // through each of two gates
	kioskRate   = 1
)

// fleet is how many robots fetch what was ordered, and pace how fast they go at speed 1, in centimetres a second.
const (
	fleet = 8
	pace  = 500
	lease = 5 * time.Second // of a robot that is not heard of
)

// Run plays until so many orders were tried or ctx ends, lets all come to rest, and checks if it is asked to. What is broken
// is in the result and no error.
func Run(ctx context.Context, config Config) (_ Result, err error) {
	if config.Speed <= 0 {
		config.Speed = 1
	}
	if config.Out == nil {
		config.Out = io.Discard
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.DB != "" {
		if err := house.Unused(ctx, config.DB); err != nil {
			return Result{}, err
		}
		if err := house.Room(ctx, config.DB, spreadConnections); err != nil {
			return Result{}, err
		}
	}
	data, err := os.MkdirTemp("", "souk-demo-")
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	p := &play{Config: config, troubled: config.Chaos, data: filepath.Join(data, "mall"), result: Result{Seed: config.Seed}}
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // what is around the mall outlives ctx, until all has come to rest
	defer func() { end(); p.around.Wait() }()
	if err := p.openOutside(life, data); err != nil {
		return p.result, err
	}
	if err := p.open(life); err != nil {
		return p.result, err
	}
	err = p.robots(life)
	if err == nil {
		err = p.live(ctx, life)
	}
	if err == nil {
		err = p.rest(life)
	}
	if err = errors.Join(err, p.mall.stop()); err != nil || !config.Check {
		return p.result, err
	}
	return p.result, p.check(life)
}

// play is a demo that runs.
type play struct {
	Config
	troubled bool // gates, robots, people and the supplier make mistakes
	data     string
	result   Result
	payment  *paystandin.Provider
	mail     *mailstandin.Catcher
	texts    *smsstandin.Provider
	supplier *supplierstandin.Supplier
	house    house.Config
	mall     theMall
	around   sync.WaitGroup

	logins        []robot.Login
	lapses        robot.Faults // of robots that make mistakes
	dismiss       func()       // has the robots go
	kills, pauses atomic.Int64
	cuts, twins   atomic.Int64
	round         chan struct{} // closed once each process was killed
	passed        []*progress   // through each gate
	shown         greeting
	fetched       harvest

	mu       sync.Mutex
	tokens   map[string]string
	problems []error
	placed   []*appliance
}

// anyPort is an address on loopback with a port that the system chooses.
const anyPort = "127.0.0.1:0"

// openOutside starts the payment provider, the mail server, the text message provider and the supplier, with ledgers of their own.
func (p *play) openOutside(life context.Context, dir string) error {
	web := p.HTTP
	if web == "" {
		web = anyPort
	}
	p.house = house.Config{
		Data: p.data, DB: p.DB, HTTP: web, Logger: p.Logger, Currency: "EUR", MQTT: house.MQTTConfig{Address: anyPort},
		CallerRate: 100_000, RobotLease: lease,
	}
	p.lapses = robot.Faults{Short: 5, Block: 2, Duplicates: 10, Drops: 5, Vanish: 1, VanishMS: 3000}
	if err := p.openPayment(life, dir); err != nil {
		return err
	}
	var err error
	if p.mail, err = mailstandin.New(mailstandin.Config{Ledger: filepath.Join(dir, "mail.jsonl"), APIKey: mailstandin.NewAPIKey()}); err != nil {
		return err
	}
	p.around.Go(func() { p.note(p.mail.Run(life)) })
	p.house.Mail = house.MailConfig{SMTP: p.mail.Address(), Plain: true, From: "souk <shop@souk.example>"}
	if err := p.openTexts(life, dir); err != nil {
		return err
	}
	return p.openSupplier(life, dir)
}

// openTexts starts the text message provider.
func (p *play) openTexts(life context.Context, dir string) error {
	p.house.SMS.KeyFile = filepath.Join(dir, "sms.key")
	key, err := smsstandin.KeyFile(p.house.SMS.KeyFile)
	if err != nil {
		return err
	}
	if p.texts, err = smsstandin.New(smsstandin.Config{Ledger: filepath.Join(dir, "sms.jsonl"), APIKey: key}); err != nil {
		return err
	}
	p.around.Go(func() { p.note(p.texts.Run(life)) })
	p.house.SMS.URL = p.texts.URL()
	return nil
}

// openPayment starts the payment provider. It calls back where the mall is one process and the address of the pages is for us to choose.
func (p *play) openPayment(life context.Context, dir string) error {
	c := paystandin.Config{Ledger: filepath.Join(dir, "pay.jsonl")}
	at := house.PaymentConfig{KeyFile: filepath.Join(dir, "pay.key"), Program: p.Program}
	var err error
	if c.APIKey, err = paystandin.KeyFile(at.KeyFile); err != nil {
		return err
	}
	if p.DB == "" && p.house.HTTP == anyPort {
		steady := &addresses{given: map[string]bool{}}
		if p.house.HTTP = steady.next(); steady.err != nil {
			return steady.err
		}
		at.CallbackSecretFile, c.CallbackURL = filepath.Join(dir, "callback.secret"), "http://"+p.house.HTTP+callback.PaymentPath
		if c.CallbackSecret, err = paystandin.KeyFile(at.CallbackSecretFile); err != nil {
			return err
		}
	}
	if p.payment, err = paystandin.New(c); err != nil {
		return err
	}
	p.around.Go(func() { p.note(p.payment.Run(life)) })
	at.URL = p.payment.URL()
	p.house.Payment = at
	return nil
}

// openSupplier starts the supplier.
func (p *play) openSupplier(life context.Context, dir string) (err error) {
	faults := supplierstandin.Faults{Seed: p.Seed, DelayMS: 2000}
	if p.troubled {
		faults.DelayMS, faults.PartPercent, faults.DuplicatePercent, faults.RefusePercent, faults.CancelPercent = 500, 30, 30, 20, 10
	}
	password := rand.Text()
	p.supplier, err = supplierstandin.New(supplierstandin.Config{Ledger: filepath.Join(dir, "supplier.jsonl"), Password: password, Faults: faults})
	if err != nil {
		return err
	}
	p.around.Go(func() { p.note(p.supplier.Run(life)) })
	at, err := url.Parse(p.supplier.URL())
	if err != nil {
		return err
	}
	at.User = url.UserPassword("souk", password)
	p.house.Logistics = at.String()
	return nil
}

// note keeps what went wrong around the mall, for the end.
func (p *play) note(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, err)
}

// open starts the mall.
func (p *play) open(life context.Context) (err error) {
	p.tokens, p.round, p.result.Killed = map[string]string{}, make(chan struct{}), map[string]int64{}
	switch {
	case p.DB != "":
		if p.mall, err = newSpread(p.house, p.Program, p.Seed); err != nil {
			return err
		}
	case p.Chaos:
		p.mall = newApart(p.house, p.Program)
	default:
		p.mall = &inside{config: p.house}
	}
	if err := p.mall.start(life); err != nil {
		return errors.Join(err, p.mall.stop())
	}
	return nil
}

// token returns a bearer token, signed with the keys of the mall.
func (p *play) token(role, subject string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tokens[role+"/"+subject]; t != "" {
		return t, nil
	}
	authority, err := house.OpenAuthority(context.Background(), p.data, p.DB)
	if err != nil {
		return "", err
	}
	t, _, err := authority.Issue(door.Grant{Role: door.Role(role), Subject: subject, TTL: 24 * time.Hour})
	p.tokens[role+"/"+subject] = t
	return t, err
}

// live lets people come until so many orders were tried or ctx ends. What they need is made ready also where ctx has ended: then nobody comes.
func (p *play) live(ctx, life context.Context) error {
	playing, end := context.WithCancel(life)
	var people sync.WaitGroup
	defer people.Wait()
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	c := &crowd{
		client: &http.Client{Timeout: 30 * time.Second}, mall: p.mall, token: p.token, currency: p.house.Currency, failed: p.note,
	}
	if err := p.gates(playing, life, &people); err != nil {
		return err
	}
	if err := p.welcome(playing, life, &people); err != nil {
		return err
	}
	if p.Chaos {
		people.Go(func() { p.chaos(playing) })
	}
	if err := p.kiosk(playing, &people); err != nil {
		return err
	}
	desk, err := p.openCounter(c.client)
	if err != nil {
		return err
	}
	people.Go(func() { desk.run(playing, p.noteUnless) })
	if err := p.mall.operate(life, "customer register", control.Args{
		"customer": texted, "name": "Tariq", "sms": "+4930123", "progress": string(mall.BySMS), "receipts": string(mall.BySMS), "actor": "demo",
	}, nil); err != nil {
		return err
	}
	b := &board{play: p, crowd: c}
	people.Go(func() { b.run(playing) })
	e := newErrands(p.Seed)
	var round <-chan struct{}
	if p.Chaos && p.DB != "" {
		round = p.round
	}
	c.run(playing, e, orderRate*p.Speed, p.Orders, round)
	end()
	people.Wait()
	p.result.Tried, p.result.Accepted, p.result.Kills, p.result.Pauses = int64(e.next), c.accepted.Load(), p.kills.Load(), p.pauses.Load()
	p.result.Cut, p.result.Doubled = p.cuts.Load(), p.twins.Load()
	return p.mall.start(life) // it may have been killed last
}

// admit gives a device a login.
func (p *play) admit(ctx context.Context, name, kind string) (login struct{ Password, Store string }, err error) {
	err = p.mall.operate(ctx, "device add", control.Args{"device": name, "kind": kind, "actor": "demo"}, func(row json.RawMessage) error {
		return json.Unmarshal(row, &login)
	})
	return login, err
}

// rest waits until nothing is under way: no list is out with a robot, nothing to come from the supplier, no message on its way, no call to be
// made. Robots say all the time that they are there, so a mall of many processes on a busy machine is never still with them: they go when all
// is fetched, and come back if more is to be fetched after all.
func (p *play) rest(life context.Context) error {
	ctx, cancel := context.WithTimeout(life, 5*time.Minute)
	defer cancel()
	if err := p.payment.SetFaults(paystandin.Faults{}); err != nil {
		return err
	}
	if err := p.mail.SetFaults(mailstandin.Faults{}); err != nil {
		return err
	}
	fmt.Fprintln(p.Out, "waiting until nothing is under way")
	for {
		for open := "?"; open != ""; {
			var err error
			if open, err = p.outstanding(ctx); err != nil {
				return err
			}
			if open != "" && !pause(ctx, 200*time.Millisecond) {
				return fmt.Errorf("an order is not fetched, or a purchase does not come, in the end: %s; the mall: %s", open, p.atWork(life))
			}
		}
		p.dismiss()
		if err := p.mall.operate(ctx, "wait", control.Args{"timeout": "4m", "settled": "yes"}, nil); err != nil {
			return fmt.Errorf("the mall does not come to rest: %w", err)
		}
		if open, err := p.outstanding(ctx); err != nil || open == "" {
			return err
		}
		p.dismiss = p.fetch(life)
	}
}

// outstanding returns an order or a shopping list that robots have something to do for, or a purchase of which goods are to come, for which orders may
// wait; "" for none.
func (p *play) outstanding(ctx context.Context) (open string, err error) {
	note := func(row json.RawMessage) error {
		open = string(row)
		return nil
	}
	if err := p.mall.operate(ctx, "order search", control.Args{"status": "APPROVED,PICKING,CANCELLING", "limit": "1"}, note); err != nil || open != "" {
		return open, err
	}
	if err := p.mall.operate(ctx, "shopping list", control.Args{"limit": "1"}, note); err != nil || open != "" {
		return open, err
	}
	return open, p.mall.operate(ctx, "purchase list", control.Args{"open": "yes", "limit": "1000"}, note)
}

// atWork says what the mall is at, for whoever gives up on it.
func (p *play) atWork(life context.Context) string {
	ctx, cancel := context.WithTimeout(life, time.Minute)
	defer cancel()
	said := []string{"nothing is under way"}
	if err := p.mall.operate(ctx, "wait", control.Args{"timeout": "2s", "settled": "yes"}, nil); err != nil {
		said[0] = err.Error()
	}
	for _, list := range []string{"shopping list", "dlq list"} {
		if err := p.mall.operate(ctx, list, control.Args{"limit": "5"}, func(row json.RawMessage) error {
			said = append(said, list+": "+string(row))
			return nil
		}); err != nil {
			said = append(said, list+": "+err.Error())
		}
	}
	return strings.Join(said, "; ")
}

// check looks at what the mall has kept.
func (p *play) check(ctx context.Context) error {
	return p.look(ctx, func(h *house.House) error {
		out := Outside{Head: p.mall.head, Supplier: p.supplier.Report()}
		var err error
		if out.Payment, err = p.payment.Report(); err != nil {
			return err
		}
		if out.Mail, err = p.mail.Report(); err != nil {
			return err
		}
		out.Texts = p.texts.Report()
		found, err := Check(ctx, h, out)
		p.result.Looked, p.result.Broken = found.Looked, found.Broken
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			p.result.Broken = append(p.result.Broken, problem.Error())
		}
		return err
	})
}

// look opens what the mall has kept. No mall runs on it.
func (p *play) look(ctx context.Context, at func(*house.House) error) (err error) {
	config := p.house
	config.Quiet, config.Empty = true, true
	h, err := house.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Stop(ctx)) }()
	if p.DB == "" { // else its processes have brought the tables up to date
		if err := h.Start(ctx); err != nil {
			return err
		}
	}
	return at(h)
}
