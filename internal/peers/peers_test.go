package peers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/gateway/door"
	"example.org/souk/internal/peers"
)

// clock is a clock that a test turns.
type clock struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *clock) turn(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += by
}

// open makes a database with the tables.
func open(t *testing.T) driver.Store {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "peers.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context(), []driver.Schema{peers.Schema()}); err != nil {
		t.Fatal(err)
	}
	return store
}

// process is a process that answers who asked it.
type process struct {
	*peers.Peers
	server *http.Server
}

// start begins a process that is not seen before it joins.
func start(t *testing.T, store driver.Store, c *clock, id string, parts ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := peers.Open(t.Context(), peers.Config{
		Store: store, Clock: c, Process: peers.Process{ID: id, Parts: parts, Address: l.Addr().String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := peers.Identify(r.TLS)
		fmt.Fprintf(w, "%s answers %s %v over HTTP/%d", id, who, ok, r.ProtoMajor)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(p.Listener(l)) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return &process{p, server}
}

func (p *process) join(t *testing.T) *process {
	t.Helper()
	if err := p.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestF10_ProcessesKnowEachOther: both sides prove who they are, and each finds the other by what it runs.
func TestF10_ProcessesKnowEachOther(t *testing.T) {
	store, c := open(t), &clock{}
	start(t, store, c, "two", "orders", "stores").join(t)
	one := start(t, store, c, "one", "online").join(t)
	got, err := get(t.Context(), one.Client(), peers.URL("orders"))
	if want := "two answers one true over HTTP/2"; err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
	if _, err := get(t.Context(), one.Client(), peers.URL("depot")); !errors.Is(err, peers.ErrAbsent) {
		t.Fatalf("a part that nobody runs: %v", err)
	}
	list, err := one.Processes(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != "two" || len(list[0].Parts) != 2 {
		t.Fatalf("processes: %+v, %v", list, err)
	}
}

// TestF10_Impostors: who cannot reach the database is neither believed nor answered as a process.
func TestF10_Impostors(t *testing.T) {
	store, c := open(t), &clock{}
	one := start(t, store, c, "one", "online").join(t)
	honest := start(t, store, c, "two", "orders").join(t)

	other := open(t) // with an authority of its own
	impostor := start(t, other, c, "three", "orders").join(t)
	list, err := impostor.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), one.To(list[0]), peers.URL("orders")); err == nil {
		t.Fatal("a certificate of another authority was believed")
	}
	mine, err := one.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range mine {
		if _, err := get(t.Context(), impostor.To(p), peers.URL(p.Parts[0])); err == nil {
			t.Fatal("a process of another mall was answered")
		}
	}
	// Who runs one part does not pass for another, though its certificate is of this mall.
	if _, err := get(t.Context(), one.To(mine[1]), peers.URL("payments")); err == nil {
		t.Fatal("a process passed for a part that it does not run")
	}
	// A program without a certificate is let in as nobody.
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	got, err := get(t.Context(), plain, "https://"+mine[1].Address)
	if want := "two answers  false over HTTP/1"; err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
	// A certificate that is over is one no more, from either side.
	stale := start(t, store, &clock{}, "four", "depot").join(t)
	seen, err := stale.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.turn(25 * time.Hour)
	four := seen[slices.IndexFunc(seen, func(p peers.Process) bool { return p.ID == "four" })]
	if _, err := get(t.Context(), one.To(four), peers.URL("depot")); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatalf("a process whose certificate is over: %v", err)
	}
	if got, err := get(t.Context(), stale.To(mine[1]), peers.URL("orders")); err == nil {
		t.Fatalf("a process whose certificate is over was answered: %q", got)
	}
	if err := stale.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Who has left is not seen again, though its row is renewed once more.
	if err := errors.Join(honest.Leave(t.Context()), honest.Join(t.Context())); err != nil {
		t.Fatal(err)
	}
	if list, err := one.Processes(t.Context()); err != nil || len(list) != 1 {
		t.Fatalf("after one of two has left: %+v, %v", list, err)
	}
}

// TestGoesOnWithAnother: what left, died or hangs is passed over.
func TestGoesOnWithAnother(t *testing.T) {
	store, c := open(t), &clock{}
	one := start(t, store, c, "one", "online").join(t)
	two := start(t, store, c, "two", "orders").join(t)
	// A process that takes connections and never says a word.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	hung, err := peers.Open(t.Context(), peers.Config{Store: store, Clock: c, Process: peers.Process{ID: "hung", Parts: []string{"orders"}, Address: mute.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hung.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 { // the first one that is asked is random
		one.Client().CloseIdleConnections()
		if got, err := get(t.Context(), one.Client(), peers.URL("orders")); err != nil {
			t.Fatalf("beside one that hangs: %q, %v", got, err)
		}
	}
	if err := hung.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, store, c, "three", "orders").join(t)
	if err := two.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = two.server.Close()
	got, err := get(t.Context(), one.Client(), peers.URL("orders"))
	if err != nil {
		got, err = get(t.Context(), one.Client(), peers.URL("orders")) // the first one may have met the end of the connection
	}
	if want := "three answers one true over HTTP/2"; err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// TestCertificatesAreRenewed: a process that runs for days is still believed.
func TestCertificatesAreRenewed(t *testing.T) {
	store, c := open(t), &clock{}
	one := start(t, store, c, "one", "online").join(t)
	start(t, store, c, "two", "orders").join(t)
	for range 4 {
		one.Client().CloseIdleConnections()
		if _, err := get(t.Context(), one.Client(), peers.URL("orders")); err != nil {
			t.Fatal(err)
		}
		c.turn(20 * time.Hour)
	}
}

// TestOneAuthority: processes that begin together agree on one authority, and so do doors on their first key.
func TestOneAuthority(t *testing.T) {
	store, c := open(t), &clock{}
	const n = 8
	doors := make([]*door.Authority, n)
	pems := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p, err := peers.Open(t.Context(), peers.Config{Store: store, Clock: c, Process: peers.Process{ID: fmt.Sprint("p", i), Parts: []string{"orders"}}})
			if err != nil {
				t.Error(err)
				return
			}
			pems[i] = string(p.PEM())
			if doors[i], err = door.OpenAuthorityIn(t.Context(), peers.NewVault(store), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i := range n {
		if pems[i] != pems[0] {
			t.Fatal("two authorities were made")
		}
	}
	token, p, err := doors[0].Issue(door.Grant{Role: door.Staff, Subject: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := doors[1].Verify(token, door.Staff.Gates()[0]); err != nil {
		t.Fatalf("a token of one process at another: %v", err)
	}
	// Revoked at one, worth nothing at the other once it looks; and a key that came meanwhile is known as well.
	if err := errors.Join(doors[2].RevokeSession(p.Session), doors[3].Rotate(t.Context())); err != nil {
		t.Fatal(err)
	}
	c.turn(time.Minute) // the new key signs
	fresh, _, err := doors[3].Issue(door.Grant{Role: door.Staff, Subject: "s2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := doors[1].Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := doors[1].Verify(token, door.Staff.Gates()[0]); !errors.Is(err, door.ErrToken) {
		t.Fatalf("a token that was revoked elsewhere: %v", err)
	}
	if _, err := doors[1].Verify(fresh, door.Staff.Gates()[0]); err != nil {
		t.Fatalf("a token of a new key: %v", err)
	}
}
