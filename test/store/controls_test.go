package store

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
	"example.org/souk/test/store/faulty"
)

// stepControl is what is done to a mall of several processes on PostgreSQL, over NATS, that attacks one safety step.
type stepControl struct {
	step  string
	split []string
	// attack runs the mall with that environment, has orders placed and does what the step is for. It returns which orders were
	// accepted. lacking says that the step is missing: what becomes of that is waited for then.
	attack func(g *ground, env []string, lacking bool) (accepted []string)
	// named is what the checks say of some order where the step is missing.
	named string
}

var stepControls = []stepControl{
	{
		faulty.Confirmation,
		[]string{"online stores customers keys", "orders inventory payments watcher", "notifications analytics depot baskets search"},
		brokerAway, "the watcher was never told",
	},
	{
		faulty.Acknowledgement,
		[]string{"online stores customers keys", "orders inventory payments", "notifications analytics depot baskets search", "watcher"},
		diesAtWork, "the watcher's view does not count order HELD",
	},
	{
		faulty.Inbox,
		[]string{"online stores customers keys", "orders", "inventory payments", "notifications analytics depot baskets search watcher"},
		diesPublishing, "the watcher counted",
	},
	{
		faulty.Epoch,
		[]string{"online stores customers keys", "orders inventory payments", "notifications analytics depot baskets search", "watcher", "watcher"},
		standsStill, "the watcher's view counts order HELD",
	},
	{
		faulty.Anchors,
		[]string{"online stores customers keys", "orders inventory payments", "notifications analytics depot baskets search", "watcher"},
		brokerForgets, "the watcher was never told",
	},
}

// F1: the controls of the walk over processes. Each safety step is attacked by what it is for, with real processes, a real database and a
// real broker: with the step the same checks find nothing, and without it they name the damage. Red when an attack shows nothing:
// where a check is gone, or the attack no longer comes upon the step.
func TestF1_ControlsOfProcesses(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	whole, lacking := testserver.Build(t, "example.org/souk/test/store/watched", "crashpoints"), buildFaulty(t)
	for _, c := range stepControls {
		if os.Getenv("SOUK_PROVE") == "short" && c.step != faulty.Inbox { // make prove shows all of them
			continue
		}
		t.Run("with "+c.step, func(t *testing.T) {
			t.Parallel()
			failed(t, c.run(t, whole, false))
		})
		t.Run("without "+c.step, func(t *testing.T) {
			t.Parallel()
			wrong := c.run(t, lacking, true)
			named := slices.DeleteFunc(slices.Clone(wrong), func(w string) bool { return !strings.Contains(w, c.named) })
			if len(named) == 0 {
				t.Fatalf("nobody noticed; what was named is %q", wrong)
			}
			t.Logf("%d things are named, and %d times that %q: %s", len(wrong), len(named), c.named, named[0])
		})
	}
}

// run attacks a mall and returns what is wrong with it afterwards.
func (c *stepControl) run(t *testing.T, binary string, lacking bool) (wrong []string) {
	t.Helper()
	w := walk{broker: true, split: c.split}
	g := w.ground(t, binary)
	env := []string{g.healed}
	if lacking {
		env = append(env, faulty.Without+"="+c.step)
	}
	return g.wrong(c.attack(g, env, lacking))
}

// buildFaulty builds the program of the walks with what can take a step away around the drivers of its mall.
func buildFaulty(t *testing.T) string {
	t.Helper()
	const file = "../../internal/house/house.go"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for _, r := range [][2]string{
		{"Store: h.stores.of, Log: h.stores.log, Transport: h.bus, ", "Store: faulty.Stores(h.stores.of), Log: h.stores.log, Transport: faulty.Transport(h.bus), "},
		{"\t\"example.org/souk/mall/depot\"\n", "\t\"example.org/souk/mall/depot\"\n\t\"example.org/souk/test/store/faulty\"\n"},
	} {
		if n := strings.Count(changed, r[0]); n != 1 {
			t.Fatalf("%s has %q %d times, and what is wrapped there must be there once", file, r[0], n)
		}
		changed = strings.Replace(changed, r[0], r[1], 1)
	}
	dir := t.TempDir()
	original, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(dir, "house.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	for name, data := range map[string][]byte{replaced: []byte(changed), list: overlay} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "watched")
	out, err := exec.Command("go", "build", "-overlay", list, "-tags", "crashpoints", "-o", program, "example.org/souk/test/store/watched").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// beginEach runs the mall, each process with an environment of its own.
func (g *ground) beginEach(env func(p *part) []string) {
	g.t.Helper()
	for _, p := range g.others {
		g.launch(p, env(p)...)
	}
	for _, p := range g.others {
		g.awaitPart(p)
	}
}

// some is how many orders an attack places before and after.
const some = 60

// orders has orders placed, the first one of which is the number after that one, and returns which were accepted when all are answered.
func (g *ground) orders(after int) []string {
	g.t.Helper()
	accepted := g.loadOf(g.t, 4, some, func(n int) (id, body string) { return mixed(after + n) })()
	if len(accepted) < some/2 {
		g.t.Errorf("only %d orders were accepted", len(accepted))
	}
	return accepted
}

// accept has a plain order placed and accepted.
func (g *ground) accept(id string) string {
	g.t.Helper()
	g.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	return id
}

// relayed tells whether the relay of a service has moved its cursor over everything that travels.
func (g *ground) relayed(service string) bool {
	return g.rows(service, `SELECT (SELECT COALESCE(max(position), 0) FROM {bb_checkpoint} WHERE subscription = 'relay') >=
		(SELECT COALESCE(max(position), 0) FROM {bb_log} WHERE kind IN (1, 3, 4))`)[0] == "true"
}

// brokerAway kills the broker under load, and starts it again when orders were accepted meanwhile.
func brokerAway(g *ground, env []string, lacking bool) (accepted []string) {
	g.t.Helper()
	g.begin(env...)
	accepted = g.orders(0)
	g.server.Kill()
	accepted = append(accepted, g.orders(some)...)
	if lacking {
		awaitFor(g.t, 3*time.Minute, "the cursor has passed what no broker has taken", func() bool { return g.relayed("orders") })
	}
	g.server.Restart()
	return accepted
}

// diesAtWork kills the watcher's process (SIGKILL) while it works on a message.
func diesAtWork(g *ground, env []string, lacking bool) (accepted []string) {
	g.t.Helper()
	k := g.keeper(0)
	g.beginEach(func(p *part) []string { return append(k.env(p), env...) })
	accepted = append(g.orders(0), g.accept("HELD"))
	await(g.t, "the watcher is at work on it", func() bool { return k.says("HELD is held") })
	if lacking {
		await(g.t, "the broker knows of nothing that is not settled", func() bool { return g.waiting("souk.watcher.view-told") == 0 })
	} else if n := g.waiting("souk.watcher.view-told"); n < 1 {
		g.t.Errorf("%d messages wait at the broker while one is worked on", n)
	}
	g.of("watcher").proc.Kill9()
	return accepted
}

// waiting is how many messages a group has not settled of what the orders service publishes.
func (g *ground) waiting(group string) (messages int64) {
	g.t.Helper()
	found := false
	for _, r := range parsed(g.mall, "topic", "show", "souk.orders", "--broker", g.broker()) {
		if r["group"] == group {
			found = true
			messages += figure(r["lag"])
		}
	}
	if !found {
		g.t.Fatalf("souk topic show does not name group %s", group)
	}
	return messages
}

// diesPublishing has the process of the orders service die (SIGKILL) between publishing and the cursor, so that it publishes again.
func diesPublishing(g *ground, env []string, _ bool) (accepted []string) {
	g.t.Helper()
	c := crashAt(g.t, "relay.published", 10)
	g.beginEach(func(p *part) []string {
		if slices.Contains(p.parts, "orders") {
			return append(c.env(), env...)
		}
		return env
	})
	accepted = g.loadOf(g.t, 4, 3*some, c.armed(g.t, mixed))()
	c.reached(g.t, g.of("orders").proc)
	return accepted
}

// brokerForgets has the broker die (SIGKILL) and begin with nothing, while the watcher has still to receive what it had confirmed.
func brokerForgets(g *ground, env []string, _ bool) (accepted []string) {
	g.t.Helper()
	g.begin(env...)
	accepted = g.orders(0)
	g.of("watcher").proc.Kill9()
	accepted = append(append(accepted, g.orders(some)...), g.accept("BEFORE"))
	g.awaitStatus("BEFORE", "APPROVED")
	await(g.t, "the broker has confirmed all of it", func() bool { return g.relayed("orders") && g.relayed("online") })
	g.server.(interface{ Forget() }).Forget()
	accepted = append(accepted, g.accept("AFTER"))
	g.awaitStatus("AFTER", "APPROVED") // the relays have met the broker again
	return accepted
}

// standsStill stops one of the watcher's two processes (SIGSTOP) while it works on a message for a view, until the other has taken
// over what it had and has made the view again, the message in it, and lets it go on (SIGCONT). The broker is away meanwhile, so that nobody else
// is given the message: the inbox would tell then that it was handled, and the step would not be needed.
func standsStill(g *ground, env []string, _ bool) (accepted []string) {
	g.t.Helper()
	keepers := map[*part]*keeper{}
	g.beginEach(func(p *part) []string {
		keepers[p] = g.keeper(len(keepers))
		return append(keepers[p].env(p), env...)
	})
	owners := func() string {
		return g.rows("watcher", `SELECT count(DISTINCT owner) FROM {bb_checkpoint} WHERE subscription = 'view-told/partitions' AND owner <> ''`)[0]
	}
	await(g.t, "both have a share", func() bool { return owners() == "2" })
	accepted = append(g.orders(0), g.accept("HELD"))
	var still *part
	await(g.t, "one of them is at work on it", func() bool {
		for p, k := range keepers {
			if k.says("HELD is held") {
				still = p
			}
		}
		return still != nil
	})
	still.proc.Signal(syscall.SIGSTOP)
	g.server.Kill()
	for p, k := range keepers {
		if p != still {
			k.open()
		}
	}
	awaitFor(g.t, 2*time.Minute, "the other has taken over", func() bool { return owners() == "1" })
	awaitFor(g.t, 3*time.Minute, "the view is made again", func() bool {
		_, code := g.place().souk(g.t, g.binary, "view", "rebuild", "watcher", "told")
		return code == 0
	})
	counted := func() string {
		return strings.Join(g.rows("watcher", `SELECT times FROM {told} WHERE order_id = 'HELD'`), " ")
	}
	if n := counted(); n != "1" {
		g.t.Errorf("the view that was made again counts the order %q times", n)
	}
	keepers[still].open()
	still.proc.Signal(syscall.SIGCONT)
	await(g.t, "it goes on", func() bool { return keepers[still].says("HELD goes on") })
	// What it has made of it is committed within milliseconds, or never.
	testserver.Await(g.t.Context(), 5*time.Second, func() bool { return counted() != "1" })
	g.server.Restart()
	return accepted
}

// keeper keeps the gate at which a watcher holds messages.
type keeper struct {
	t          *testing.T
	gate, runs string // files
}

func (g *ground) keeper(n int) *keeper {
	dir := g.t.TempDir()
	return &keeper{g.t, filepath.Join(dir, fmt.Sprint("gate", n)), filepath.Join(dir, fmt.Sprint("runs", n))}
}

// env has a process hold messages here, where it runs the watcher.
func (k *keeper) env(p *part) []string {
	if !slices.Contains(p.parts, "watcher") {
		return nil
	}
	return []string{"WATCHER_GATE=" + k.gate, "WATCHER_RUNS=" + k.runs, "WATCHER_PATIENCE=10m"}
}

// open lets everything through.
func (k *keeper) open() {
	k.t.Helper()
	if err := os.WriteFile(k.gate, nil, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// says tells whether the watcher has noted something.
func (k *keeper) says(what string) bool {
	text, _ := os.ReadFile(k.runs) // it is not there before the first note
	return slices.Contains(strings.Split(string(text), "\n"), what)
}
