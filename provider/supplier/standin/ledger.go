package standin

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"example.org/souk/provider/internal/journal"
)

// Entry is one line of the ledger.
type Entry struct {
	Seq      int       `json:"seq"` // dense from 1
	At       time.Time `json:"at"`
	What     string    `json:"what"`
	Purchase string    `json:"purchase"`
	Item     string    `json:"item,omitempty"`
	Quantity int64     `json:"quantity,omitempty"`
	Delivery string    `json:"delivery,omitempty"`
}

// What happens to a purchase.
const (
	Ordered   = "ordered"
	Unwanted  = "unwanted" // whoever ordered it does not want it any more
	Delivered = "delivered"
	Canceled  = "canceled" // we cannot deliver it
	Receipted = "receipt"  // the shop knows of a delivery, or of the cancellation
)

// purchase is what became of one order.
type purchase struct {
	item     string
	quantity int64
	ended    bool             // delivered, canceled or unwanted
	open     map[string]Entry // deliveries and cancellations that nobody gave a receipt for, by their id
}

type ledger struct {
	journal *journal.Journal

	mu        sync.Mutex
	entries   []Entry
	purchases map[string]*purchase
}

func openLedger(path string) (*ledger, error) {
	l := &ledger{purchases: map[string]*purchase{}}
	file, err := journal.Open(path, func(line []byte) error {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Seq != len(l.entries)+1 {
			return fmt.Errorf("entry %d stands where %d should", e.Seq, len(l.entries)+1)
		}
		l.post(e)
		return nil
	})
	l.journal = file
	return l, err
}

// post applies an entry. The caller holds mu, or is alone.
func (l *ledger) post(e Entry) {
	l.entries = append(l.entries, e)
	p := l.purchases[e.Purchase]
	if p == nil {
		p = &purchase{open: map[string]Entry{}}
		l.purchases[e.Purchase] = p
	}
	switch e.What {
	case Ordered:
		p.item, p.quantity = e.Item, e.Quantity
	case Unwanted:
		p.ended = true
	case Delivered, Canceled:
		p.ended = true
		p.open[e.Delivery] = e
	case Receipted:
		delete(p.open, e.Delivery)
	}
}

// write notes entries that judge makes of a purchase as it stands, and returns when they are on disk. The purchase is nil where
// nobody ordered it.
func (l *ledger) write(id string, judge func(*purchase) []Entry) ([]Entry, error) {
	l.mu.Lock()
	list := judge(l.purchases[id])
	var last journal.Ticket
	for i := range list {
		list[i].Seq, list[i].At, list[i].Purchase = len(l.entries)+1, time.Now().UTC(), id
		ticket, err := l.journal.Append(list[i])
		if err != nil {
			l.mu.Unlock()
			return nil, err
		}
		last = ticket
		l.post(list[i])
	}
	l.mu.Unlock()
	return list, last.Wait()
}

// waiting returns what was ordered and not answered yet, and what nobody gave a receipt for.
func (l *ledger) waiting() (orders []string, notices []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.purchases {
		if !p.ended && p.item != "" {
			orders = append(orders, id)
		}
		for _, e := range p.open {
			e.Item = p.item
			notices = append(notices, e)
		}
	}
	return orders, notices
}

// report returns all entries.
func (l *ledger) report() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Entry{}, l.entries...)
}
