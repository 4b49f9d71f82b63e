package backbone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// The inbox: where messages come from a broker, which delivers them again, each that
// was handled or parked leaves a row (subscription, source, id, hash of its type and
// data) in the transaction of its effect. On transports that carry log positions the
// checkpoint is that row.

// inboxKey names a message for one subscription.
type inboxKey struct{ subscription, source, id string }

func keyOf(r *driver.InboxRow) inboxKey { return inboxKey{r.Subscription, r.Source, r.ID} }

// inboxRow is the row that a delivery leaves, or nil where positions do.
func (s *subscription) inboxRow(d driver.Delivery) *driver.InboxRow {
	if s.positions {
		return nil
	}
	row := inboxRow(s.name, d.Source, &d.Record, s.host.r.now())
	return &row
}

// inboxRow makes the row of a message, for runtimes and for programs alike: one may
// leave it and the other find it.
func inboxRow(subscription, source string, r *driver.Record, now time.Time) driver.InboxRow {
	return driver.InboxRow{
		Subscription: subscription, Source: source, ID: r.ID, Hash: fingerprint(r.Type, r.Data), Time: now.UnixMicro(),
	}
}

// lookUp finds out which of the items were handled before, among those that may have been. The transaction of each would find
// it too, but after its handler has run.
func (s *subscription) lookUp(ctx context.Context, items []item) {
	if s.positions {
		return
	}
	sources := map[string][]*item{}
	for i := range items {
		if d := &items[i].d; d.Redelivered {
			sources[d.Source] = append(sources[d.Source], &items[i])
		}
	}
	for source, list := range sources {
		hashes, err := s.handledOf(ctx, source, list)
		if err != nil {
			continue // the transaction tells
		}
		for _, it := range list {
			it.handled = hashes[it.d.ID] == fingerprint(it.d.Type, it.d.Data)
		}
	}
}

// handledOf returns the hashes of those that were handled, by their ids.
func (s *subscription) handledOf(ctx context.Context, source string, list []*item) (map[string]string, error) {
	store := s.host.store
	args, marks := []any{s.name, source}, make([]string, len(list))
	for i, it := range list {
		args = append(args, it.d.ID)
		marks[i] = fmt.Sprint("$", len(args))
	}
	rows, err := store.Query(ctx, "SELECT id, hash FROM "+store.Name(s.host.svc.Name, "bb_inbox")+
		" WHERE subscription = $1 AND source = $2 AND id IN ("+strings.Join(marks, ", ")+")", args...)
	if err != nil {
		return nil, err
	}
	hashes := map[string]string{}
	for rows.Next() {
		var id, hash string
		if err := rows.Scan(&id, &hash); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		hashes[id] = hash
	}
	return hashes, errors.Join(rows.Err(), rows.Close())
}

// loadInbox reads which of the units' messages were handled before.
func (b *batch) loadInbox(units []*unit) error {
	wanted := map[*share][]driver.InboxRow{}
	for _, u := range units {
		if u.inbox != nil {
			s := b.of(u.host)
			wanted[s] = append(wanted[s], *u.inbox)
		}
	}
	for s, rows := range wanted {
		hashes, err := b.tx.Inbox(context.Background(), s.host.svc.Name, rows)
		if err != nil {
			return err
		}
		s.inbox = make(map[inboxKey]string, len(rows))
		for i := range rows {
			s.inbox[keyOf(&rows[i])] = hashes[i]
		}
	}
	return nil
}

// seen reports whether a unit's message was handled before, in this batch too. The
// same id with another body is a failure of its own.
func (b *batch) seen(u *unit) (bool, error) {
	if u.inbox == nil {
		return false, nil
	}
	switch b.of(u.host).inbox[keyOf(u.inbox)] {
	case "":
		return false, nil
	case u.inbox.Hash:
		return true, nil
	}
	return false, Permanent(&DifferentMessageError{u.inbox.Subscription, u.inbox.Source, u.inbox.ID})
}

// note remembers a message that was handled within this batch.
func (b *batch) note(u *unit) {
	if u.inbox != nil {
		b.of(u.host).inbox[keyOf(u.inbox)] = u.inbox.Hash
	}
}
