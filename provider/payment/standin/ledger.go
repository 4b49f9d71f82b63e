package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"example.org/souk/mall"
	"example.org/souk/provider/internal/journal"
)

// keyLife is how long a key is remembered as an idempotency key. The ledger itself forgets nothing.
const keyLife = 24 * time.Hour

// Entry is one line of the ledger: a call that was executed or refused for good.
type Entry struct {
	Seq       int        `json:"seq"` // dense from 1
	At        time.Time  `json:"at"`
	Key       string     `json:"key"`
	Op        string     `json:"op"` // authorize, void, capture, refund
	Payment   string     `json:"payment"`
	Customer  string     `json:"customer,omitempty"`
	Amount    mall.Money `json:"amount"` // what was asked for; for a void, what it gave back
	State     string     `json:"state"`  // authorized, declined, voided, captured, refunded, or refused
	Reference string     `json:"reference,omitempty"`
	Reason    string     `json:"reason,omitempty"` // why it was declined
	Status    int        `json:"status"`           // the answer's HTTP status
	Code      string     `json:"code,omitempty"`   // why it was refused
}

const stateRefused = "refused"

// Account is what happened to one payment, in minor units of its currency.
type Account struct {
	Currency   string `json:"currency"`
	Authorized int64  `json:"authorized"` // once set it stays, also when voided
	Captured   int64  `json:"captured"`
	Refunded   int64  `json:"refunded"`
	Voided     int64  `json:"voided"`
}

// Report is the ledger as GET /ledger shows it.
type Report struct {
	Entries  []Entry            `json:"entries,omitempty"`
	Payments map[string]Account `json:"payments"`
	// Totals are the sums over the payments of each currency.
	Totals map[string]Account `json:"totals"`
	// Executions counts how often each key took effect. Anything but 1 is a double execution, except for a key that was
	// used again after the 24 hours for which it is remembered. Refused calls took no effect and are not counted.
	Executions map[string]int `json:"executions"`
	Callbacks  CallbackCount  `json:"callbacks"`
	// Waiting is how many callers a pause is holding at this moment.
	Waiting int64 `json:"waiting"`
}

// CallbackCount counts callback requests since the start.
type CallbackCount struct {
	Sent   int64 `json:"sent"`   // answered with 2xx
	Failed int64 `json:"failed"` // given up, or dropped because too many waited
}

// record is what one key led to.
type record struct {
	entry   Entry
	durable journal.Ticket
}

type ledger struct {
	now     func() time.Time
	journal *journal.Journal

	mu       sync.Mutex
	last     journal.Ticket
	entries  []Entry
	accounts map[string]*Account
	keys     map[string]record // by key, the latest entry: what a repeat is answered with
	outcomes map[string]record // by key, the latest that took effect, or else the latest refusal: what asking tells
}

func openLedger(path string, now func() time.Time) (*ledger, error) {
	l := &ledger{now: now, accounts: map[string]*Account{}, keys: map[string]record{}, outcomes: map[string]record{}}
	file, err := journal.Open(path, func(line []byte) error {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if e.Seq != len(l.entries)+1 {
			return fmt.Errorf("entry %d stands where %d should", e.Seq, len(l.entries)+1)
		}
		l.post(e, journal.Ticket{})
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.journal = file
	return l, nil
}

// request is a call as it arrived.
type request struct {
	key, op, payment, customer string
	amount                     mall.Money
	decline                    string // the reason to decline an authorization with, empty for none
}

var errKeyReused = errors.New("the key was used before with another content")

// execute carries a call out, or finds what the same call led to before. It returns once the entry is on disk. fresh
// tells an execution from a repeat.
func (l *ledger) execute(r request) (e Entry, fresh bool, err error) {
	l.mu.Lock()
	now := l.now().UTC()
	known, ok := l.keys[r.key]
	switch {
	case ok && now.Sub(known.entry.At) < keyLife:
		l.mu.Unlock()
		if !known.entry.sameAs(r) {
			return Entry{}, false, errKeyReused
		}
		return known.entry, false, known.durable.Wait()
	default:
		e = l.judge(r)
		e.Seq, e.At = len(l.entries)+1, now
		if e.State != stateRefused {
			e.Reference = fmt.Sprintf("ref-%08d", e.Seq)
		}
		// The order of the file is the order of the decisions: the append happens before the lock is given up.
		ticket, err := l.journal.Append(e)
		if err != nil {
			l.mu.Unlock()
			return Entry{}, false, err
		}
		l.post(e, ticket)
		l.mu.Unlock()
		return e, true, ticket.Wait()
	}
}

// sameAs reports whether r is the call that led to e. A void asks for no amount; its entry has one.
func (e Entry) sameAs(r request) bool {
	return e.Op == r.op && e.Payment == r.payment && e.Customer == r.customer && (r.op == "void" || e.Amount == r.amount)
}

// judge decides what a call leads to. It changes nothing.
func (l *ledger) judge(r request) Entry {
	e := Entry{Key: r.key, Op: r.op, Payment: r.payment, Customer: r.customer, Amount: r.amount, Status: http.StatusOK}
	refuse := func(status int, code string) Entry {
		e.State, e.Status, e.Code = stateRefused, status, code
		return e
	}
	account := l.accounts[r.payment]
	switch {
	case r.op == "authorize" && account != nil:
		return refuse(http.StatusConflict, "payment_exists")
	case r.op == "authorize" && r.decline != "":
		e.State, e.Reason = "declined", r.decline
		return e
	case r.op == "authorize":
		e.State = "authorized"
		return e
	case account == nil:
		return refuse(http.StatusNotFound, "payment_unknown")
	case r.op == "void":
		e.Amount = mall.Money{Amount: account.Authorized, Currency: account.Currency}
		if account.Voided > 0 || account.Captured > 0 {
			return refuse(http.StatusConflict, "not_allowed")
		}
		e.State = "voided"
		return e
	case r.amount.Currency != account.Currency:
		return refuse(http.StatusConflict, "currency")
	case account.Voided > 0:
		return refuse(http.StatusConflict, "not_allowed")
	case r.op == "capture":
		if r.amount.Amount > account.Authorized-account.Captured {
			return refuse(http.StatusConflict, "exceeds")
		}
		e.State = "captured"
		return e
	default:
		if r.amount.Amount > account.Captured-account.Refunded {
			return refuse(http.StatusConflict, "exceeds")
		}
		e.State = "refunded"
		return e
	}
}

// post enters e into what is kept in memory. The caller holds l.mu, or is alone.
func (l *ledger) post(e Entry, durable journal.Ticket) {
	l.entries = append(l.entries, e)
	l.keys[e.Key] = record{e, durable}
	// A key that is sent again after it was forgotten is mostly refused, and that must not hide what it did before.
	if known, ok := l.outcomes[e.Key]; !ok || known.entry.State == stateRefused || e.State != stateRefused {
		l.outcomes[e.Key] = record{e, durable}
	}
	l.last = durable
	account := l.accounts[e.Payment]
	switch e.State {
	case "authorized":
		l.accounts[e.Payment] = &Account{Currency: e.Amount.Currency, Authorized: e.Amount.Amount}
	case "voided":
		account.Voided = e.Amount.Amount
	case "captured":
		account.Captured += e.Amount.Amount
	case "refunded":
		account.Refunded += e.Amount.Amount
	}
}

// find returns what the key led to, however long ago, once that is on disk.
func (l *ledger) find(key string) (Entry, bool, error) {
	l.mu.Lock()
	known, ok := l.outcomes[key]
	l.mu.Unlock()
	if !ok {
		return Entry{}, false, nil
	}
	return known.entry, true, known.durable.Wait()
}

// report returns the ledger as it is on disk at one moment.
func (l *ledger) report(withEntries bool) (Report, error) {
	l.mu.Lock()
	entries, last := slices.Clip(l.entries), l.last
	report := Report{Payments: make(map[string]Account, len(l.accounts)), Totals: map[string]Account{}, Executions: map[string]int{}}
	for payment, account := range l.accounts {
		report.Payments[payment] = *account
	}
	l.mu.Unlock()
	for _, e := range entries {
		if e.State != stateRefused {
			report.Executions[e.Key]++
		}
	}
	for account := range maps.Values(report.Payments) {
		sum := report.Totals[account.Currency]
		sum.Currency = account.Currency
		sum.Authorized = add(sum.Authorized, account.Authorized)
		sum.Captured = add(sum.Captured, account.Captured)
		sum.Refunded = add(sum.Refunded, account.Refunded)
		sum.Voided = add(sum.Voided, account.Voided)
		report.Totals[account.Currency] = sum
	}
	if withEntries {
		report.Entries = entries
	}
	return report, last.Wait()
}

// add sums amounts of zero or more and stays at the largest number instead of going around: a total that is plainly
// absurd is found, a wrapped one may look right.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
