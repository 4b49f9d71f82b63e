package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // to look at databases behind their owners' backs
	_ "modernc.org/sqlite"

	"example.org/souk/backbone"
	"example.org/souk/internal/demo"
	"example.org/souk/internal/house"
	"example.org/souk/internal/testserver"
	core "example.org/souk/mall"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
)

// kept is what a mall has kept, read from its data directory.
type kept struct {
	placed map[string]event.OrderPlaced
	status map[string]orders.Status
}

// check looks at a data directory and notes what is broken.
type check struct {
	t      *testing.T
	at     place
	h      *house.House
	kept   kept
	broken []string
	opened map[string]*sql.DB // databases behind their owners' backs, by file or URL
}

func (c *check) fail(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

// place is where a mall keeps what it keeps.
type place struct {
	dir    string
	db     string   // its PostgreSQL databases; "": the file in the directory
	broker string   // what carries its messages; "": the log
	forked []string // services whose logs were sealed by processes that do not agree on who does: a seal may follow an older one than the last
	// rebuild has each view made again from the log, and compared with what it was. It takes seconds: for what kills, copies and repeats.
	rebuild bool
}

func (p place) rebuilt() place {
	p.rebuild = true
	return p
}

// placeOf is where the mall of a directory keeps what it keeps, in the way that the test is run in.
func placeOf(t *testing.T, dir string) place {
	if w := separately(t); w != nil {
		db, carried := w.known(dir)
		return place{dir: dir, db: db, broker: brokerOf(carried)}
	}
	return place{dir: dir}
}

// start runs a command line on it.
func (p place) start(t *testing.T, binary string, args ...string) *testserver.Process {
	t.Helper()
	line := []string{binary, "--data", p.dir}
	if p.db != "" {
		line = append(line, "--db", p.db)
	}
	return testserver.Start(t, append(line, args...)...)
}

// souk runs a command line on it to its end.
func (p place) souk(t *testing.T, binary string, args ...string) (stdout string, code int) {
	t.Helper()
	run := p.start(t, binary, args...)
	e := run.Wait()
	return run.Stdout(), e.Code
}

var (
	inText  = regexp.MustCompile(`\btext\((\w+)\)`)
	inBytes = regexp.MustCompile(`\bCAST\((.*) AS BLOB\)`)
)

// locate returns the database of a service and a query as it runs there, behind its owner's back. Tables of the service stand in braces; text(column)
// is what a column of bytes says.
func (p place) locate(t *testing.T, service, query string) (source, text string) {
	t.Helper()
	databases, joint := p.databases(t), "_"
	source = cmp.Or(databases[service], databases[""])
	if p.db != "" {
		joint = "."
	}
	text = strings.NewReplacer("{", service+joint, "}", "").Replace(query)
	if p.db != "" {
		return source, inBytes.ReplaceAllString(inText.ReplaceAllString(text, `convert_from($1, 'UTF8')`), `convert_to($1, 'UTF8')`)
	}
	return source, inText.ReplaceAllString(text, `CAST($1 AS TEXT)`)
}

// rows runs such a query.
func (m *mall) rows(service, query string) []string {
	m.t.Helper()
	source, text := m.place().locate(m.t, service, query)
	return rowsOf(m.t, source, text)
}

// change runs such statements, when the mall has ended, and returns how many rows the last one changed.
func (p place) change(t *testing.T, service string, statements ...string) (changed int64) {
	t.Helper()
	for _, s := range statements {
		source, text := p.locate(t, service, s)
		db := opened(t, source, "rwc")
		result, err := db.ExecContext(t.Context(), text)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if changed, err = result.RowsAffected(); err != nil {
			t.Fatal(err)
		}
	}
	return changed
}

// tables lists the tables of the mall, in alphabetical order, as the service and the name that it has there.
func (p place) tables(t *testing.T) (list [][2]string) {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1`
	if p.db != "" {
		query = `SELECT table_schema || '_' || table_name FROM information_schema.tables WHERE table_schema NOT LIKE 'pg\_%' AND table_schema <> 'information_schema' ORDER BY 1`
	}
	for _, source := range p.databases(t) {
		for _, name := range rowsOf(t, source, query) {
			service, table, _ := strings.Cut(name, "_")
			list = append(list, [2]string{service, table})
		}
	}
	slices.SortFunc(list, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return list
}

// databases are where the mall keeps what it keeps, by the service whose own one it is, "" for that of all others.
func (p place) databases(t *testing.T) map[string]string {
	t.Helper()
	if p.db == "" {
		return map[string]string{"": filepath.Join(p.dir, "souk.db")}
	}
	shared, own, err := house.ParseDatabases(p.db)
	if err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(own)
	if all == nil {
		all = map[string]string{}
	}
	all[""] = shared
	return all
}

// rows runs such a query.
func (c *check) rows(service, query string) []string {
	c.t.Helper()
	source, text := c.at.locate(c.t, service, query)
	if c.opened[source] == nil { // kept open: SQLite reads the tables of the whole mall first
		c.opened[source] = opened(c.t, source, "ro")
	}
	return rowsIn(c.t, c.opened[source], text)
}

// invariants opens what a mall that has ended has kept and checks everything that must hold whatever happened;
// where it had settled also that nothing is left over, and with out that the outside saw the same.
func invariants(t *testing.T, at place, out *outside, settled bool) (kept, []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	h, err := house.Open(ctx, house.Config{Data: at.dir, DB: at.db, Broker: at.broker, Quiet: true, Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	awaitFor(t, 5*time.Minute, "idle", func() bool {
		idle, err := h.Runtime.Idle(ctx)
		return err == nil && idle
	})
	c := &check{t: t, at: at, h: h, kept: kept{map[string]event.OrderPlaced{}, map[string]orders.Status{}}, opened: map[string]*sql.DB{}}
	defer func() {
		for _, db := range c.opened {
			_ = db.Close() // it was only read
		}
	}()
	for _, service := range h.Services() {
		c.log(ctx, service)
	}
	c.orders(ctx)
	c.stock(ctx)
	c.feed(ctx)
	if settled {
		c.leftovers()
	}
	var books *demo.Outside
	if out != nil {
		books = &demo.Outside{Payment: out.money(t), Mail: out.letters(t)}
		c.money(ctx, books.Payment)
		c.letters(books.Mail)
	}
	found, err := demo.Agrees(ctx, h, books)
	if err != nil {
		t.Fatal(err)
	}
	c.broken = append(c.broken, found.Broken...)
	if at.rebuild {
		c.views(ctx)
	}
	return c.kept, c.broken
}

// events calls fn for every event of a service with one of these types.
func (c *check) events(ctx context.Context, service string, fn func(*backbone.Message), types ...string) {
	c.t.Helper()
	r := c.h.Reader(service)
	for after := int64(0); ; {
		list, err := r.Log(ctx, backbone.ReadQuery{After: after, Limit: 5000, Types: types})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, m := range list {
			after = m.Position
			fn(m)
		}
		if len(list) == 0 {
			return
		}
	}
}

// log: positions, above what was pruned, and the versions of each stream are dense, and the seals hold.
func (c *check) log(ctx context.Context, service string) {
	c.t.Helper()
	pruned, err := strconv.ParseInt(c.rows(service, `SELECT pruned FROM {bb_head}`)[0], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	versions, last := map[string]int64{}, int64(0)
	c.events(ctx, service, func(m *backbone.Message) {
		if m.Position > max(last, pruned)+1 && last > 0 {
			c.fail("log of %s: position %d follows %d", service, m.Position, last)
		}
		last = m.Position
		if m.Version > 0 {
			if m.Version != versions[m.Stream]+1 {
				c.fail("log of %s: version %d of %s follows %d", service, m.Version, m.Stream, versions[m.Stream])
			}
			versions[m.Stream] = m.Version
		}
	})
	head, err := c.h.Head(service)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.h.Reader(service).Verify(ctx, head); err != nil &&
		(!slices.Contains(c.at.forked, service) || !strings.Contains(err.Error(), "does not follow the one before it")) {
		c.fail("%v", err)
	}
}

// orders: each has ended or waits legitimately, and was approved at most once.
func (c *check) orders(ctx context.Context) {
	c.t.Helper()
	approvals := map[string]int{}
	c.events(ctx, "orders", func(m *backbone.Message) {
		if m.Type == event.OrderApprovedV1 {
			approvals[strings.TrimPrefix(m.Stream, "order/")]++
			return
		}
		var e event.OrderPlaced
		if err := json.Unmarshal(m.Data, &e); err != nil {
			c.t.Fatal(err)
		}
		c.kept.placed[e.Order] = e
	}, event.OrderPlacedV1, event.OrderApprovedV1)
	for id := range c.kept.placed {
		v, found, err := orders.Get(ctx, c.h.Reader("orders"), id)
		if err != nil || !found {
			c.t.Fatal(id, found, err)
		}
		c.kept.status[id] = v.Status
		if v.Status != orders.Approved && !v.Status.Terminal() && v.Status != orders.Backordered {
			c.fail("order %s is %s and nothing is under way", id, v.Status)
		}
		if n := approvals[id]; n > 1 || (v.Status == orders.Approved) && n != 1 {
			c.fail("order %s is %s and was approved %d times", id, v.Status, n)
		}
	}
}

// stock: it adds up, it is committed for approved orders and nobody else, and no order had it reserved twice.
func (c *check) stock(ctx context.Context) {
	c.t.Helper()
	committed := map[string]int64{}
	for id, placed := range c.kept.placed {
		if c.kept.status[id] == orders.Approved {
			for _, l := range core.Lines(placed.Items) {
				committed[l.SKU] += l.Quantity
			}
		}
	}
	levels, err := inventory.List(ctx, c.h.Reader("inventory"), "", "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range levels {
		if l.Available < 0 || l.Available != l.OnHand-l.Held-l.Committed {
			c.fail("stock of %s does not add up: %+v", l.SKU, l)
		}
		if l.Held != 0 {
			c.fail("%d of %s are held and no order waits for its approval", l.Held, l.SKU)
		}
		if l.Committed != committed[l.SKU] {
			c.fail("%d of %s are committed, approved orders hold %d", l.Committed, l.SKU, committed[l.SKU])
		}
	}
	reserved := map[string]int{}
	c.events(ctx, "inventory", func(m *backbone.Message) { reserved[m.Stream]++ }, event.StockReservedV1)
	for stream, n := range reserved {
		if n > 1 {
			c.fail("%s was reserved %d times", stream, n)
		}
	}
}

// feed: the numbers of each customer's feed have no holes.
func (c *check) feed(ctx context.Context) {
	c.t.Helper()
	for _, customer := range []string{"CUSTOMER_001", "CUSTOMER_002"} {
		for since := int64(0); ; {
			list, err := orders.Feed(ctx, c.h.Reader("orders"), customer, since, 500)
			if err != nil {
				c.t.Fatal(err)
			}
			for _, e := range list {
				if e.N != since+1 {
					c.fail("feed of %s: %d follows %d", customer, e.N, since)
				}
				since = e.N
			}
			if len(list) == 0 {
				break
			}
		}
	}
}

// rowsOf runs a query on a database itself, which is a file or a PostgreSQL URL, and returns each row as text.
func rowsOf(t *testing.T, source, query string) []string {
	t.Helper()
	db := opened(t, source, "ro")
	defer db.Close()
	return rowsIn(t, db, query)
}

// opened opens such a database, a file in one of SQLite's modes.
func opened(t *testing.T, source, mode string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+source+"?mode="+mode+"&_pragma=busy_timeout(5000)")
	if strings.HasPrefix(source, "postgres://") {
		db, err = sql.Open("pgx", source)
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func rowsIn(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			switch v := (*v.(*any)).(type) {
			case []byte:
				texts[i] = string(v)
			default:
				texts[i] = fmt.Sprint(v)
			}
		}
		list = append(list, strings.Join(texts, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// leftovers: nothing is parked and no call waits to be made; and where a watcher ran, it was told everything once.
func (c *check) leftovers() {
	c.t.Helper()
	services := c.h.Services()
	watched := slices.Contains(c.at.tables(c.t), [2]string{"watcher", "seen"})
	if watched {
		services = append(services, "watcher")
	}
	for _, service := range services {
		for _, table := range []string{"bb_parked", "bb_call", "bb_blocked"} {
			for _, row := range c.rows(service, `SELECT * FROM {`+table+`} LIMIT 3`) {
				c.fail("%s_%s holds %s", service, table, row)
			}
		}
	}
	if !watched {
		return
	}
	seen := map[string]bool{}
	for _, row := range c.rows("watcher", `SELECT order_id || ' ' || event, times FROM {seen}`) {
		what, times, _ := strings.Cut(row, "|")
		seen[what] = true
		if times != "1" {
			c.fail("the watcher counted %s %s times", what, times)
		}
	}
	told := map[string]bool{}
	for _, row := range c.rows("watcher", `SELECT order_id, times FROM {told}`) {
		id, times, _ := strings.Cut(row, "|")
		told[id] = true
		if times != "1" {
			c.fail("the watcher's view counts order %s %s times", id, times)
		}
	}
	for id := range c.kept.placed {
		if !told[id] {
			c.fail("the watcher's view does not count order %s", id)
		}
		if !seen[id+" placed"] {
			c.fail("the watcher was never told that order %s was placed", id)
		}
		if c.kept.status[id] == orders.Approved && !seen[id+" approved"] {
			c.fail("the watcher was never told that order %s was approved", id)
		}
	}
}

// money: the provider says of each payment what we say, and it is kept for the order that it was given for.
func (c *check) money(ctx context.Context, theirs paystandin.Report) {
	c.t.Helper()
	r := c.h.Reader("payments")
	for id, account := range theirs.Payments {
		p, err := payments.Get(ctx, r, id)
		if err != nil {
			c.t.Fatal(err)
		}
		free := account.Voided > 0
		switch p.Status {
		case payments.Authorized, payments.Confirmed:
			if free || account.Captured > 0 || account.Authorized != p.Amount.Amount {
				c.fail("payment %s is %s with us and %+v at the provider", id, p.Status, account)
			}
		case payments.Captured:
			if free || account.Captured != p.Amount.Amount {
				c.fail("payment %s of %+v is captured with us and %+v at the provider", id, p.Amount, account)
			}
		case payments.Voided:
			if !free {
				c.fail("payment %s is voided with us and %+v at the provider", id, account)
			}
		default:
			c.fail("payment %s is %s and nothing is under way", id, p.Status)
		}
		if p.Status == payments.Confirmed && c.kept.status[p.Order] != orders.Approved {
			c.fail("payment %s is kept for order %s, which is %s", id, p.Order, c.kept.status[p.Order])
		}
	}
	for id, placed := range c.kept.placed {
		if placed.Payment == "" || c.kept.status[id] != orders.Approved {
			continue
		}
		if p, err := payments.Get(ctx, r, placed.Payment); err != nil || p.Status != payments.Confirmed || p.Order != id {
			c.fail("order %s is approved and its payment is %s for %q (%v)", id, p.Status, p.Order, err)
		}
	}
}

// letters: none was transmitted more often than the mall ended.
func (c *check) letters(theirs mailstandin.Report) {
	for id, copies := range theirs.Copies {
		if copies > 2 { // one extra transmission a crash, and no test crashes more than once
			c.fail("letter %s was transmitted %d times", id, copies)
		}
	}
}

// views: rebuilt from the log each equals the one that was live.
func (c *check) views(ctx context.Context) {
	c.t.Helper()
	for _, svc := range c.h.Runtime.Parts() {
		for _, v := range svc.Views {
			tables := v.Tables
			if len(tables) == 0 {
				tables = []string{v.Name}
			}
			content := func() (list []string) {
				for _, table := range tables {
					rows := c.rows(svc.Name, `SELECT * FROM {`+table+`}`)
					slices.Sort(rows)
					list = append(list, rows...)
				}
				return list
			}
			live := content()
			if err := c.h.Runtime.Rebuild(ctx, svc.Name, v.Name, nil); err != nil {
				c.t.Fatalf("rebuild %s of %s: %v", v.Name, svc.Name, err)
			}
			if rebuilt := content(); !slices.Equal(live, rebuilt) {
				c.fail("view %s of %s had %d rows and has %d when it is made again from the log; they differ", v.Name, svc.Name, len(live), len(rebuilt))
			}
		}
	}
}

// settle waits until nothing is in flight and every call to the outside is made.
func (m *mall) settle() {
	m.t.Helper()
	var waiting []string
	m.t.Cleanup(func() {
		if m.t.Failed() && len(waiting) > 0 {
			m.t.Logf("calls that wait: %q", waiting)
		}
	})
	await(m.t, "no call waits", func() bool {
		m.idle()
		calling := []string{"payments", "notifications"}
		if slices.Contains(m.flags, "--partner") {
			calling = append(calling, "partner")
		}
		if slices.Contains(m.flags, "--logistics") {
			calling = append(calling, "logistics")
		}
		for _, service := range calling {
			if waiting = m.rows(service, `SELECT id, attempts, cause FROM {bb_call}`); len(waiting) > 0 {
				return false
			}
		}
		return true
	})
}

// holds lets what is under way in a mall settle, after a start where it has ended, then stops it and fails the test where
// an invariant is broken.
func (m *mall) holds() kept {
	m.t.Helper()
	return m.holdsAt(m.place())
}

// holdsRebuilt checks also that each view is what it is when it is made again from the log.
func (m *mall) holdsRebuilt() kept {
	m.t.Helper()
	return m.holdsAt(m.place().rebuilt())
}

func (m *mall) holdsAt(at place) kept {
	m.t.Helper()
	m.beginWhatEnded()
	m.settle()
	m.stop()
	return report(m.t, at, m.out, true)
}

// holds checks a data directory that no mall runs on; calls to the outside may wait in it.
func holds(t *testing.T, dir string) kept {
	t.Helper()
	return report(t, placeOf(t, dir).rebuilt(), nil, false)
}

func report(t *testing.T, at place, out *outside, settled bool) kept {
	t.Helper()
	k, broken := invariants(t, at, out, settled)
	failed(t, broken)
	return k
}

// failed fails the test with what was found to be wrong, the first of it where that is much.
func failed(t *testing.T, wrong []string) {
	t.Helper()
	for _, w := range wrong[:min(len(wrong), 20)] {
		t.Error(w)
	}
}
