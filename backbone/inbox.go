package backbone

import (
	"context"
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
		ids := make([]string, len(list))
		for i, it := range list {
			ids[i] = it.d.ID
		}
		hashes, err := s.host.store.Handled(ctx, s.host.svc.Name, s.name, source, ids)
		if err != nil {
			continue // the transaction tells
		}
		for _, it := range list {
			it.handled = hashes[it.d.ID] == fingerprint(it.d.Type, it.d.Data)
		}
	}
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
		if s.inbox == nil {
			s.inbox = make(map[inboxKey]string, len(rows))
		}
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
