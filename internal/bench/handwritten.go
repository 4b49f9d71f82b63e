package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// Handwritten serves the order of the mall as one would write it who wants no events: POST /order checks the customer and
// the stock and, in one SQLite transaction, writes the order, its lines, the stock, the customer's feed and the mail that is
// to be sent. There are no services, no answers to repeat, no log, no saga; nothing can be added without changing it. It
// stands behind the mall's own gateway and on the mall's own store, so that what it costs less is the price of the events,
// and not that of another web server or another way to SQLite.
type Handwritten struct {
	Dir      string // of its database and its keys
	Products int
	Group    int // orders in one transaction at most: what waits while one is being committed goes into the next; 1 is a transaction an order
}

// manyOrders is a Group as large as the backbone's batches.
const manyOrders = 512

// handwritten is the name of its tables.
const handwritten = "handwritten"

var handwrittenTables = tables(`
	CREATE TABLE {product} (id TEXT PRIMARY KEY, sku TEXT NOT NULL, name TEXT NOT NULL, price BIGINT NOT NULL);
	CREATE TABLE {customer} (id TEXT PRIMARY KEY);
	CREATE TABLE {stock} (sku TEXT PRIMARY KEY, on_hand BIGINT NOT NULL, committed BIGINT NOT NULL);
	CREATE TABLE {placed} (id TEXT PRIMARY KEY, customer TEXT NOT NULL, status TEXT NOT NULL, total BIGINT NOT NULL, time BIGINT NOT NULL);
	CREATE TABLE {line} (order_id TEXT NOT NULL, n BIGINT NOT NULL, product TEXT NOT NULL, quantity BIGINT NOT NULL, price BIGINT NOT NULL,
		PRIMARY KEY (order_id, n)) WITHOUT ROWID;
	CREATE TABLE {feed} (customer TEXT NOT NULL, n BIGINT NOT NULL, order_id TEXT NOT NULL, what TEXT NOT NULL,
		PRIMARY KEY (customer, n)) WITHOUT ROWID;
	CREATE TABLE {mail} (entry INTEGER PRIMARY KEY, customer TEXT NOT NULL, order_id TEXT NOT NULL, template TEXT NOT NULL, total BIGINT NOT NULL);`)

// Serve runs until ctx ends. It prints its address and then "ready", as the mall does.
func (h Handwritten) Serve(ctx context.Context, out io.Writer) (err error) {
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: filepath.Join(h.Dir, "handwritten.db")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s := newShop(store, h.Group)
	if err := s.fill(ctx, h.Products); err != nil {
		return err
	}
	authority, err := door.OpenAuthority(filepath.Join(h.Dir, "keys"), wall{})
	if err != nil {
		return err
	}
	unbounded := door.Rate{PerSecond: 1e6, Burst: 1e6}
	d, err := door.New(door.Config{Authority: authority, Logger: slog.Default(), CallerRate: unbounded, AddressRate: unbounded})
	if err != nil {
		return err
	}
	if err := online.Register(d, online.Config{Commands: s, Catalogue: s, Orders: s, Stock: s, Pulses: &door.Hub{}, Currency: "EUR"}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { defer close(ended); s.write(writing) }()
	server := d.Server()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(out, "online store http://%s\nready\n", listener.Addr())
	<-ctx.Done()
	err = server.Shutdown(context.WithoutCancel(ctx))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	stop()
	<-ended
	return err
}

// shop takes orders by hand. It stands behind the gateway as the mall does.
type shop struct {
	store *sqlitestore.Store
	group int
	queue chan *placing

	product, customer, stock, placed, line, feed, mail string // tables
}

// placing is an order that waits for the writer.
type placing struct {
	command  command.PlaceOrder
	answered chan error // buffered
	err      error      // why it was refused
}

var (
	errShort     = backbone.Refuse("short", "there is too little of that")
	errNobody    = backbone.Refuse("nobody", "there is no such customer")
	errDuplicate = backbone.Refuse("order_exists", "an order of this id was placed before")
)

func newShop(store *sqlitestore.Store, group int) *shop {
	name := func(table string) string { return store.Name(handwritten, table) }
	return &shop{
		store: store, group: group, queue: make(chan *placing, 4096),
		product: name("product"), customer: name("customer"), stock: name("stock"), placed: name("placed"),
		line: name("line"), feed: name("feed"), mail: name("mail"),
	}
}

// fill puts the products and customers of the load into the tables.
func (s *shop) fill(ctx context.Context, products int) error {
	if err := s.store.Migrate(ctx, []driver.Schema{{Service: handwritten, Migrations: handwrittenTables}}); err != nil {
		return err
	}
	var list []driver.Statement
	add := func(sql string, args ...any) { list = append(list, driver.Statement{SQL: sql, Args: args}) }
	for i := range products {
		add(`INSERT INTO `+s.product+` (id, sku, name, price) VALUES ($1, $1, $1, 1000)`, product(i))
		add(`INSERT INTO `+s.stock+` (sku, on_hand, committed) VALUES ($1, $2, 0)`, product(i), mall.MaxQuantity)
	}
	for _, id := range customerIDs() {
		add(`INSERT INTO `+s.customer+` (id) VALUES ($1)`, id)
	}
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, list); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// Do implements online.Commands: it queues an order and returns when it is committed.
func (s *shop) Do(ctx context.Context, c backbone.Command, _ ...backbone.DoOption) (backbone.Answer, error) {
	order, ok := c.(command.PlaceOrder)
	if !ok {
		return backbone.Answer{}, backbone.ErrNotHandled
	}
	p := &placing{command: order, answered: make(chan error, 1)}
	select {
	case s.queue <- p:
	default:
		return backbone.Answer{}, backbone.ErrOverloaded
	}
	select {
	case err := <-p.answered:
		if refusal, refused := errors.AsType[*backbone.Refusal](err); refused {
			return backbone.Answer{Outcome: backbone.Refused, Refusal: refusal}, nil
		}
		return backbone.Answer{Outcome: backbone.Done}, err
	case <-ctx.Done():
		return backbone.Answer{}, ctx.Err()
	}
}

// write commits what waits, in groups, until ctx ends.
func (s *shop) write(ctx context.Context) {
	for {
		var batch []*placing
		select {
		case p := <-s.queue:
			batch = append(batch, p)
		case <-ctx.Done():
			return
		}
		for len(batch) < s.group && len(s.queue) > 0 {
			batch = append(batch, <-s.queue)
		}
		err := s.commit(batch)
		for _, p := range batch {
			if err != nil {
				p.answered <- err
			} else {
				p.answered <- p.err
			}
		}
	}
}

func (s *shop) commit(batch []*placing) error {
	ctx := context.Background()
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	for _, p := range batch {
		if p.err = s.place(ctx, tx, &p.command); p.err != nil {
			if _, refused := errors.AsType[*backbone.Refusal](p.err); !refused {
				return errors.Join(p.err, tx.Rollback())
			}
		}
	}
	return tx.Commit(ctx)
}

// place checks an order and writes all that follows from it. A refusal has written nothing.
func (s *shop) place(ctx context.Context, tx driver.Tx, c *command.PlaceOrder) error {
	switch n, err := one(ctx, tx.Query, `SELECT count(*) FROM `+s.placed+` WHERE id = $1`, c.Order); {
	case err != nil:
		return err
	case n > 0:
		return errDuplicate
	}
	switch n, err := one(ctx, tx.Query, `SELECT count(*) FROM `+s.customer+` WHERE id = $1`, c.Customer); {
	case err != nil:
		return err
	case n == 0:
		return errNobody
	}
	lines := mall.Lines(c.Items)
	for _, l := range lines {
		switch left, err := one(ctx, tx.Query, `SELECT on_hand - committed FROM `+s.stock+` WHERE sku = $1`, l.SKU); {
		case err != nil:
			return err
		case left < l.Quantity:
			return errShort
		}
	}
	n, err := one(ctx, tx.Query, `SELECT coalesce(max(n), 0) FROM `+s.feed+` WHERE customer = $1`, c.Customer)
	if err != nil {
		return err
	}
	total, err := mall.Total(c.Items)
	if err != nil {
		return err
	}
	list := make([]driver.Statement, 0, 10)
	add := func(sql string, args ...any) { list = append(list, driver.Statement{SQL: sql, Args: args}) }
	add(`INSERT INTO `+s.placed+` (id, customer, status, total, time) VALUES ($1, $2, 'APPROVED', $3, $4)`,
		c.Order, c.Customer, total.Amount, time.Now().UnixMicro())
	for i, item := range c.Items {
		add(`INSERT INTO `+s.line+` (order_id, n, product, quantity, price) VALUES ($1, $2, $3, $4, $5)`,
			c.Order, i, item.Product, item.Quantity, item.Price.Amount)
	}
	for _, l := range lines {
		add(`UPDATE `+s.stock+` SET committed = committed + $2 WHERE sku = $1`, l.SKU, l.Quantity)
	}
	for i, what := range []string{"ORDER_PLACED", "STOCK_RESERVED", "ORDER_APPROVED"} {
		add(`INSERT INTO `+s.feed+` (customer, n, order_id, what) VALUES ($1, $2, $3, $4)`, c.Customer, n+int64(i)+1, c.Order, what)
	}
	add(`INSERT INTO `+s.mail+` (customer, order_id, template, total) VALUES ($1, $2, 'order_approved', $3)`, c.Customer, c.Order, total.Amount)
	return tx.Exec(ctx, list)
}

type queryFunc func(ctx context.Context, sql string, args ...any) (driver.Rows, error)

// one returns the number that a query gives.
func one(ctx context.Context, query queryFunc, sql string, args ...any) (n int64, err error) {
	rows, err := query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return n, errors.Join(err, rows.Err())
}

// Product implements online.Catalogue.
func (s *shop) Product(ctx context.Context, id string) (p online.Product, known bool, err error) {
	rows, err := s.store.Query(ctx, `SELECT sku, name, price FROM `+s.product+` WHERE id = $1`, id)
	if err != nil {
		return p, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return p, false, rows.Err()
	}
	p.Price.Currency = "EUR"
	return p, true, rows.Scan(&p.SKU, &p.Name, &p.Price.Amount)
}

// Order implements online.Orders.
func (s *shop) Order(ctx context.Context, id string) (o online.Order, known bool, err error) {
	rows, err := s.store.Query(ctx, `SELECT id, customer, status, total FROM `+s.placed+` WHERE id = $1`, id)
	if err != nil {
		return o, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return o, false, rows.Err()
	}
	o.Total.Currency = "EUR"
	return o, true, rows.Scan(&o.ID, &o.Customer, &o.Status, &o.Total.Amount)
}

// Feed implements online.Orders; the load does not read it.
func (s *shop) Feed(context.Context, string, int64, int) ([]online.Entry, error) { return nil, nil }

// Level implements online.Stock.
func (s *shop) Level(ctx context.Context, sku string) (l online.Level, known bool, err error) {
	committed, err := one(ctx, s.store.Query, `SELECT committed FROM `+s.stock+` WHERE sku = $1`, sku)
	l.OnHand, l.Committed, l.Available = mall.MaxQuantity, committed, mall.MaxQuantity-committed
	return l, true, err
}

// BesideResult is what the same order written by hand costs, under the same load.
type BesideResult struct {
	Way             string   `json:"way"` // how its orders share transactions
	Accepted        int64    `json:"accepted"`
	OrdersPerSecond float64  `json:"ordersPerSecond"`
	AcceptMS        Times    `json:"acceptMs"`
	CPUMSPerOrder   float64  `json:"cpuMsPerOrder"`
	PeakRSSBytes    int64    `json:"peakRssBytes"`
	RateRatio       float64  `json:"rateRatio"` // of the mall's orders a second to these
	CPURatio        float64  `json:"cpuRatio"`  // of the CPU that these take to the mall's
	Violations      []string `json:"violations"`
}

func (b *BesideResult) compare(mall *OrdersResult) {
	b.RateRatio, b.CPURatio = mall.OrdersPerSecond/b.OrdersPerSecond, b.CPUMSPerOrder/mall.CPUMSPerOrder
}

// beside puts the load on a Handwritten.
func (o Orders) beside(ctx context.Context, group int) (res BesideResult, err error) {
	res.Way = "one transaction an order"
	if group > 1 {
		res.Way = "group commit"
	}
	dir, err := os.MkdirTemp("", "souk-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	token, err := tokenOf(dir, "bench")
	if err != nil {
		return res, err
	}
	argv := slices.Concat(o.Program, []string{
		"--data", dir, "bench", "part", "handwritten", "--group", strconv.Itoa(group), "--products", strconv.Itoa(o.Products),
	})
	child, url, err := startProcess(exec.CommandContext(ctx, argv[0], argv[1:]...), o.Log) //nolint:gosec // the program that is measured
	if err != nil {
		return res, err
	}
	defer child.kill()
	l := newLoad(o, url, token)
	cpu := child.cpu()
	elapsed := l.run(ctx)
	res.Accepted = l.accepted.Load()
	res.OrdersPerSecond = rate(int(res.Accepted), elapsed)
	res.AcceptMS, res.PeakRSSBytes = times(l.accepts), child.status("VmHWM:")
	if res.Accepted > 0 {
		res.CPUMSPerOrder = float64((child.cpu() - cpu).Microseconds()) / 1000 / float64(res.Accepted)
	}
	res.Violations = l.failures()
	if err := child.stop(); err != nil {
		return res, fmt.Errorf("stop: %w", err)
	}
	found, err := checkHandwritten(ctx, dir, res.Accepted)
	res.Violations = append(res.Violations, found...)
	return res, err
}

// checkHandwritten counts what was kept against what was accepted.
func checkHandwritten(ctx context.Context, dir string, accepted int64) (violations []string, err error) {
	store, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: filepath.Join(dir, "handwritten.db")})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s := newShop(store, 1)
	for _, c := range []struct {
		what, sql string
		want      int64
	}{
		{"orders", `SELECT count(*) FROM ` + s.placed, accepted},
		{"lines", `SELECT count(*) FROM ` + s.line, 2 * accepted},
		{"pieces committed", `SELECT sum(committed) FROM ` + s.stock, 3 * accepted},
		{"entries of feeds", `SELECT count(*) FROM ` + s.feed, 3 * accepted},
		{"mails", `SELECT count(*) FROM ` + s.mail, accepted},
	} {
		got, err := one(ctx, store.Query, c.sql)
		if err != nil {
			return nil, err
		}
		if got != c.want {
			violations = append(violations, fmt.Sprintf("%s: %d, should be %d", c.what, got, c.want))
		}
	}
	return violations, nil
}
