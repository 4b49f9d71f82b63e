package standin

import (
	"path/filepath"
	"testing"
	"time"
)

// What was ordered and what was delivered outlives the process, and a delivery is said until somebody gives a receipt. Red
// where the ledger is not read back.
func TestLedgerOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	open := func() *ledger {
		t.Helper()
		l, err := openLedger(path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	write := func(l *ledger, id string, e Entry) {
		t.Helper()
		if _, err := l.write(id, func(*purchase) []Entry { return []Entry{e} }); err != nil {
			t.Fatal(err)
		}
		if err := l.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(orders, notices int) *ledger {
		t.Helper()
		l := open()
		if o, n := l.waiting(); len(o) != orders || len(n) != notices {
			t.Fatalf("%d orders and %d notices wait, want %d and %d", len(o), len(n), orders, notices)
		}
		return l
	}
	write(expect(0, 0), "p1", Entry{What: Ordered, Item: "cup", Quantity: 20})
	write(expect(1, 0), "p1", Entry{What: Delivered, Item: "cup", Quantity: 20, Delivery: "p1-1"})
	l := expect(0, 1)
	if _, n := l.waiting(); n[0].Item != "cup" || n[0].Quantity != 20 {
		t.Errorf("it says %+v", n[0])
	}
	write(l, "p1", Entry{What: Receipted, Delivery: "p1-1"})
	write(expect(0, 0), "p2", Entry{What: Unwanted})
	// An order that comes after it was called off is not delivered.
	l = expect(0, 0)
	if _, err := l.write("p2", func(p *purchase) []Entry {
		if p == nil {
			t.Error("it was forgotten that p2 is not wanted")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.journal.Close(); err != nil {
		t.Fatal(err)
	}
}

// An order is answered once, in whatever form the faults say, and all of it comes.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Faults{"whole": {}, "in parts": {PartPercent: 100}, "not at all": {CancelPercent: 100}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := New(Config{Ledger: filepath.Join(t.TempDir(), "ledger.jsonl"), Password: "sixteen characters", Faults: f})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if _, err := s.ledger.write("p1", func(*purchase) []Entry { return []Entry{{What: Ordered, Item: "cup", Quantity: 5}} }); err != nil {
				t.Fatal(err)
			}
			said := map[string]time.Time{}
			for range 3 {
				if err := s.work(said, false); err != nil {
					t.Fatal(err)
				}
			}
			sum, ended := int64(0), 0
			for _, e := range s.ledger.report()[1:] {
				sum += e.Quantity
				ended++
			}
			want := map[string][2]int64{"whole": {1, 5}, "in parts": {2, 5}, "not at all": {1, 0}}[name]
			if int64(ended) != want[0] || sum != want[1] {
				t.Errorf("%d answers with %d pieces, want %v", ended, sum, want)
			}
		})
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no ledger": {Password: "sixteen characters"}, "a short password": {Ledger: "l", Password: "short"},
		"another machine": {Ledger: "l", Password: "sixteen characters", Listen: "0.0.0.0:0"},
		"faults":          {Ledger: "l", Password: "sixteen characters", Faults: Faults{CancelPercent: 101}},
	} {
		if s, err := New(c); err == nil {
			t.Errorf("%s: it is taken", name)
			_ = s.Close()
		}
	}
}
