package journal_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.org/souk/provider/internal/journal"
)

type entry struct {
	N int `json:"n"`
}

func open(t *testing.T, path string) (*journal.Journal, []int) {
	t.Helper()
	var seen []int
	j, err := journal.Open(path, func(line []byte) error {
		var e entry
		err := json.Unmarshal(line, &e)
		seen = append(seen, e.N)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, seen
}

func TestEntriesSurviveAndStayInOrder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	j, _ := open(t, path)
	const writers, each = 8, 50
	var group sync.WaitGroup
	var order sync.Mutex
	next := 0
	for range writers {
		group.Go(func() {
			for range each {
				order.Lock()
				ticket, err := j.Append(entry{next})
				next++
				order.Unlock()
				if err == nil {
					err = ticket.Wait()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	// Not closed: what was waited for must be in the file already.
	_, seen := open(t, path)
	if len(seen) != writers*each {
		t.Fatalf("%d entries, want %d", len(seen), writers*each)
	}
	for i, n := range seen {
		if i != n {
			t.Fatalf("entry %d is %d", i, n)
		}
	}
}

func TestTornLastLineIsCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte("{\"n\":1}\n{\"n\":2}\n{\"n\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	j, seen := open(t, path)
	if len(seen) != 2 {
		t.Fatalf("seen %v, want two entries", seen)
	}
	ticket, err := j.Append(entry{3})
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, seen = open(t, path); len(seen) != 3 || seen[2] != 3 {
		t.Fatalf("after the repair: %v", seen)
	}
}

func TestDamageInTheMiddleIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte("{\"n\":1}\n\x00\x00\n{\"n\":3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := journal.Open(path, func([]byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "line 2 is damaged") {
		t.Fatalf("got %v", err)
	}
}

func TestClosedJournalRefuses(t *testing.T) {
	t.Parallel()
	j, _ := open(t, filepath.Join(t.TempDir(), "ledger"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
	if _, err := j.Append(entry{1}); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}
