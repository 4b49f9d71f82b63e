package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// ErrNotParked says that a message is not parked: it was handled or discarded since it was looked at, or never was.
var ErrNotParked = errors.New("the message is not parked")

// ErrNoSaga says that a service has no instance of a saga under an id.
var ErrNoSaga = errors.New("there is no such saga")

// ParkedMessage is a message that a service could not handle, or one that waits
// behind such a one of its key.
type ParkedMessage struct {
	Service      string
	Subscription string // the service's own name, or "view-" and the name of a view
	Key          string // whose messages wait
	Seq          int64  // order within the key; the lowest is the head
	Message      *Message
	State        string // ParkedRetrying, ParkedWaiting or ParkedDead
	Cause        string // of the last failure, with the stack of a panic; "" behind the head
	Attempts     int
	Due          time.Time // when it is tried again; zero: not by itself
	Since        time.Time
}

// Parked lists what is parked in a service, of its own subscription and of its
// views, at most limit messages: with an empty key the head of each key that is
// blocked, oldest first, with a key all its messages in their order. A Message shows
// the data that it will be handled with: after Edit the new one.
//
// The service need not run here, if its database can be reached.
func (r *Runtime) Parked(ctx context.Context, service, key string, limit int) ([]ParkedMessage, error) {
	store, svc, err := r.reach(service)
	if err != nil {
		return nil, err
	}
	var list []ParkedMessage
	for _, subscription := range svc.subscriptionNames() {
		if len(list) >= limit {
			break
		}
		rows, err := store.ParkedRows(ctx, service, subscription, key, limit-len(list))
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			continue
		}
		amendments, err := store.Amendments(ctx, service, subscription)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			p := ParkedMessage{
				Service: service, Subscription: subscription, Key: rows[i].Key, Seq: rows[i].Seq, State: rows[i].State,
				Cause: rows[i].Cause, Attempts: rows[i].Attempts, Since: time.UnixMicro(rows[i].Time).UTC(),
			}
			if rows[i].Due > 0 {
				p.Due = time.UnixMicro(rows[i].Due).UTC()
			}
			if p.Message, err = decodeParked(&rows[i]); err != nil {
				return nil, err
			}
			amend(p.Message, &rows[i], amendments)
			list = append(list, p)
		}
	}
	return list, nil
}

// Redrive asks that a parked message be handled again, with new attempts. by names
// who asks and why says the reason; both are required.
//
// Redrive, Edit and Discard return when the request is durable. The process that has
// the key carries it out, within a second where one runs; one that meets a message
// which is no longer parked does nothing. Of a message behind the head, Edit and
// Discard take effect when its turn comes.
func (r *Runtime) Redrive(ctx context.Context, p ParkedMessage, by, why string) error {
	return r.ofParked(ctx, p, "redrive", nil, by, why)
}

// Edit has a parked message handled with other data, which is JSON, see Redrive.
// The log keeps what stands there; the change is kept beside it, with by and why, and
// holds for this subscription and its rebuilds.
func (r *Runtime) Edit(ctx context.Context, p ParkedMessage, data []byte, by, why string) error {
	if !json.Valid(data) {
		return errors.New("the new data of a parked message is not JSON")
	}
	return r.ofParked(ctx, p, "edit", data, by, why)
}

// Discard has a parked message never handled, see Redrive; those behind it go on.
func (r *Runtime) Discard(ctx context.Context, p ParkedMessage, by, why string) error {
	return r.ofParked(ctx, p, "discard", nil, by, why)
}

func (r *Runtime) ofParked(ctx context.Context, p ParkedMessage, action string, data []byte, by, why string) error {
	store, _, err := r.reach(p.Service)
	if err != nil {
		return err
	}
	rows, err := store.ParkedRows(ctx, p.Service, p.Subscription, p.Key, maxParkedKey)
	if err != nil {
		return err
	}
	if p.Key == "" || !slices.ContainsFunc(rows, func(row driver.Parked) bool { return row.Seq == p.Seq }) {
		return fmt.Errorf("%w: %d of key %q of subscription %q of service %q", ErrNotParked, p.Seq, p.Key, p.Subscription, p.Service)
	}
	return r.request(ctx, store, p.Service, driver.Request{
		Subject: "parked", Action: action, Subscription: p.Subscription, Key: p.Key, Seq: p.Seq, Data: data, Actor: by, Why: why,
	})
}

// RetrySaga asks that a saga that is stuck send its command again; by names who asks
// and why says the reason. It returns when the request is durable; the process that
// keeps the service's log carries it out. Alarm tells of sagas that are stuck.
func (r *Runtime) RetrySaga(ctx context.Context, service, saga, id, by, why string) error {
	return r.ofSaga(ctx, service, saga, id, "retry", by, why)
}

// AbortSaga asks that a saga undo what it has done, see RetrySaga.
func (r *Runtime) AbortSaga(ctx context.Context, service, saga, id, by, why string) error {
	return r.ofSaga(ctx, service, saga, id, "abort", by, why)
}

func (r *Runtime) ofSaga(ctx context.Context, service, saga, id, action, by, why string) error {
	store, _, err := r.reach(service)
	if err != nil {
		return err
	}
	rows, err := store.SagaRows(ctx, service, saga, id, "", 1)
	if err != nil {
		return err
	}
	if saga == "" || id == "" || len(rows) == 0 {
		return fmt.Errorf("%w: %q of %q in service %q", ErrNoSaga, id, saga, service)
	}
	return r.request(ctx, store, service, driver.Request{Subject: "saga", Action: action, Subscription: saga, Key: id, Actor: by, Why: why})
}

func (r *Runtime) request(ctx context.Context, store driver.Store, service string, request driver.Request) error {
	if request.Actor == "" || request.Why == "" {
		return fmt.Errorf("say who asks for this %s, and why", request.Action)
	}
	request.Time = r.now().UnixMicro()
	_, err := store.PutRequest(ctx, service, request)
	return err
}

// reach returns a service of the parts list and its database.
func (r *Runtime) reach(service string) (driver.Store, *Service, error) {
	i := slices.IndexFunc(r.cfg.Parts, func(s *Service) bool { return s.Name == service })
	if i < 0 {
		return nil, nil, fmt.Errorf("service %q is not in the parts list", service)
	}
	store := r.cfg.Store(service)
	if store == nil {
		return nil, nil, fmt.Errorf("the database of service %q cannot be reached from here", service)
	}
	return store, r.cfg.Parts[i], nil
}

// viewSubscription returns the name of a view's subscription.
func viewSubscription(view string) string { return "view-" + view }

// subscriptionNames returns the names of the service's subscriptions: its own and one a view that is not inline.
func (s *Service) subscriptionNames() []string {
	names := []string{s.Name}
	for _, v := range s.Views {
		if !v.Inline {
			names = append(names, viewSubscription(v.Name))
		}
	}
	return names
}
