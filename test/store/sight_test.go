package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/internal/testserver"
)

// point is a place on the mall's floor, as staff are told it.
type point struct{ X, Y int64 }

// lookout is somebody of staff who looks at where robots are, at one of the gateways.
type lookout struct {
	url, bearer string
	mu          sync.Mutex
	last        map[string]point
	ended       error
}

// look opens a socket of staff at a process, and keeps the last place of each robot until the test ends.
func (m *mall) look(p *part) *lookout {
	m.t.Helper()
	l := &lookout{url: p.url, bearer: "Bearer " + strings.TrimSpace(m.souk("token", "--role", "staff", "--subject", "anna")), last: map[string]point{}}
	conn, _, err := websocket.Dial(m.t.Context(), strings.Replace(p.url, "http", "ws", 1)+"/staff/feed", //nolint:bodyclose // the library owns the body of an upgraded connection
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {l.bearer}}})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.CloseNow() })
	go func() {
		for {
			_, data, err := conn.Read(m.t.Context())
			var f struct {
				Robots []struct {
					Robot string
					At    point
				}
			}
			if err == nil {
				err = json.Unmarshal(data, &f)
			}
			l.mu.Lock()
			for _, r := range f.Robots {
				l.last[r.Robot] = r.At
			}
			l.ended = err
			l.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return l
}

// sees tells whether this is the last that was shown of a robot.
func (l *lookout) sees(robot string, at point) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, seen := l.last[robot]
	return seen && last == at
}

// lists tells whether the robot stands in the list of robots where it is now.
func (l *lookout) lists(t *testing.T, robot string, at point) bool {
	t.Helper()
	_, text := callAt(t, l.url, "GET", "/staff/robots", "", "Authorization", l.bearer)
	var list struct {
		Robots []struct {
			Robot string
			At    point
			Seen  time.Time
		}
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, r := range list.Robots {
		if r.Robot == robot {
			return r.At == at && !r.Seen.IsZero()
		}
	}
	return false
}

// byHand is a robot that says what the test has it say.
type byHand struct {
	t      *testing.T
	stream *connect.BidiStreamForClient[robotsv1.WorkRequest, robotsv1.WorkResponse]
}

// work has a robot begin to speak with a process.
func (m *mall) work(p *part, robot, password string) *byHand {
	m.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	m.t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithCancel(m.t.Context())
	m.t.Cleanup(cancel)
	b := &byHand{m.t, robotsv1connect.NewRobotsServiceClient(&http.Client{Transport: transport}, p.url, connect.WithGRPC()).Work(ctx)}
	login := http.Request{Header: http.Header{}}
	login.SetBasicAuth(robot, password)
	b.stream.RequestHeader()["Authorization"] = login.Header["Authorization"]
	b.say(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 5}}})
	if r, err := b.stream.Receive(); err != nil || r.GetWelcome() == nil {
		m.t.Fatalf("%s is not welcome: %v %v", robot, r, err)
	}
	b.say(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Status{Status: &robotsv1.RobotStatus{Mode: robotsv1.RobotMode_ROBOT_MODE_CHARGING, Battery: 50}}})
	return b
}

func (b *byHand) say(r *robotsv1.WorkRequest) {
	b.t.Helper()
	if err := b.stream.Send(r); err != nil {
		b.t.Fatal(err)
	}
}

// stand has the robot say where it is until somebody has seen it, since what is said too soon after another is dropped.
func (b *byHand) stand(at point, what string, seen func() bool) {
	b.t.Helper()
	await(b.t, what, func() bool {
		b.say(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Position{Position: &robotsv1.Position{At: &soukv1.Place{X: at.X, Y: at.Y}}}})
		return seen()
	})
}

// Robots speak with whichever process runs the depot, and staff look in another one: each of two gateways shows every robot as it is now,
// in its socket and in its list. A process that dies takes its robots' places with it and nothing else; it is followed again when it is there
// again, at another port, as is one that is new; and a robot that changes from one to the other is where it said last. Red when one of the
// processes is asked for all of them, when one that ended or came is not looked for, and when what a process knew of a robot before it went
// is shown after what it said elsewhere.
func TestStaffSeeRobotsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	const behind = "online stores customers baskets orders inventory payments notifications analytics search keys entrance greeter exitgate fastlane logistics devices"
	m := split(t, program(t), t.TempDir(), testserver.Postgres(t).Database(t), []string{behind, "depot", "depot", "staff", "staff"}, "--mqtt", "off")
	one, two := m.others[1], m.others[2]
	boards := []*lookout{m.look(m.others[3]), m.look(m.others[4])}
	walkers, hands := filepath.Join(t.TempDir(), "walkers"), filepath.Join(t.TempDir(), "hands")
	m.souk("device", "add", "walker", "--kind", "robot", "--count", "2", "--password-file", walkers)
	m.souk("device", "add", "hand", "--kind", "robot", "--count", "4", "--password-file", hands)
	written, err := os.ReadFile(hands)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(written)) // an id and its password, line by line
	login := func(robot string) string { return words[slices.Index(words, robot)+1] }
	seen := func(robot string, at point) func() bool {
		return func() bool {
			for _, b := range boards {
				if !b.sees(robot, at) || !b.lists(t, robot, at) {
					return false
				}
			}
			return true
		}
	}
	testserver.Start(t, m.binary, "device", "robot", "walker", "--count", "2", "--password-file", walkers, "--server", one.url, "--steady")
	await(t, "the robots of a program are on both boards", func() bool {
		for _, b := range boards {
			b.mu.Lock()
			n := len(b.last)
			b.mu.Unlock()
			if n != 2 {
				return false
			}
		}
		return true
	})
	m.work(two, "hand-1", login("hand-1")).stand(point{100, 200}, "a robot of one process is on both boards", seen("hand-1", point{100, 200}))
	m.work(two, "hand-2", login("hand-2")).stand(point{300, 400}, "so is another one", seen("hand-2", point{300, 400}))
	// It changes to the other process without a word to the first, which has it still.
	changed := m.work(one, "hand-1", login("hand-1"))
	changed.stand(point{500, 600}, "it is where it said last", seen("hand-1", point{500, 600}))
	// A gateway that begins anew is told of it by that one first, since the other one stands still for a while.
	two.proc.Signal(syscall.SIGSTOP)
	again := m.others[4]
	again.proc.Signal(syscall.SIGTERM)
	again.proc.Wait()
	m.beginPart(again)
	boards[1] = m.look(again)
	await(t, "a gateway that comes shows what robots said before", seen("hand-1", point{500, 600}))
	two.proc.Signal(syscall.SIGCONT)
	await(t, "a process that stood still is followed again", seen("hand-2", point{300, 400}))
	if !seen("hand-1", point{500, 600})() {
		t.Error("a robot is shown where it was before it changed to another process")
	}
	two.proc.Kill9()
	changed.stand(point{700, 800}, "the others move on", seen("hand-1", point{700, 800}))
	m.beginPart(two)
	m.work(two, "hand-3", login("hand-3")).stand(point{1, 2}, "the process that died is followed again", seen("hand-3", point{1, 2}))
	third := &part{name: "third", parts: []string{"depot"}}
	m.others = append(m.others, third)
	m.beginPart(third)
	m.work(third, "hand-4", login("hand-4")).stand(point{3, 4}, fmt.Sprint("so is a new one, ", third.url), seen("hand-4", point{3, 4}))
	for i, b := range boards {
		b.mu.Lock()
		if b.ended != nil {
			t.Errorf("the socket of gateway %d ended: %v", i, b.ended)
		}
		b.mu.Unlock()
	}
}
