package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// program is the program as a process.
type program struct {
	t   *testing.T
	url string
	cmd *exec.Cmd
}

func start(t *testing.T, binary, db string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(binary, "-db", db, "-listen", "127.0.0.1:0")}
	p.cmd.Stderr = t.Output()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() }) // a second time where the test has ended it
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("it does not start:", err)
	}
	p.url = strings.TrimSpace(line)
	return p
}

// ask makes a request, and returns 0 where there is no answer.
func (p *program) ask(method, path, key, body string) (status int, text string) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	q.Header.Set("Idempotency-Key", key)
	q.Header.Set("From", "ann@example.org")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = a.Body.Close() }()
	data, err := io.ReadAll(a.Body)
	if err != nil {
		return 0, err.Error()
	}
	return a.StatusCode, string(data)
}

func holds(text string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, text) }
}

func empty(s string) bool { return s == "" }

func (p *program) want(status int, text, method, path, key, body string) {
	p.t.Helper()
	if s, got := p.ask(method, path, key, body); s != status || !strings.Contains(got, text) {
		p.t.Errorf("%s %s: %d %q, want %d %q", method, path, s, got, status, text)
	}
}

// await asks until the answer is right.
func (p *program) await(path string, right func(text string) bool) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		s, got := p.ask(http.MethodGet, path, "", "")
		if s == http.StatusOK && right(got) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("GET %s: %d %q", path, s, got)
		}
	}
}

// TestTheProgram books trips over HTTP, kills the program in the middle and asks again with the same keys; pauses a service; has a message
// parked, edits it, and rebuilds a view; and ends the program in good order. Red where WithID is left out, and where Edit asks for nothing.
func TestTheProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, db := filepath.Join(dir, "program"), filepath.Join(dir, "travel.db")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := start(t, binary, db)
	p.want(http.StatusOK, "ready", http.MethodGet, "/ready", "", "")
	const trips = 200
	sixty := make(chan struct{})
	book := func(p *program, tell func(n int)) {
		for n := range trips {
			if s, text := p.ask(http.MethodPut, fmt.Sprintf("/bookings/b%d?customer=ann&cents=10", n), fmt.Sprintf("key-%d", n), ""); s != http.StatusOK && s != 0 {
				t.Error(n, s, text)
			}
			tell(n)
		}
	}
	var client sync.WaitGroup
	client.Go(func() {
		book(p, func(n int) {
			if n == 60 {
				close(sixty)
			}
		})
	})
	<-sixty
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	client.Wait()
	_ = p.cmd.Wait() // it says that it was killed
	p = start(t, binary, db)
	book(p, func(int) {}) // everything once more
	p.await("/customers/ann", holds("200 trips for 2000 cents"))
	p.want(http.StatusConflict, "booked", http.MethodPut, "/bookings/b1?customer=ben&cents=10", "another", "")
	p.want(http.StatusUnprocessableEntity, "another command", http.MethodPut, "/bookings/b1?customer=ben&cents=10", "key-1", "")
	p.want(http.StatusBadRequest, "Idempotency-Key", http.MethodPut, "/bookings/b1?customer=ben&cents=10", "", "")

	p.want(http.StatusOK, "paused", http.MethodPost, "/services/bookings/pause", "", "")
	p.want(http.StatusServiceUnavailable, "paused", http.MethodPut, "/bookings/c?customer=cleo&cents=1", "c", "")
	p.want(http.StatusOK, "resumed", http.MethodPost, "/services/bookings/resume", "", "")

	p.want(http.StatusOK, "booked", http.MethodPut, "/bookings/free?customer=cleo&cents=0", "free", "")
	p.await("/services/agents/parked", holds("booking/free dead travel.bookings.Booked.v2 a trip that costs nothing"))
	p.await("/metrics", holds(`souk_messages_total{result="parked",service="agents",subscription="agents",type="travel.bookings.Booked.v2"} 1`))
	p.want(http.StatusNotFound, "not parked", http.MethodPost, "/services/agents/parked/edit?key=booking/b1&why=a+mistake", "", "{}")
	p.want(http.StatusOK, "asked for", http.MethodPost, "/services/agents/parked/edit?key=booking/free&why=the+price+was+missing", "",
		`{"booking":"free","customer":"cleo","cents":5}`)
	p.await("/services/agents/parked", empty)
	p.want(http.StatusOK, "rebuilt", http.MethodPost, "/services/customers/views/trips/rebuild", "", "")
	p.want(http.StatusOK, "200 trips for 2000 cents", http.MethodGet, "/customers/ann", "", "")

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error("it does not end well:", err)
	}
}

// bookedOnce is the event as version 1 wrote it.
type bookedOnce struct {
	Booking  string `json:"booking"`
	Customer string `json:"customer"`
	Euros    int64  `json:"euros"`
}

func (bookedOnce) EventType() string { return "travel.bookings.Booked.v1" }

// TestOldBookings has the program of before write events of version 1 and a view without amounts, and the one of now read the events, decide on
// them, and make the view again. Red where Upcast does not multiply, and where the view is not made again.
func TestOldBookings(t *testing.T) {
	t.Parallel()
	first, err := migrations.ReadFile("migrations/0001_trips.sql")
	if err != nil {
		t.Fatal(err)
	}
	before := &backbone.Aggregate[Booking]{
		Name: "booking", Public: []backbone.Event{bookedOnce{}},
		Evolve: func(b Booking, e backbone.Event) Booking { return Booking{Customer: e.(bookedOnce).Customer} },
	}
	w := backbonetest.Start(t, backbonetest.Config{Parts: []*backbone.Service{{
		Name: "bookings",
		Handles: []backbone.Handler{backbone.Decide(before, func(_ Booking, c Book, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{bookedOnce{c.Booking, c.Customer, c.Cents / 100}}, nil
		})},
	}, {
		Name: "customers",
		Views: []backbone.View{backbone.ViewOf("trips", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e bookedOnce) error {
			return tx.Exec(ctx, `INSERT INTO {trips} AS t (customer, bookings) VALUES ($1, 1)
				ON CONFLICT (customer) DO UPDATE SET bookings = t.bookings + 1`, e.Customer)
		}).KeyedBy(func(e bookedOnce) string { return e.Customer })},
		Migrations: fstest.MapFS{"0001_trips.sql": {Data: first}},
	}}})
	w.Do(t, Book{"b1", "ann", 700})
	w.Settle(t)

	w.Restart(t, Parts()...)
	w.Do(t, Book{"b2", "ann", 50})
	w.Refused(t, "booked", Book{"b1", "ben", 700})
	w.Settle(t)
	if b, _, err := backbone.Load(t.Context(), w.Reader("bookings"), booking, "b1"); b != (Booking{"ann", 700}) || err != nil {
		t.Error(b, err)
	}
	shows := func(want string) {
		t.Helper()
		if text, err := trips(t.Context(), w.Reader("customers"), "ann"); text != want || err != nil {
			t.Error(text, err, "want", want)
		}
	}
	shows("2 trips for 50 cents") // the row of before has what its column begins with
	if err := w.Runtime().Rebuild(t.Context(), "customers", "trips", nil); err != nil {
		t.Fatal(err)
	}
	shows("2 trips for 750 cents")
}

// TestDecisions is what most tests of a service look like.
func TestDecisions(t *testing.T) {
	t.Parallel()
	bookings := Parts()[0]
	backbonetest.Given(t, bookings).When(Book{"b1", "ann", 10}).Then(Booked{"b1", "ann", 10})
	backbonetest.Given(t, bookings, Booked{"b1", "ann", 10}).When(Book{"b1", "ben", 10}).ThenRefused("booked")
}
