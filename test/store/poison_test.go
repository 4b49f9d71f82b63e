package store

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"example.org/souk/internal/testserver"
)

// parkedRow is a row of "souk dlq".
type parkedRow struct {
	Service, Key, ID, State, Cause string
	Attempts                       int
	Message                        struct {
		Type string
		Data json.RawMessage
	}
}

// parked lists what "souk dlq" prints.
func (m *mall) parked(args ...string) (list []parkedRow) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.souk(append(append([]string{"dlq"}, args...), "-o", "json")...)), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

// parkedUnder returns what is parked under a key; where nothing is, the command line calls that an error.
func (m *mall) parkedUnder(key string) (list []parkedRow) {
	m.t.Helper()
	run := m.place().start(m.t, m.binary, "dlq", "show", key, "-o", "json")
	if e := run.Wait(); e.Code == 1 && strings.Contains(run.Stderr(), "nothing is parked under key") {
		return nil
	}
	if err := json.Unmarshal([]byte(run.Stdout()), &list); err != nil || len(list) == 0 {
		m.t.Fatalf("dlq show %s: %v\n%s%s", key, err, run.Stdout(), run.Stderr())
	}
	return list
}

// head returns the message at which a key is stuck.
func (m *mall) head(key string) (head parkedRow, waiting []string) {
	m.t.Helper()
	list := m.parkedUnder(key)
	if len(list) == 0 {
		return head, nil
	}
	for _, behind := range list[1:] {
		waiting = append(waiting, behind.Message.Type+" "+behind.State)
	}
	return list[0], waiting
}

// awaitDead waits until the message of this type is the head of a key and is tried no more.
func (m *mall) awaitDead(key, eventType string) (head parkedRow) {
	m.t.Helper()
	await(m.t, key+" waits for an operator", func() bool {
		head, _ = m.head(key)
		return head.State == "dead" && head.Message.Type == eventType
	})
	return head
}

// seen returns what the watcher noted of an order: event, customer and how often it was told.
func (m *mall) seen(order string) []string {
	m.t.Helper()
	return m.rows("watcher", `SELECT event, customer, times FROM {seen} WHERE order_id = '`+order+`' ORDER BY nth`)
}

// eventID returns the id of an order's event as it stands in the log.
func (m *mall) eventID(order, eventType string) string {
	m.t.Helper()
	for _, row := range rows(m.t, m.binary, m.dir, "event", "tail", "--stream", "order/"+order) {
		if row["type"] == eventType {
			id, _ := row["id"].(string)
			return id
		}
	}
	m.t.Fatalf("%s has no %s", order, eventType)
	return ""
}

const (
	placedType   = "souk.orders.OrderPlaced.v1"
	approvedType = "souk.orders.OrderApproved.v1"
)

// watchedMall runs the mall with the watcher; heal with the variable that it returns makes the watcher fail no more.
func watchedMall(t *testing.T) (m *mall, healed string) {
	t.Helper()
	healed = "WATCHER_HEALED=" + filepath.Join(t.TempDir(), "healed")
	m = start(t, testserver.Build(t, "example.org/souk/test/store/watched"), t.TempDir(), []string{healed})
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "1000")
	return m, healed
}

func (m *mall) orderOne(id string) {
	m.t.Helper()
	m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
}

// E9 and F5: a message that cannot be handled is parked with its cause, at once where no try can help, and otherwise after
// its tries, with waits between them; one that takes too long leaves nothing behind. What follows in the same order waits
// in its order, and everything else flows. An operator looks, edits, tries again; each request carries who and why. Red
// when a permanent error is tried again, when tries do not end, when a failed handler's rows stay, when a message
// overtakes the one before it, or when an edit is not kept with its reason.
func TestE9F5_PoisonIsParked(t *testing.T) {
	t.Parallel()
	m, healed := watchedMall(t)
	began := time.Now()
	for _, id := range []string{"POISON1", "FLAKY1", "SLOW1"} {
		m.orderOne(id)
	}
	for n := range 30 {
		m.orderOne(fmt.Sprint("GOOD", n))
	}
	slow := m.awaitDead("order/SLOW1", placedType)
	if took := time.Since(began); took < 6*200*time.Millisecond { // the handler's limit, six times
		t.Errorf("a handler that is too slow was given up after %v", took)
	}
	poison, flaky := m.awaitDead("order/POISON1", placedType), m.awaitDead("order/FLAKY1", placedType)
	for _, p := range []struct {
		row      parkedRow
		attempts int
		cause    string
	}{{poison, 1, "this order is poison"}, {flaky, 6, "not yet"}, {slow, 6, "deadline"}} {
		if p.row.Attempts != p.attempts || !strings.Contains(p.row.Cause, p.cause) {
			t.Errorf("%s was given up after %d tries because of %q, want %d and %q", p.row.Key, p.row.Attempts, p.row.Cause, p.attempts, p.cause)
		}
		id := strings.TrimPrefix(p.row.Key, "order/")
		if p.row.ID != m.eventID(id, placedType) {
			t.Errorf("%s is parked under the id %s", p.row.Key, p.row.ID)
		}
		m.awaitStatus(id, "APPROVED") // the watcher's trouble is not the order's
		await(t, "what follows waits behind it", func() bool {
			_, waiting := m.head(p.row.Key)
			return slices.Equal(waiting, []string{approvedType + " waiting"})
		})
		if seen := m.seen(id); len(seen) != 0 {
			t.Errorf("the handler failed at %s and left %v", id, seen)
		}
	}
	await(t, "the others are seen", func() bool {
		for n := range 30 {
			if !slices.Equal(m.seen(fmt.Sprint("GOOD", n)), []string{"placed|CUSTOMER_001|1", "approved|CUSTOMER_001|1"}) {
				return false
			}
		}
		return true
	})
	if list := m.parked("list"); len(list) != 3 {
		t.Errorf("%d keys are parked, want 3: %v", len(list), list)
	}

	// An edit cures one message; the next of the order has the same trouble and comes after it.
	if _, code := souk(t, m.binary, m.dir, "dlq", "edit", "watcher", "order/POISON1", "--new-data", "{", "--why", "half"); code != 1 {
		t.Errorf("half an object is taken as new data: exit %d", code)
	}
	edit := func(row parkedRow, why string) {
		t.Helper()
		data := strings.Replace(string(row.Message.Data), `"CUSTOMER_001"`, `"CURED"`, 1)
		m.souk("dlq", "edit", "watcher", row.Key, "--new-data", data, "--why", why)
	}
	edit(poison, "the customer was misspelt")
	next := m.awaitDead("order/POISON1", approvedType)
	if seen := m.seen("POISON1"); !slices.Equal(seen, []string{"placed|CURED|1"}) {
		t.Errorf("after the edit the watcher has %v", seen)
	}
	edit(next, "the customer was misspelt here too")
	await(t, "the key is free", func() bool { return len(m.parkedUnder("order/POISON1")) == 0 })
	if seen := m.seen("POISON1"); !slices.Equal(seen, []string{"placed|CURED|1", "approved|CURED|1"}) {
		t.Errorf("after both edits the watcher has %v", seen)
	}

	// Tried again in vain it is parked again; once the watcher is healed it passes, and what waited behind it with it.
	m.souk("dlq", "redrive", "watcher", "order/FLAKY1", "--why", "perhaps now")
	heal(t, healed)
	m.passes("FLAKY1")
	m.passes("SLOW1")

	for _, row := range m.rows("watcher", `SELECT action, actor, why, done FROM {bb_request}`) {
		f := strings.Split(row, "|")
		if !strings.HasPrefix(f[1], "operator:") || f[2] == "" {
			t.Errorf("a request says %q: who asked, and why?", row)
		}
	}
	amended := m.rows("watcher", `SELECT id, why, discard FROM {bb_amendment} WHERE actor LIKE 'operator:_%' ORDER BY time`)
	if want := []string{poison.ID + "|the customer was misspelt|0", next.ID + "|the customer was misspelt here too|0"}; !slices.Equal(amended, want) {
		t.Errorf("the edits are kept as %q, want %q", amended, want)
	}
	m.holdsRebuilt()
}

// passes has what is parked of an order tried again, now that the watcher is healed, until it was told all of it.
func (m *mall) passes(order string) {
	m.t.Helper()
	await(m.t, order+" passes", func() bool {
		if head, _ := m.head("order/" + order); head.State == "dead" {
			run := m.place().start(m.t, m.binary, "dlq", "redrive", "watcher", "order/"+order, "--why", "the watcher is healed")
			if e := run.Wait(); e.Code != 0 && !strings.Contains(run.Stderr(), "nothing is parked under key") { // an earlier request may still free it
				m.t.Fatalf("dlq redrive watcher order/%s: exit %d %s", order, e.Code, run.Stderr())
			}
		}
		return slices.Equal(m.seen(order), []string{"placed|CUSTOMER_001|1", "approved|CUSTOMER_001|1"})
	})
}

// E9: what is discarded is passed over for good, with who and why, and what waited behind it goes on. Red when a discard
// only tries again, or takes the rest of the key with it.
func TestE9_Discard(t *testing.T) {
	t.Parallel()
	m, env := watchedMall(t)
	m.orderOne("POISON1")
	m.orderOne("GOOD1")
	head := m.awaitDead("order/POISON1", placedType)
	m.awaitStatus("POISON1", "APPROVED")
	m.souk("dlq", "discard", "watcher", "order/POISON1", "--why", "a test order")
	next := m.awaitDead("order/POISON1", approvedType)
	heal(t, env)
	m.souk("dlq", "redrive", "watcher", "order/POISON1", "--why", "the watcher is healed")
	await(t, "what waited goes on", func() bool { return slices.Equal(m.seen("POISON1"), []string{"approved|CUSTOMER_001|1"}) })
	amended := m.rows("watcher", `SELECT id, why, discard FROM {bb_amendment} WHERE actor LIKE 'operator:_%'`)
	if want := []string{head.ID + "|a test order|1"}; !slices.Equal(amended, want) {
		t.Errorf("the discard is kept as %q, want %q", amended, want)
	}
	if next.ID != m.eventID("POISON1", approvedType) {
		t.Errorf("the second message is parked under the id %s", next.ID)
	}
	m.kill9()
	m.begin(env)
	m.settle()
	m.stop()
	// Everything holds but that the watcher was told, which is what was asked for.
	if _, broken := invariants(t, m.place().rebuilt(), nil, true); !slices.Equal(broken, []string{"the watcher was never told that order POISON1 was placed"}) {
		t.Errorf("broken is %q", broken)
	}
}

// frames reads so many frames of a customer's feed: number, id, what it says.
func (m *mall) frames(customer string, since, n int) (list []string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial( //nolint:bodyclose // the library owns the body of an upgraded connection
		ctx, fmt.Sprintf("ws%s/feed?customer=%s&since=%d", strings.TrimPrefix(m.url, "http"), customer, since), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	for range n {
		_, data, err := conn.Read(ctx)
		if err != nil {
			m.t.Fatal(err)
		}
		var f struct {
			N                                   int
			ID, AggregateID, Operation, Subject string
		}
		if err := json.Unmarshal(data, &f); err != nil {
			m.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d %s %s %s", f.N, f.ID, f.AggregateID, f.Operation))
	}
	return list
}

// E8: what comes again after kill -9 comes under the id that it had: to a handler that had not finished with it, in the
// log, and to a feed that is read once more. Nothing is counted twice. Red when ids are made at delivery, or when a message
// that was parked comes back as a new one.
func TestE8_SameIdsAfterKill(t *testing.T) {
	t.Parallel()
	m, env := watchedMall(t)
	for n := range 20 {
		m.orderOne(fmt.Sprint("GOOD", n))
	}
	m.orderOne("FLAKY1")
	for n := range 20 {
		m.awaitStatus(fmt.Sprint("GOOD", n), "APPROVED")
	}
	m.awaitStatus("FLAKY1", "APPROVED")
	parked := m.awaitDead("order/FLAKY1", placedType)
	m.souk("service", "pause", "watcher") // the next orders are delivered to it after the kill
	for n := range 10 {
		m.orderOne(fmt.Sprint("LATE", n))
	}
	for n := range 10 {
		m.awaitStatus(fmt.Sprint("LATE", n), "APPROVED")
	}
	const log = `SELECT position, id, type, stream, version FROM {bb_log} WHERE kind IN (0, 1) ORDER BY position`
	before, feed := m.rows("orders", log), m.frames("CUSTOMER_001", 0, 31*5)
	m.kill9()
	m.begin(env)
	m.souk("service", "resume", "watcher") // a pause outlasts the process
	if again := m.frames("CUSTOMER_001", 0, 31*5); !slices.Equal(again, feed) {
		t.Error("the feed shows other ids than before")
	}
	if rest := m.frames("CUSTOMER_001", 100, 55); !slices.Equal(rest, feed[100:]) {
		t.Error("the feed from frame 100 on shows other ids than before")
	}
	after := m.rows("orders", log)
	if len(before) < 3*31 || !slices.Equal(after[:len(before)], before) {
		t.Errorf("of %d records the log shows others than before", len(before))
	}
	if head, _ := m.head("order/FLAKY1"); head.ID != parked.ID || head.Cause != parked.Cause || head.Attempts != parked.Attempts {
		t.Errorf("parked was %+v and is %+v", parked, head)
	}
	await(t, "what was not delivered before comes", func() bool {
		for n := range 10 {
			if !slices.Equal(m.seen(fmt.Sprint("LATE", n)), []string{"placed|CUSTOMER_001|1", "approved|CUSTOMER_001|1"}) {
				return false
			}
		}
		return true
	})
	heal(t, env)
	m.passes("FLAKY1")
	if id := m.eventID("FLAKY1", placedType); id != parked.ID {
		t.Errorf("what was parked as %s came as %s", parked.ID, id)
	}
	m.holdsRebuilt()
}
