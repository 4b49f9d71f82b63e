package gate

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func walk(seed uint64, visitors int) (list []moment) {
	p := newPlan(seed, []string{"a", "b", "c"}, []string{"x", "y"}, visitors)
	for {
		m, more := p.step()
		if !more {
			return list
		}
		list = append(list, m)
	}
}

// One seed gives one sequence; another gives another. Everybody who comes leaves, and nobody is inside twice.
func TestA9_OneSeedOneSequence(t *testing.T) {
	t.Parallel()
	first := walk(7, 50)
	if !reflect.DeepEqual(first, walk(7, 50)) {
		t.Error("the same seed gives another sequence")
	}
	if reflect.DeepEqual(first, walk(8, 50)) {
		t.Error("another seed gives the same sequence")
	}
	if len(first) != 100 {
		t.Errorf("%d pass, want 50 who come and leave", len(first))
	}
	var inside []string
	for _, m := range first {
		i := slices.Index(inside, m.customer)
		switch {
		case m.leaves && i < 0, !m.leaves && i >= 0:
			t.Fatalf("message %d: %s", m.number, m.customer)
		case m.leaves:
			inside = slices.Delete(inside, i, i+1)
		default:
			inside = append(inside, m.customer)
		}
	}
	if len(inside) != 0 {
		t.Errorf("%v are still inside", inside)
	}
}

// Faults change what is sent, and not who passes.
func TestA9_FaultsStrike(t *testing.T) {
	t.Parallel()
	g := &gate{Config: Config{Store: "s", Kind: "gate", Device: "g"}}
	struck := map[string]int{}
	for _, m := range walk(3, 200) {
		l := g.letter(m, Faults{Duplicates: 20, Misreads: 20, Loss: 10})
		switch l.times {
		case 0:
			struck["lost"]++
		case 2:
			struck["twice"]++
		}
		if l.passed.Customer != m.customer || !slices.Equal(l.passed.Products, m.products) {
			struck["misread"]++
		}
		if clean := g.letter(m, Faults{}); clean.times != 1 || clean.passed.Customer != m.customer || clean.passed.Fault != "" {
			t.Fatalf("without faults: %+v", clean)
		}
	}
	for fault, most := range map[string]int{"lost": 40, "twice": 72, "misread": 80} {
		if n := struck[fault]; n < most/2 || n > most*3/2 {
			t.Errorf("%d are %s, want about %d", n, fault, most)
		}
	}
	if (Faults{Loss: 101}).check() == nil || (Faults{OfflineMS: -1}).check() == nil {
		t.Error("nonsense is taken for faults")
	}
}

// A login that is refused is told once, in words, however often it is tried, in either version of the protocol. Red where the reason has a port in it, which
// is another one each time.
func TestARefusedLoginIsToldOnce(t *testing.T) {
	t.Parallel()
	for version, refusal := range map[int][]byte{3: {0x20, 2, 0, 5}, 5: {0x20, 3, 0, 0x86, 0}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			defer cancel()
			for range 4 {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := bufio.NewReader(conn).ReadByte(); err == nil { // it has begun to say who it is
					_, _ = conn.Write(refusal) // whoever has hung up comes again
				}
				_, _ = io.Copy(io.Discard, conn) // until it hangs up, in whatever way
				_ = conn.Close()
			}
		}()
		var trouble bytes.Buffer
		err = Run(ctx, Config{
			Server: "mqtt://" + l.Addr().String(), Store: "s", Device: "g", Password: "wrong", Version: version, Rate: 1000,
			Customers: []string{"a"}, Products: []string{"x"}, Trouble: &trouble,
		})
		_ = l.Close()
		if err != nil || ctx.Err() == context.DeadlineExceeded {
			t.Errorf("version %d: %v", version, err)
		}
		if text := trouble.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "the server does not take the login") {
			t.Errorf("version %d: it says %q", version, text)
		}
	}
}

// A gate that hears late that it is to open does not, and one that hears it twice opens once. Red where it does not look at when that expires, and where a
// copy opens it again.
func TestAGateIsOpenedInTimeAndOnce(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	g := &gate{Config: Config{Device: "gate-1", Out: &said}, told: make(chan order, 8)}
	stamp := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	for _, payload := range []string{
		`{"id":"a","expires_at":"` + stamp(time.Minute) + `"}`, `{"id":"a","expires_at":"` + stamp(time.Minute) + `"}`,
		`{"id":"b","expires_at":"` + stamp(-time.Minute) + `"}`, `{`, `{"expires_at":"` + stamp(time.Minute) + `"}`,
	} {
		g.hear("", []byte(payload))
	}
	for range len(g.told) {
		if err := g.open(t.Context(), <-g.told); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"what":"opened","id":"a","device":"gate-1"}` + "\n" + `{"what":"late","id":"b","device":"gate-1"}` + "\n"
	if said.String() != want {
		t.Errorf("it says %s, want %s", said.String(), want)
	}
}

// No rate of more than nothing is too high or too low to begin with.
func TestRatesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{1e12, 1e-12} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := Run(ctx, Config{Server: "mqtt://127.0.0.1:1", Password: "p", Customers: []string{"a"}, Products: []string{"x"}, Rate: rate})
		if err != nil {
			t.Errorf("%v a second: %v", rate, err)
		}
	}
}
