package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
	mailstandin "example.org/souk/provider/mail/standin"
	paystandin "example.org/souk/provider/payment/standin"
)

// walkPatience is how long a walk waits for work to go on, and for a point to be passed: on a machine with much other work a mall takes minutes
// to come back.
const walkPatience = 5 * time.Minute

// death is where the mall dies: when it has passed a crash point so often under load.
type death struct {
	point string
	pass  int
}

// shared are the points of the backbone that are passed here with other work in flight than in the crash walk of test/store: what robots
// and gates say, leases that end, calls to devices and to the supplier.
var shared = []string{"commit.before", "commit.after", "call.claimed", "call.made", "call.recorded", "timer.fired", "saga.step", "saga.reply"}

// rare are points that are passed only now and then, so that nobody waits until they are for the fourth time.
var rare = map[string]bool{"robot.joined": true, "purchase.sent": true, "notice.taken": true, "notice.settled": true, "timer.fired": true, "sessions.written": true, "sessions.renamed": true}

// edgePoints are the points to walk to: all that stand outside of the backbone and of the gateway to partners, which test/store walks through, and
// those that are shared.
func edgePoints(t *testing.T) (names []string) {
	t.Helper()
	for _, p := range testserver.CrashPoints(t) {
		if !p.Below("backbone") && !p.Below("gateway/partner") || slices.Contains(shared, p.Name) {
			names = append(names, p.Name)
		}
	}
	return slices.Compact(names)
}

// F1: at every crash point between the mall and what stands around it, the mall dies by SIGKILL while people order at the kiosk and online, pass
// through gates and are charged, robots fetch, vanish and come back, and the supplier delivers. What a gate was told to be taken left, was
// issued, billed and told of once, each list was done once, and what the payment provider, the mail server and the supplier have on their books
// is what our logs say.
func TestF1_CrashWalkAtTheEdge(t *testing.T) {
	t.Parallel()
	names := edgePoints(t)
	if len(names) < len(shared)+10 {
		t.Fatalf("only these crash points were found: %v", names)
	}
	switch os.Getenv("SOUK_PROVE") {
	case "":
		t.Log("this takes minutes: make prove-short runs it")
	case "short": // one mall dies at each of them, one after the other
		var deaths []death
		for i, name := range names {
			d := death{name, 1 + i%4}
			if rare[name] {
				d.pass = 1
			}
			deaths = append(deaths, d)
		}
		dieAt(t, "", 7, deaths)
	default:
		for _, name := range names {
			passes := []int{1, 2, 4, 8, 16, 32}
			if rare[name] {
				passes = passes[:3]
			}
			for _, pass := range passes {
				t.Run(fmt.Sprintf("%s/%d", name, pass), func(t *testing.T) {
					t.Parallel()
					dieAt(t, "", uint64(pass), []death{{name, pass}, {name, pass}})
				})
			}
		}
	}
}

// F1: the same where every service and gateway is a process of its own on PostgreSQL. Whichever is first at the point dies, and the others with
// it, since they have the point before them as well.
func TestF1_CrashWalkAtTheEdgeOfProcesses(t *testing.T) {
	t.Parallel()
	if os.Getenv("SOUK_PROVE") != "full" {
		t.Log("this takes minutes: make prove runs it")
		return
	}
	for i, name := range edgePoints(t) {
		if name == "callback.taken" { // nobody calls back where the address of the gateway is not known beforehand
			continue
		}
		t.Run(name, func(t *testing.T) {
			server := testserver.PostgresOwn(t, "max_connections=600")
			dieAt(t, server.Database(t), uint64(i), []death{{name, 1}, {name, 3}})
		})
	}
}

// dieAt has a mall die, once at each point, and looks at what it has kept then. It is one process, or where databases are named, many.
func dieAt(t *testing.T, db string, seed uint64, deaths []death) {
	t.Helper()
	dir := t.TempDir()
	life, end := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &play{
		Config: Config{
			Seed: seed, Speed: 4, DB: db, Chaos: true, Program: []string{testserver.Build(t, "example.org/souk/cmd/souk", "crashpoints")},
			Out: t.Output(), Logger: slog.New(slog.DiscardHandler),
		},
		troubled: true, data: filepath.Join(dir, "mall"),
	}
	t.Cleanup(func() { end(); p.around.Wait() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(p.openOutside(life, dir))
	// The lease ends while a robot has vanished. None is barred from a stop, which is then put off for longer than a walk takes.
	p.house.RobotLease, p.lapses.Vanish, p.lapses.Block = time.Second, 6, 0
	must(p.payment.SetFaults(paystandin.Faults{Seed: seed, FailPercent: 20, TimeoutPercent: 10, TimeoutMS: 200, DuplicateCallback: true}))
	must(p.mail.SetFaults(mailstandin.Faults{Seed: seed, DropPercent: 10}))
	must(p.open(life))
	p.Chaos = false // it was asked for so that the mall is no part of this process; it dies when we say so
	m := newMortal(p.mall, dir)
	t.Cleanup(m.killAll)
	must(m.stop())
	m.toDie(0, deaths[0])
	must(m.start(life))
	must(p.robots(life))
	w := p.watch(t, life)
	if slices.ContainsFunc(deaths, func(d death) bool { return strings.HasPrefix(d.point, "sessions.") }) {
		w.fidget()
	}
	ctx, over := context.WithCancel(t.Context())
	defer over()
	lived := make(chan error, 1)
	go func() { lived <- p.live(ctx, life) }()
	for i, d := range deaths {
		w.underLoad(t)
		must(os.WriteFile(m.armed(i), nil, 0o600))
		m.dies(t, i, d)
		if i+1 < len(deaths) {
			m.toDie(i+1, deaths[i+1])
		} else {
			m.toLive()
		}
		must(m.start(life))
	}
	w.underLoad(t)
	w.leave()
	over()
	must(<-lived)
	must(p.rest(life))
	w.awaitTold(t)
	must(m.stop())
	must(p.check(life))
	must(w.check(life))
	t.Logf("%d deaths; %s", len(deaths), strings.Join(p.result.Looked, "; "))
	for _, b := range p.result.Broken[:min(len(p.result.Broken), 20)] {
		t.Error(b) // last, where a cut of what a failed test said still has it
	}
}

// mortal is a mall that dies at crash points.
type mortal struct {
	theMall
	dir   string // of files by which it is armed, and says that it got there
	parts []*process
	env   [][]string // of each part, where it is to live
}

func newMortal(m theMall, dir string) *mortal {
	of := &mortal{theMall: m, dir: dir}
	switch m := m.(type) {
	case *apart:
		of.parts = []*process{&m.all}
	case *spread:
		of.parts = m.parts
	}
	for _, p := range of.parts {
		of.env = append(of.env, p.env)
	}
	return of
}

func (m *mortal) reached(n int) string { return filepath.Join(m.dir, fmt.Sprint("reached-", n)) }
func (m *mortal) armed(n int) string   { return filepath.Join(m.dir, fmt.Sprint("armed-", n)) }

// toDie has what is started next die the nth time, once that is armed.
func (m *mortal) toDie(n int, d death) {
	m.toLive()
	for _, p := range m.parts {
		p.env = append(p.env, fmt.Sprintf("SOUK_CRASH=%s:%d", d.point, d.pass), "SOUK_CRASH_MARK="+m.reached(n), "SOUK_CRASH_ARM="+m.armed(n))
	}
}

// toLive has what is started next die nowhere.
func (m *mortal) toLive() {
	for i, p := range m.parts {
		p.env = slices.Clone(m.env[i])
	}
}

// dies waits until one of its processes has died at the point, and kills the others.
func (m *mortal) dies(t *testing.T, n int, d death) {
	t.Helper()
	var dead *process
	testserver.Await(t.Context(), walkPatience, func() bool {
		for _, p := range m.parts {
			select {
			case <-p.ended:
				dead = p
				return true
			default:
			}
		}
		return false
	})
	if dead == nil {
		t.Fatalf("%s was not passed %d times within %v", d.point, d.pass, walkPatience)
	}
	_, err := os.Stat(m.reached(n))
	exit, ok := errors.AsType[*exec.ExitError](dead.fate)
	if err != nil || !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s was not reached: %s ended with %v\n%s", d.point, dead.name, dead.fate, dead.says)
	}
	m.killAll()
}

// killAll kills what runs, and forgets what has died.
func (m *mortal) killAll() {
	for _, p := range m.parts {
		_, _ = p.kill() // an error says that it had died by itself
	}
}
