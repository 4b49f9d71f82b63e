package robots

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/internal/house"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/event"
)

// lease is short, so that tests need not wait for long.
const lease = 3 * time.Second

// floor is a mall whose depot robots work for.
type floor struct {
	t      testing.TB
	binary string
	dir    string
	house  *house.House
	logins map[string]string
}

func open(t testing.TB) *floor {
	t.Helper()
	f := &floor{t: t, binary: testserver.Build(t, "example.org/souk/cmd/souk"), dir: t.TempDir(), logins: map[string]string{}}
	f.begin("127.0.0.1:0")
	t.Cleanup(f.end)
	for i := range 3 {
		store := fmt.Sprintf("store-%d", i)
		f.do(command.CreateStore{Store: store, Name: store, Location: "main"})
	}
	return f
}

func (f *floor) begin(http string) {
	f.t.Helper()
	h, err := house.Open(f.t.Context(), house.Config{
		Data: filepath.Join(f.dir, "mall"), HTTP: http, Empty: true, RobotLease: lease, Payment: house.PaymentConfig{Program: []string{f.binary}},
		Logger: slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err == nil {
		err = h.Start(f.t.Context())
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.house = h
}

func (f *floor) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := f.house.Stop(ctx); err != nil {
		f.t.Errorf("the mall stops: %v", err)
	}
}

func (f *floor) do(c backbone.Command) {
	f.t.Helper()
	answer, err := f.house.Do(f.t.Context(), c)
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		f.t.Fatalf("%+v: %v", c, err)
	}
}

// login gives a device a login.
func (f *floor) login(kind devices.Kind, device string) {
	f.t.Helper()
	f.logins[device] = devices.NewPassword()
	f.do(devices.AddDevice{Device: device, Kind: kind, Hash: devices.HashOf(f.logins[device])})
}

// robots starts a program with so many robots, NAME-1 and so on.
func (f *floor) robots(name string, count int, flags ...string) *testserver.Process {
	f.t.Helper()
	var passwords strings.Builder
	for i := range count {
		id := fmt.Sprintf("%s-%d", name, i+1)
		f.login(devices.Robot, id)
		fmt.Fprintln(&passwords, id, f.logins[id])
	}
	file := filepath.Join(f.dir, name+".txt")
	if err := os.WriteFile(file, []byte(passwords.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	args := append([]string{
		f.binary, "device", "robot", name, "--count", fmt.Sprint(count), "--password-file", file, "--server", f.house.URL(), "--speed", "10000",
	}, flags...)
	return testserver.Command{Args: args}.Start(f.t)
}

// order has the depot fetch so many lists, as the checkout does.
func (f *floor) order(prefix string, count int) (ids []string) {
	f.t.Helper()
	for i := range count {
		id := fmt.Sprintf("%s-%d", prefix, i)
		c := command.CreateShoppingList{List: id, Order: id}
		for n := range 1 + i%3 {
			c.Stops = append(c.Stops, mall.Stop{
				Stop: int64(n) + 1, Store: fmt.Sprintf("store-%d", (i+n)%3), SKU: fmt.Sprintf("sku-%d", n), Name: "goods", Quantity: int64(1 + (i+n)%4),
			})
		}
		f.do(c)
		f.do(command.InitiateShopping{List: id})
		ids = append(ids, id)
	}
	return ids
}

// until waits for something that is to happen soon.
func (f *floor) until(what string, within time.Duration, happened func() bool) {
	f.t.Helper()
	if !testserver.Await(f.t.Context(), within, happened) {
		f.t.Fatalf("within %v it did not come to this: %s\n%s", within, what, f.state())
	}
}

// state tells how lists and robots are, for a test that fails.
func (f *floor) state() string {
	ctx := context.Background()
	lists, err := depot.Lists(ctx, f.house.Reader("depot"), "", 1000)
	robots, also := depot.Robots(ctx, f.house.Reader("depot"), "", 1000)
	var text strings.Builder
	fmt.Fprintln(&text, err, also)
	for _, l := range lists {
		if l.State != "completed" {
			fmt.Fprintf(&text, "%+v\n", l)
		}
	}
	for _, b := range robots {
		fmt.Fprintf(&text, "%+v\n", b)
	}
	return text.String()
}

func (f *floor) completed(ids []string) bool {
	lists, err := depot.Lists(f.t.Context(), f.house.Reader("depot"), "", 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	n := 0
	for _, l := range lists {
		if l.State == "completed" && slices.Contains(ids, l.List) {
			n++
		}
	}
	return n == len(ids)
}

// log returns the depot's log.
func (f *floor) log() (all []*backbone.Message) {
	f.t.Helper()
	at := int64(0)
	for {
		list, err := f.house.Reader("depot").Log(f.t.Context(), backbone.ReadQuery{After: at, Kinds: backbone.EventKinds(), Limit: 1000})
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, list...)
		if len(list) < 1000 {
			return all
		}
		at = list[len(list)-1].Position
	}
}

func read[E any](f *floor, m *backbone.Message) (e E) {
	f.t.Helper()
	if err := json.Unmarshal(m.Data, &e); err != nil {
		f.t.Fatalf("%s: %v", m.Type, err)
	}
	return e
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
	f.t.Helper()
	t := &tally{completed: map[string][]event.ShoppingListCompleted{}, picked: map[string]int{}, has: map[string]string{}}
	for _, m := range f.log() {
		switch m.Type {
		case event.ShoppingListCompletedV1:
			e := read[event.ShoppingListCompleted](f, m)
			t.completed[e.List] = append(t.completed[e.List], e)
		case event.StopPickedV1, event.StopShortV1:
			e := read[event.StopPicked](f, m)
			t.picked[fmt.Sprintf("%s/%d", e.List, e.Stop)]++
		case event.RobotLostV1:
			e := read[event.RobotLost](f, m)
			t.lost, t.has[e.Robot] = append(t.lost, e), ""
		case event.ItemsRecoveredV1:
			t.recovered = append(t.recovered, read[event.ItemsRecovered](f, m))
		case (depot.RobotTasked{}).EventType():
			e := read[depot.RobotTasked](f, m)
			if t.has[e.Robot] != "" {
				f.t.Errorf("%s is given %s and has %s", e.Robot, e.List, t.has[e.Robot])
			}
			t.has[e.Robot] = e.List
		case (depot.RobotFreed{}).EventType():
			t.has[read[depot.RobotFreed](f, m).Robot] = ""
		}
	}
	return t
}

// once holds that every list was done once, and each of its stops was settled once.
func (f *floor) once(ids []string) *tally {
	f.t.Helper()
	t := f.tally()
	for i, id := range ids {
		if n := len(t.completed[id]); n != 1 {
			f.t.Errorf("%s was done %d times", id, n)
		}
		for n := range 1 + i%3 {
			if times := t.picked[fmt.Sprintf("%s/%d", id, n+1)]; times != 1 {
				f.t.Errorf("stop %d of %s was settled %d times", n+1, id, times)
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
	// Where robots are is shown, and is not in the log.
	seen, last := f.house.Robots().Sightings(0)
	if len(seen) != 5 || last == 0 || !seen[0].Online || seen[0].Battery == 0 {
		t.Errorf("sightings %+v", seen)
	}
	if n := f.house.Robots().Counts().Positions; n < 50 {
		t.Errorf("%d positions came", n)
	}
	if n := len(f.log()); n > 1500 {
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
		for _, b := range []string{"doomed-1", "doomed-2", "doomed-3"} {
			task, err := depot.TaskOf(t.Context(), f.house.Reader("depot"), b)
			if err != nil {
				t.Fatal(err)
			}
			if task != nil && len(task.Carries) > 0 && len(task.Done) < len(task.Stops) {
				return true
			}
		}
		return false
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
	var at struct {
		FaultsAt string `json:"faults_at"`
	}
	if err := json.Unmarshal([]byte(p.WaitLine("faults_at")), &at); err != nil {
		t.Fatal(err)
	}
	ids := f.order("list", 20)
	f.until("some lists are done", 2*time.Minute, func() bool { return len(f.tally().completed) >= 3 })
	address := strings.TrimPrefix(f.house.URL(), "http://")
	f.end()
	f.begin(address)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at.FaultsAt, strings.NewReader(`{"short":100,"duplicates":100}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.logins["robot-1"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("faults are not switched: %s %v", resp.Status, err)
	}
	f.until("every list is done", 3*time.Minute, func() bool { return f.completed(ids) })
	got := f.once(ids)
	if last := got.completed[ids[len(ids)-1]]; len(last) != 1 || len(last[0].Missing) == 0 {
		t.Errorf("everything was short, and %+v", last)
	}
}

// stream opens a robot's stream by hand.
func (f *floor) stream(ctx context.Context, robot, password string) *connect.BidiStreamForClient[robotsv1.WorkRequest, robotsv1.WorkResponse] {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	f.t.Cleanup(transport.CloseIdleConnections)
	s := robotsv1connect.NewRobotsServiceClient(&http.Client{Transport: transport}, f.house.URL(), connect.WithGRPC()).Work(ctx)
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(robot, password)
	s.RequestHeader()["Authorization"] = request.Header["Authorization"]
	return s
}

// first says hello and returns what follows.
func (f *floor) first(robot, password string) (*robotsv1.WorkResponse, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	s := f.stream(ctx, robot, password)
	_ = s.Send(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 5}}}) // what is wrong is received
	m, err := s.Receive()
	cancel()
	return m, err
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
	f.do(devices.RevokeDevice{Device: "robot-1"})
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
