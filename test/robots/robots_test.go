package robots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	"example.org/souk/gateway/devices"
	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/event"
)

// lease is short, so that tests need not wait for long.
const lease = 3 * time.Second

// shops and goods are how many shops the mall of the tests has, and how many things each of them sells.
const shops, goods = 3, 3

// floor is a mall whose depot robots work for.
type floor struct {
	*testmall.Mall
	logins map[string]string
}

// open starts souk, as one process or in the way that the test is run in (everyWay), with shops that sell things, and somebody who buys them.
func open(t *testing.T, flags ...string) *floor {
	t.Helper()
	f := &floor{Mall: testmall.Open(t, append([]string{"--robot-lease", lease.String(), "--mqtt", "off", "--logistics", "off"}, flags...)...), logins: map[string]string{}}
	f.Begin()
	f.do("customer register", control.Args{"customer": "amina", "name": "Amina"})
	for i := range shops {
		f.do("store create", control.Args{"store": shop(i), "name": shop(i)})
	}
	f.Idle()
	for i := range shops {
		for n := range goods {
			f.do("product add", control.Args{"product": thing(i, n), "store": shop(i), "name": "goods", "price": "1.00"})
			f.do("stock receive", control.Args{"sku": thing(i, n), "quantity": "1000"})
		}
	}
	f.Idle()
	return f
}

func shop(i int) string { return fmt.Sprintf("store-%d", i) }

// thing is what a shop sells.
func thing(shop, n int) string { return fmt.Sprintf("thing-%d-%d", shop, n) }

// do runs an operation of the command line.
func (f *floor) do(operation string, args control.Args) {
	f.T.Helper()
	testmall.Rows[json.RawMessage](f.Mall, operation, args)
}

// login gives a device a login.
func (f *floor) login(kind devices.Kind, device string) {
	f.T.Helper()
	f.logins[device] = testmall.Rows[struct{ Password string }](f.Mall, "device add", control.Args{"device": device, "kind": string(kind), "store": shop(0)})[0].Password
}

// robots starts a program with so many robots, NAME-1 and so on.
func (f *floor) robots(name string, count int, flags ...string) *testserver.Process {
	f.T.Helper()
	file := filepath.Join(f.T.TempDir(), name+".txt")
	f.Souk("device", "add", name, "--kind", "robot", "--count", strconv.Itoa(count), "--password-file", file)
	written, err := os.ReadFile(file)
	if err != nil {
		f.T.Fatal(err)
	}
	for line := range strings.Lines(string(written)) {
		words := strings.Fields(line)
		f.logins[words[0]] = words[1]
	}
	args := append([]string{
		f.Binary, "device", "robot", name, "--count", strconv.Itoa(count), "--password-file", file, "--server", f.At("depot"), "--speed", "10000",
	}, flags...)
	return testserver.Start(f.T, args...)
}

// order checks out so many baskets, whose orders are the lists that the depot has fetched: with one to three shops in turn.
func (f *floor) order(prefix string, count int) (ids []string) {
	f.T.Helper()
	for i := range count {
		id := fmt.Sprintf("%s-%d", prefix, i)
		var items []control.Item
		for n := range stops(i) {
			items = append(items, control.Item{Product: thing((i+n)%shops, n), Quantity: int64(1 + (i+n)%4)})
		}
		list, err := json.Marshal(items)
		if err != nil {
			f.T.Fatal(err)
		}
		f.do("basket start", control.Args{"basket": id, "customer": "amina"})
		f.do("basket add", control.Args{"basket": id, "items": string(list)})
		f.do("basket checkout", control.Args{"basket": id, "order": id})
		ids = append(ids, id)
	}
	return ids
}

// stops is how many stops the list of an order has.
func stops(order int) int { return 1 + order%3 }

// until waits for something that is to happen soon.
func (f *floor) until(what string, within time.Duration, happened func() bool) {
	f.T.Helper()
	if !testserver.Await(f.T.Context(), within, happened) {
		f.T.Fatalf("within %v it did not come to this: %s\n%s", within, what, f.state())
	}
}

// list is a shopping list.
type list struct {
	List, State, Robot string
	Stops, Settled     int
}

// lists returns all shopping lists.
func (f *floor) lists() []list {
	f.T.Helper()
	return testmall.Rows[list](f.Mall, "shopping list", control.Args{"all": "true", "limit": "1000"})
}

// state tells how lists are that are not done, for a test that fails.
func (f *floor) state() string {
	return fmt.Sprintf("%+v", slices.DeleteFunc(f.lists(), func(l list) bool { return l.State == "completed" }))
}

func (f *floor) completed(ids []string) bool {
	f.T.Helper()
	n := 0
	for _, l := range f.lists() {
		if l.State == "completed" && slices.Contains(ids, l.List) {
			n++
		}
	}
	return n == len(ids)
}

// tally is what the log tells, counted from outside the service.
type tally struct {
	completed map[string][]event.ShoppingListCompleted
	picked    map[string]int // by list and stop
	lost      []event.RobotLost
	recovered []event.ItemsRecovered
	has       map[string]string // the list of each robot as of now
}

// tally counts, and holds that no robot is given a list while it has one.
func (f *floor) tally() *tally {
	f.T.Helper()
	t := &tally{completed: map[string][]event.ShoppingListCompleted{}, picked: map[string]int{}, has: map[string]string{}}
	for _, r := range f.Log("depot", "") {
		switch r.Type {
		case event.ShoppingListCompletedV1:
			e := testmall.Read[event.ShoppingListCompleted](f.Mall, r)
			t.completed[e.List] = append(t.completed[e.List], e)
		case event.StopPickedV1, event.StopShortV1:
			e := testmall.Read[event.StopPicked](f.Mall, r)
			t.picked[fmt.Sprintf("%s/%d", e.List, e.Stop)]++
		case event.RobotLostV1:
			e := testmall.Read[event.RobotLost](f.Mall, r)
			t.lost, t.has[e.Robot] = append(t.lost, e), ""
		case event.ItemsRecoveredV1:
			t.recovered = append(t.recovered, testmall.Read[event.ItemsRecovered](f.Mall, r))
		case (depot.RobotTasked{}).EventType():
			e := testmall.Read[depot.RobotTasked](f.Mall, r)
			if t.has[e.Robot] != "" {
				f.T.Errorf("%s is given %s and has %s", e.Robot, e.List, t.has[e.Robot])
			}
			t.has[e.Robot] = e.List
		case (depot.RobotFreed{}).EventType():
			t.has[testmall.Read[depot.RobotFreed](f.Mall, r).Robot] = ""
		}
	}
	return t
}

// once holds that every list was done once, and each of its stops was settled once.
func (f *floor) once(ids []string) *tally {
	f.T.Helper()
	t := f.tally()
	for i, id := range ids {
		if n := len(t.completed[id]); n != 1 {
			f.T.Errorf("%s was done %d times", id, n)
		}
		for n := range stops(i) {
			if times := t.picked[fmt.Sprintf("%s/%d", id, n+1)]; times != 1 {
				f.T.Errorf("stop %d of %s was settled %d times", n+1, id, times)
			}
		}
	}
	return t
}

// B15: robots of one process do the lists of the mall, each once. Red when the depot gives a list to two robots.
func TestB15_RobotsCompleteListsNoneTwice(t *testing.T) {
	t.Parallel()
	f := open(t)
	before := f.order("early", 10)
	bearer := "Bearer " + strings.TrimSpace(f.Souk("token", "--role", "staff", "--subject", "ann"))
	moves := f.watch(bearer)
	f.robots("robot", 5)
	ids := f.order("late", 20)
	f.until("every list is done", 3*time.Minute, func() bool { return f.completed(before) && f.completed(ids) })
	f.once(before)
	f.once(ids)
	for _, c := range f.tally().completed {
		if len(c[0].Missing) != 0 {
			t.Errorf("%s lacks %v, though everything was there", c[0].List, c[0].Missing)
		}
	}
	// Where robots are is shown as they go, and is not in the log.
	if places := moves(); len(places) != 5 || len(slices.Concat(slices.Collect(maps.Values(places))...)) < 20 {
		t.Errorf("the five robots were seen at %v", places)
	}
	for _, r := range f.board(bearer) {
		if r.Battery == 0 || time.Since(r.Seen) > time.Minute {
			t.Errorf("the board shows %+v", r)
		}
	}
	if n := len(f.Log("depot", "")); n > 1500 {
		t.Errorf("the log has %d events", n)
	}
}

// B15: robots whose process is killed lose what they have not picked, others fetch that and what they carried. Red when a lost
// robot's list is not offered again, and when what it carries is not fetched.
func TestB15_KilledRobotsLoseTheirLists(t *testing.T) {
	t.Parallel()
	f := open(t)
	doomed := f.robots("doomed", 3, "--speed", "1500")
	ids := f.order("list", 12)
	// One of them carries something and has more to pick.
	f.until("a robot carries something", time.Minute, func() bool {
		return slices.ContainsFunc(f.lists(), func(l list) bool {
			return strings.HasPrefix(l.Robot, "doomed-") && l.Settled > 0 && l.Settled < l.Stops
		})
	})
	doomed.Kill9()
	f.robots("robot", 3)
	f.until("every list is done", 3*time.Minute, func() bool { return f.completed(ids) })
	got := f.once(ids)
	if len(got.lost) == 0 {
		t.Error("no robot was lost")
	}
	carried, fetched := map[string][]mall.Line{}, map[string][]mall.Line{}
	for _, l := range got.lost {
		if len(l.Lines) > 0 {
			carried[l.Robot+" "+l.List] = l.Lines
		}
	}
	for _, r := range got.recovered {
		fetched[r.Lost+" "+r.List] = r.Lines
	}
	if len(carried) == 0 || !reflect.DeepEqual(carried, fetched) {
		t.Errorf("lost %v, fetched %v", carried, fetched)
	}
}

// B15: a robot that keeps its link and says nothing loses its list as well, and makes no harm when it comes back.
func TestB15_VanishedRobotsComeBack(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.robots("robot", 4, "--vanish", "30", "--vanish-ms", "5000", "--seed", "7")
	ids := f.order("list", 15)
	f.until("every list is done", 3*time.Minute, func() bool { return f.completed(ids) })
	if got := f.once(ids); len(got.lost) == 0 {
		t.Error("no robot vanished")
	}
}

// Whatever robots do wrong, and while the mall is stopped and started again, every list is done once. Faults are switched while it runs.
func TestB15_FaultyRobotsAndARestart(t *testing.T) {
	t.Parallel()
	f := open(t)
	p := f.robots("robot", 4, "--short", "10", "--drops", "30", "--duplicates", "50", "--admin", "127.0.0.1:0")
	ids := f.order("list", 20)
	f.until("some lists are done", 2*time.Minute, func() bool { return len(f.tally().completed) >= 3 })
	f.beginAgain()
	f.faults(p, `{"short":100,"duplicates":100}`)
	f.until("every list is done", 3*time.Minute, func() bool { return f.completed(ids) })
	got := f.once(ids)
	if last := got.completed[ids[len(ids)-1]]; len(last) != 1 || len(last[0].Missing) == 0 {
		t.Errorf("everything was short, and %+v", last)
	}
}

// faults switches the faults of robots that were started with --admin, the first of whom is robot-1.
func (f *floor) faults(p *testserver.Process, faults string) {
	f.T.Helper()
	var at struct {
		FaultsAt string `json:"faults_at"`
	}
	if err := json.Unmarshal([]byte(p.WaitLine("faults_at")), &at); err != nil {
		f.T.Fatal(err)
	}
	req, err := http.NewRequestWithContext(f.T.Context(), http.MethodPut, at.FaultsAt, strings.NewReader(faults))
	if err != nil {
		f.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.logins["robot-1"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		f.T.Fatalf("faults are not switched: %s %v", resp.Status, err)
	}
}

// beginAgain ends what robots speak with, and runs it again where they find it.
func (f *floor) beginAgain() {
	f.T.Helper()
	at := []string{"--http", strings.TrimPrefix(f.At("depot"), "http://")}
	f.Stop("depot")
	if f.Parts == nil {
		f.Flags = append(f.Flags, at...)
	}
	for _, p := range f.Of("depot") {
		p.More = at
	}
	f.Begin()
}

// shown is a robot as staff are shown it.
type shown struct {
	Robot   string
	At      mall.Place
	Battery int64
	Seen    time.Time
}

// watch opens the page of staff that moves by itself. The function returned tells where each robot has been seen so far.
func (f *floor) watch(bearer string) func() map[string][]mall.Place {
	f.T.Helper()
	conn, _, err := websocket.Dial(f.T.Context(), strings.Replace(f.At("staff"), "http", "ws", 1)+"/staff/feed", //nolint:bodyclose // the library owns the body of an upgraded connection
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {bearer}}})
	if err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { _ = conn.CloseNow() })
	var mu sync.Mutex
	places := map[string][]mall.Place{}
	go func() {
		for {
			_, data, err := conn.Read(f.T.Context())
			var frame struct{ Robots []shown }
			if err != nil || json.Unmarshal(data, &frame) != nil {
				return
			}
			mu.Lock()
			for _, r := range frame.Robots {
				if was := places[r.Robot]; len(was) == 0 || was[len(was)-1] != r.At {
					places[r.Robot] = append(places[r.Robot], r.At)
				}
			}
			mu.Unlock()
		}
	}()
	return func() map[string][]mall.Place {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(places)
	}
}

// board returns the robots that staff are shown.
func (f *floor) board(bearer string) []shown {
	f.T.Helper()
	req, err := http.NewRequestWithContext(f.T.Context(), http.MethodGet, f.At("staff")+"/staff/robots", nil)
	if err != nil {
		f.T.Fatal(err)
	}
	req.Header.Set("Authorization", bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	var list struct{ Robots []shown }
	if err := errors.Join(json.NewDecoder(resp.Body).Decode(&list), resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		f.T.Fatalf("the board: %s %v", resp.Status, err)
	}
	return list.Robots
}

// stream opens a robot's stream by hand.
func (f *floor) stream(ctx context.Context, robot, password string) *connect.BidiStreamForClient[robotsv1.WorkRequest, robotsv1.WorkResponse] {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	f.T.Cleanup(transport.CloseIdleConnections)
	s := robotsv1connect.NewRobotsServiceClient(&http.Client{Transport: transport}, f.At("depot"), connect.WithGRPC()).Work(ctx)
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(robot, password)
	s.RequestHeader()["Authorization"] = request.Header["Authorization"]
	return s
}

// first says hello and returns what follows.
func (f *floor) first(robot, password string) (*robotsv1.WorkResponse, error) {
	ctx, cancel := context.WithTimeout(f.T.Context(), 20*time.Second)
	defer cancel()
	s := f.stream(ctx, robot, password)
	_ = s.Send(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 5}}}) // what is wrong is received
	m, err := s.Receive()
	cancel()
	return m, err
}

// Whoever shops at a kiosk and is told that the order is ready pays for it there. Red where they leave because there is no bill yet.
func TestShoppersPay(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.robots("robot", 2)
	login := strings.TrimSpace(f.Souk("token", "--role", "device", "--subject", "kiosk-1"))
	out := f.Souk("device", "shopper", "kiosk-1", "--server", f.At("kiosk"), "--token", login, "--people", "8", "--rate", "10", "--patience", "5m")
	did := map[string]int{}
	for line := range strings.Lines(out) {
		var done struct{ What, Refused string }
		if err := json.Unmarshal([]byte(line), &done); err != nil {
			t.Fatal(err)
		}
		if done.Refused == "" {
			did[done.What]++
		}
	}
	if did["check out"] != 8 || did["pay"]+did["pay early"] != 8 {
		t.Errorf("%v:\n%s", did, out)
	}
}

// F10: who has no login of a robot is not let in, and one whose login is revoked is sent away within 5 seconds, for good.
func TestF10_OnlyRobotsWithALogin(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.login(devices.Robot, "robot-1")
	f.login(devices.Gate, "gate-1")
	for name, c := range map[string]struct{ robot, password string }{
		"nobody": {"", ""}, "a wrong password": {"robot-1", "guess"}, "another's": {"robot-2", f.logins["robot-1"]}, "a gate": {"gate-1", f.logins["gate-1"]},
	} {
		if m, err := f.first(c.robot, c.password); connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
	s := f.stream(t.Context(), "robot-1", f.logins["robot-1"])
	if err := s.Send(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 5}}}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Receive(); err != nil || m.GetWelcome().GetLeaseMs() != lease.Milliseconds() {
		t.Fatalf("%v %v", m, err)
	}
	began := time.Now()
	f.do("device revoke", control.Args{"device": "robot-1"})
	if m, err := s.Receive(); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("%v %v", m, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := f.first("robot-1", f.logins["robot-1"]); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("it is let in again: %v", err)
	}
}

// B15: a robot that was drained, which is switched on while it works, ends its list, goes to its charger by itself and is given the next one when it has
// charged; so one robot does all lists, each once. Red where a drained robot is given a list, and where it is not given any more.
func TestB15_DrainedRobotsChargeFirst(t *testing.T) {
	t.Parallel()
	f := open(t)
	p := f.robots("robot", 1, "--admin", "127.0.0.1:0")
	before := f.order("before", 1)
	f.until("the first list is done", time.Minute, func() bool { return f.completed(before) })
	f.faults(p, `{"drain":100}`)
	ids := f.order("list", 2)
	charged := func() int { return strings.Count(p.Stdout(), `"what":"charged"`) }
	f.until("every list is done, and the robot has charged after each", 3*time.Minute, func() bool { return f.completed(ids) && charged() == len(ids) })
	f.once(ids)
	drained, lists := false, 0
	for line := range strings.Lines(p.Stdout()) {
		var said struct{ What, Order string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		switch said.What {
		case "drained":
			drained = true
		case "charged":
			drained = false
		case "order":
			if lists++; drained {
				t.Errorf("it is given %s, and has not charged", said.Order)
			}
		}
	}
	if lists != len(before)+len(ids) {
		t.Errorf("it was given %d lists", lists)
	}
	f.faults(p, `{}`)
	after := f.order("after", 1)
	f.until("it goes on", time.Minute, func() bool { return f.completed(after) })
	if n := charged(); n != len(ids) {
		t.Errorf("it has charged %d times", n)
	}
}
