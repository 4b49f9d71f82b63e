package store

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// supermarket is what a shop with gates and a depot has beside the online store.
const supermarket = "entrance greeter exitgate fastlane logistics devices depot staff kiosk"

// apart is every service and gateway of the online store in a process of its own, and the supermarket in another one.
var apart = []string{"online", "stores", "customers", "baskets", "orders", "inventory", "payments", "notifications", "analytics", "search", "keys", "console", supermarket}

// proving tells whether what takes minutes is to be shown as well, as make prove-short asks for. What make test leaves out it says.
func proving(t *testing.T) bool {
	t.Helper()
	asked := os.Getenv("SOUK_PROVE") != ""
	if !asked {
		t.Log("this takes minutes: make prove-short runs it")
	}
	return asked
}

// carriers are the ways to carry messages between processes: the log, and the brokers.
func carriers() []string {
	names := []string{"log"}
	for _, b := range brokers {
		names = append(names, b.name)
	}
	return names
}

// carrier starts what carries messages and returns the flags for it, and the broker, nil where it is the log.
func carrier(t *testing.T, name string) (flags []string, server broker) {
	for _, b := range brokers {
		if b.name == name {
			url, server := b.open(t)
			return []string{"--broker", url}, server
		}
	}
	return nil, nil
}

// overEach runs a test once over each carrier, or over the log alone where only the short run is asked for.
func overEach(t *testing.T, test func(t *testing.T, flags []string, server broker)) {
	for _, name := range carriers() {
		if os.Getenv("SOUK_PROVE") == "short" && name != "log" { // each takes a minute: make prove runs all
			continue
		}
		t.Run(name, func(t *testing.T) {
			flags, server := carrier(t, name)
			test(t, flags, server)
		})
	}
}

// databasesOf are the databases of a mall: one for all, or one a service.
func databasesOf(t *testing.T, server *testserver.Server, each bool) string {
	db := server.Database(t)
	if each {
		for _, service := range []string{"stores", "customers", "orders", "inventory", "payments", "notifications", "analytics", "keys", "online", "partner", "entrance", "exitgate"} {
			db += "," + service + "=" + server.Database(t)
		}
	}
	return db
}

// D7, B20: with every service in a process of its own the mall does what it does in one, and everything that must hold holds:
// with the database and the broker killed and started again in the middle of a load, stopped where they stand for longer than a lease in
// another one, and each service killed as well. On one database and on one a service, carried by the log and by each broker.
func TestD7_Processes(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary := program(t)
	for _, name := range carriers() {
		for _, each := range []bool{false, true} {
			if os.Getenv("SOUK_PROVE") == "short" && name != "log" && !each { // each takes a minute: make prove runs all
				continue
			}
			way := name + ", one database"
			if each {
				way = name + ", one database a service"
			}
			t.Run(way, func(t *testing.T) {
				t.Parallel()
				server := testserver.PostgresOwn(t, "max_connections=600")
				flags, broker := carrier(t, name)
				m := split(t, binary, t.TempDir(), databasesOf(t, server, each), apart, flags...)
				orders := m.busyDay()
				if got := m.available("PRODUCT_001"); got != 5 {
					t.Errorf("%d available, want 5", got)
				}
				accepted := m.load(t, 4, 150)
				server.Restart()
				if broker != nil {
					broker.Restart()
				}
				ids := accepted()
				all := os.Getenv("SOUK_PROVE") == "full"
				if all || name == "log" && !each {
					ids = append(ids, m.whilePaused(server, numbered("database"))...)
				}
				if broker != nil && (all || name == "nats") {
					ids = append(ids, m.whilePaused(broker, numbered("broker"))...)
				}
				for _, service := range []string{"orders", "inventory", "customers", "payments", "notifications", "stores", "analytics"} {
					accepted := m.loadOf(t, 2, 20, numbered(service))
					m.of(service).proc.Kill9()
					ids = append(ids, accepted()...)
					m.beginWhatEnded()
				}
				k := m.holdsRebuilt()
				if len(ids) < 100 {
					t.Errorf("only %d orders were accepted", len(ids))
				}
				for _, id := range append(ids, orders...) {
					if _, found := k.placed[id]; !found {
						t.Errorf("order %s was accepted and is gone", id)
					}
				}
			})
		}
	}
}

// pausedFor is longer than the leases of a mall.
const pausedFor = 17 * time.Second

type pausable interface {
	Pause()
	Resume()
}

// whilePaused orders while a server stands still, and goes on, and returns which orders were accepted.
func (m *mall) whilePaused(server pausable, order func(int) (id, body string)) []string {
	m.t.Helper()
	accepted := m.loadOf(m.t, 4, 150, order)
	server.Pause()
	paused := time.Now()
	awaitFor(m.t, 2*pausedFor, "the leases are over", func() bool { return time.Since(paused) > pausedFor })
	server.Resume()
	ids := accepted()
	for _, p := range m.others {
		if p.proc.Ended() {
			m.t.Errorf("process %s has ended", p.name)
		}
	}
	return ids
}

// numbered makes orders whose ids begin with a word.
func numbered(word string) func(int) (id, body string) {
	return func(n int) (id, body string) {
		id = fmt.Sprintf("%s-%04d", word, n)
		return id, order(id, customerOf(n), item{"PRODUCT_002", 5, 1})
	}
}

// E5, D2: whichever service is away, an order is accepted, waits, and goes on by itself when the service comes; what nobody can answer
// meanwhile is refused with the time after which to ask again. Who only hears of orders delays none. Over a broker it is killed, and an order
// placed before it comes again. Red when a gateway asks the service before it accepts, and when an order waits for a letter or a statistic.
func TestE5D2_ProcessesOffline(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	overEach(t, offline)
}

func offline(t *testing.T, flags []string, carried broker) {
	server := testserver.PostgresOwn(t)
	m := split(t, program(t), t.TempDir(), server.Database(t), apart, flags...)
	m.seed()
	m.must(202, "POST", "/order", order("FIRST", "CUSTOMER_001", item{"PRODUCT_002", 5, 1})) // the gateway has heard of the catalogue
	m.awaitStatus("FIRST", "APPROVED")
	for _, service := range []string{"orders", "inventory", "customers", "payments", "notifications", "stores", "keys", "analytics"} {
		p := m.of(service)
		p.proc.Kill9()
		id := "WITHOUT-" + service
		m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
		if service == "orders" {
			m.refusedForNow("GET", "/order/"+id, "")
			if status, answer := m.call("POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1})); status != 200 || !strings.Contains(answer, "PENDING") {
				t.Errorf("a repeat while orders is away: %d %s", status, answer)
			}
		}
		if service == "inventory" {
			m.refusedForNow("GET", "/stock/PRODUCT_002", "")
		}
		if service == "notifications" || service == "analytics" {
			m.awaitStatus(id, "APPROVED")
		}
		m.beginPart(p)
		m.awaitStatus(id, "APPROVED")
	}
	m.acceptedAtKiosk()
	if carried != nil {
		carried.Kill()
		m.must(202, "POST", "/order", order("BROKER", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
		carried.Restart()
		m.awaitStatus("BROKER", "APPROVED")
	}
	server.Kill()
	m.refusedForNow("POST", "/order", order("NOBASE", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	server.Restart()
	await(t, "orders are taken again", func() bool {
		status, _ := m.call("POST", "/order", order("NOBASE", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
		return status == 202 || status == 200
	})
	m.awaitStatus("NOBASE", "APPROVED")
	m.holdsRebuilt()
}

// refusedForNow makes a request that is refused with 503 and the time after which to ask again, as soon as what it needs is found to be
// away.
func (m *mall) refusedForNow(method, path, body string) {
	m.t.Helper()
	await(m.t, method+" "+path+" is refused for now", func() bool {
		status, header := m.request(method, path, body)
		return status == http.StatusServiceUnavailable && saysWhen(header)
	})
}

// balancer hands requests to the gateways that say that they are ready.
type balancer struct {
	t     *testing.T
	mu    sync.Mutex
	all   []string
	ready []string
	turn  int
}

// look asks every gateway how it is, as a load balancer does.
func (b *balancer) look() {
	b.mu.Lock()
	all := slices.Clone(b.all)
	b.mu.Unlock()
	var ready []string
	for _, url := range all {
		if status, _ := callAt(b.t, url, http.MethodGet, "/readyz", ""); status == http.StatusOK {
			ready = append(ready, url)
		}
	}
	b.mu.Lock()
	b.ready = ready
	b.mu.Unlock()
}

func (b *balancer) set(urls []string) {
	b.mu.Lock()
	b.all = urls
	b.mu.Unlock()
	b.look()
}

func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return ""
	}
	b.turn++
	return b.ready[b.turn%len(b.ready)]
}

// F12: each process has a second one that runs the same, and all are ended and started again, one after the other, under load: no
// request fails, no handler sees a message twice, and nothing is lost. Red when a process stops answering the moment it is asked to
// end, when a subscription gives its slices back before what it began is done, or keeps them until its lease ends.
func TestF12_RollingRestart(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	overEach(t, rolled)
}

func rolled(t *testing.T, flags []string, _ broker) {
	const drain = "1s" // the balancer below looks several times meanwhile
	server := testserver.PostgresOwn(t, "max_connections=600")
	runs := filepath.Join(t.TempDir(), "runs")
	env := "WATCHER_RUNS=" + runs
	parts := []string{"online stores customers keys watcher", "orders inventory payments notifications analytics depot baskets search"}
	m := &mall{
		t: t, binary: testserver.Build(t, "example.org/souk/test/store/watched"), dir: t.TempDir(), db: server.Database(t),
		flags: append([]string{"--drain", drain}, flags...), others: processes(append(slices.Clone(parts), parts...)),
	}
	m.begin(env)
	m.seed()
	b := &balancer{t: t}
	gateways := func() (urls []string) {
		for _, p := range m.others {
			if p.parts[0] == "online" {
				urls = append(urls, p.url)
			}
		}
		return urls
	}
	b.set(gateways())
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				b.look()
			}
		}
	})
	var accepted sync.Map
	var count atomic.Int64
	for client := range 4 {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				id := fmt.Sprintf("R%d-%05d", client, n)
				status, answer := callAt(t, b.next(), "POST", "/order", order(id, customerOf(n), item{"PRODUCT_002", 5, 1}))
				if status != http.StatusAccepted {
					t.Errorf("order %s: %d %s", id, status, answer)
					return
				}
				accepted.Store(id, true)
				count.Add(1)
				if status, answer := callAt(t, b.next(), "GET", "/order/"+id, ""); status != http.StatusOK {
					t.Errorf("look at order %s: %d %s", id, status, answer)
					return
				}
			}
		})
	}
	for _, p := range m.others {
		before := count.Load()
		await(t, "orders come in", func() bool { return count.Load() > before+20 || t.Failed() })
		p.proc.Signal(syscall.SIGTERM)
		if e := p.proc.Wait(); e.Code != 0 {
			t.Errorf("process %s ended with %v\n%s", p.name, e, p.proc.Stderr())
		}
		m.beginPart(p, env)
		b.set(gateways())
	}
	close(done)
	running.Wait()
	m.settle()
	m.stop()
	k := report(t, m.place().rebuilt(), nil, true)
	accepted.Range(func(id, _ any) bool {
		if _, found := k.placed[id.(string)]; !found {
			t.Errorf("order %s was accepted and is gone", id)
		}
		return true
	})
	text, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for line := range strings.Lines(string(text)) {
		times[strings.TrimSpace(line)]++
	}
	for what, n := range times {
		if n != 1 {
			t.Errorf("the watcher's handler saw %s %d times", what, n)
		}
	}
	if len(times) < int(count.Load()) {
		t.Errorf("the watcher's handler saw %d events of %d orders", len(times), count.Load())
	}
	t.Logf("%d orders through %d restarts", count.Load(), len(m.others))
}

// D7: the processes reach their database through a pool of connections: one that gives a connection for a session, and one that gives it
// for a transaction, where statements must not be prepared and nobody is woken after a commit.
func TestD7_ThroughPgBouncer(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary := program(t)
	for mode, settings := range map[string]string{"session": "", "transaction": "&default_query_exec_mode=exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := testserver.PostgresOwn(t)
			direct := server.Database(t)
			db := server.PgBouncer(t, mode)(direct) + settings
			if mode == "transaction" {
				refused(t, binary, t.TempDir(), 1, "tables cannot be changed through a pool", "--db", db, "migrate")
				if out, code := souk(t, binary, t.TempDir(), "--db", direct, "migrate"); code != 0 {
					t.Fatalf("migrate: exit %d\n%s", code, out)
				}
			}
			m := split(t, binary, t.TempDir(), db, []string{"online stores customers keys", "orders inventory payments notifications analytics depot baskets search"})
			m.seed()
			accepted := m.load(t, 4, 100)
			ids := accepted()
			if len(ids) == 0 {
				t.Fatal("nothing was accepted")
			}
			k := m.holdsRebuilt()
			for _, id := range ids {
				if _, found := k.placed[id]; !found {
					t.Errorf("order %s was accepted and is gone", id)
				}
			}
		})
	}
}

// B20: the command line works on all processes of a mall by their databases: what it asks of one of them is done there, what it reads it
// reads everywhere, and what nobody can answer it says.
func TestB20_CommandLineOfProcesses(t *testing.T) {
	t.Parallel()
	binary := program(t)
	server := testserver.Postgres(t)
	db := databasesOf(t, server, true)
	refused(t, binary, t.TempDir(), 2, "name it with --db", "run", "orders")
	refused(t, binary, t.TempDir(), 1, "no mall has run on this database yet", "--db", db, "stock", "receive", "PRODUCT_001", "1")
	refused(t, binary, t.TempDir(), 1, "there is no part \"robots\"", "--db", db, "run", "robots")
	if out, code := placeOf(t, t.TempDir()).souk(t, binary, "--db", db, "doctor", "-o", "json"); code != 1 || strings.Contains(out, "souk --data NEW restore") || !strings.Contains(out, "souk run") {
		t.Errorf("doctor, before a mall has run on the database: %d %s", code, out)
	}
	m := split(t, binary, t.TempDir(), db, []string{"online stores customers baskets", "orders inventory search", "payments notifications analytics keys console " + supermarket})
	refused(t, binary, filepath.Join(m.dir, m.others[0].name), 1, "another process uses the data directory", "--db", db, "run", "orders")
	refused(t, binary, t.TempDir(), 1, "processes run on this database", "--db", strings.Split(db, ",")[0], "up", "--http", "127.0.0.1:0")
	for _, p := range m.others { // who signs in at a process finds pages there
		if links := strings.Contains(p.proc.Stdout(), "sign in"); links != slices.Contains(p.parts, "console") {
			t.Errorf("%v prints sign-in links: %v", p.parts, links)
		}
	}
	m.seed()
	m.souk("customer", "register", "--customer", "dora", "--name", "Dora", "--email", "dora@souk.example")
	m.souk("order", "place", "--customer", "dora", "--item", "PRODUCT_001=2", "--order", "ORDER_D")
	m.awaitStatus("ORDER_D", "APPROVED")
	m.idle()
	m.settle() // the letter has gone out: its address was revealed by another process
	for _, c := range []struct{ says, args string }{
		{"APPROVED", "order show ORDER_D"},
		{"souk.notifications.NotificationSent.v1", "trace ORDER_D"},
		{"completed", "saga list"},
		{"souk.orders.OrderApproved.v1", "event tail -n 50 --service orders"},
		{"true", "audit verify"},
		{"online", "topic list"},
		{"sales", "view list"},
		{"20.00 EUR", "sales --by product"},
		{"orders, inventory, search", "process list"},
		{"every service in one of them", "doctor"},
	} {
		if out := m.souk(strings.Fields(c.args)...); !strings.Contains(out, c.says) {
			t.Errorf("souk %s does not say %q:\n%s", c.args, c.says, out)
		}
	}
	for _, view := range []string{"orders feed", "analytics sales", "analytics trade", "online catalogue"} {
		m.souk(append([]string{"view", "rebuild"}, strings.Fields(view)...)...)
	}
	m.souk("service", "pause", "inventory")
	m.must(202, "POST", "/order", order("PAUSED", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.awaitStatus("PAUSED", "PENDING")
	m.souk("service", "resume", "inventory")
	m.awaitStatus("PAUSED", "APPROVED")
	// A process that stands still cannot say that it heeds a pause: which one it is, is told. Red where a pause is called heeded that was not.
	still := m.of("inventory").proc
	for _, do := range []string{"pause", "resume"} {
		await(t, "the process that does not heed a "+do+" is named", func() bool { // on a busy machine it may be taken for one that is gone
			still.Signal(syscall.SIGSTOP)
			defer still.Signal(syscall.SIGCONT)
			p := testserver.Start(t, binary, "--data", t.TempDir(), "--db", db, "service", do, "inventory")
			if e := p.Wait(); e.Code != 0 || strings.Contains(p.Stderr(), "online") {
				t.Fatalf("service %s while a process stands still: %v, %q", do, e, p.Stderr())
			}
			return strings.Contains(p.Stderr(), "(orders, inventory, search)")
		})
	}
	// Where robots and devices connect is told by the process that takes them, and by the next one when it stands elsewhere. Red where the
	// command line names a port of its own, or what was told first.
	for _, at := range []string{"first", "later"} {
		takes := m.of("depot")
		told := rows(t, binary, t.TempDir(), "--db", db, "device", "add", "robot-"+at, "--kind", "robot")[0]
		if told["server"] != takes.url {
			t.Errorf("%s, robots are told to connect to %v, and the depot is at %s", at, told["server"], takes.url)
		}
		m.work(&part{url: fmt.Sprint(told["server"])}, "robot-"+at, fmt.Sprint(told["password"]))
		told = rows(t, binary, t.TempDir(), "--db", db, "device", "add", "gate-"+at, "--kind", "gate")[0]
		gate := testserver.Start(t, "/bin/sh", "-c", fmt.Sprint(told["example"]))
		if e := gate.Wait(); e.Code != 0 {
			t.Errorf("%s, a gate does not come in by %v: %v %s", at, told["example"], e, gate.Stderr())
		}
		takes.proc.Signal(syscall.SIGTERM)
		takes.proc.Wait()
		m.beginWhatEnded()
	}
	// What waits for a service that no process runs is to be done. Red where each process is asked only for what it has in hand.
	gone := m.of("orders").proc
	gone.Signal(syscall.SIGTERM)
	gone.Wait()
	m.must(202, "POST", "/order", order("AWAITED", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	await(t, "what waits for the orders service is named", func() bool { // on a busy machine a look takes longer
		p := testserver.Start(t, binary, "--data", t.TempDir(), "--db", db, "wait", "--idle", "--timeout", "4s")
		if e := p.Wait(); e.Code != 1 {
			t.Fatalf("it is idle: %v\n%s", e, p.Stderr())
		}
		return strings.Contains(p.Stderr(), "of service orders")
	})
	m.beginWhatEnded()
	m.awaitStatus("AWAITED", "APPROVED")
	m.idle()
	token := strings.TrimSpace(m.souk("token", "--role", "engineer", "--subject", "eve"))
	if status, answer := callAt(t, m.of("console").url, "GET", "/metrics", "", "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("a token of the command line at a process: %d %s", status, answer)
	}
	m.of("orders").proc.Kill9()
	if out := m.souk("doctor"); !strings.Contains(out, "none of them runs") && !strings.Contains(out, "every service") {
		t.Errorf("doctor says nothing of the processes:\n%s", out)
	}
	m.beginWhatEnded()
	m.stop()
	if out := m.souk("process", "list"); !strings.Contains(out, "no process runs") {
		t.Errorf("after the end of all: %s", out)
	}
	refused(t, binary, t.TempDir(), 1, "no process that runs it can be reached", "--db", db, "stock", "receive", "PRODUCT_001", "1")
}

// E5: the tutorial of a store whose inventory is away does what it says.
func TestTutorialAbsentInventory(t *testing.T) {
	t.Parallel()
	db := testserver.Postgres(t).Database(t)
	testserver.Tutorial(t, "../../docs/tutorials/absent-inventory.md", 6, "DB="+db)
}
