package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	millnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	wmessage "github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/pgstore"
)

// A relay carries committed rows to NATS.
type relay interface {
	// commit appends rows and commits them, all in one transaction.
	commit(ctx context.Context, ms []message) error
	// run relays until ctx ends.
	run(ctx context.Context) error
	// settled reports whether the database says of n rows that they are confirmed.
	settled(ctx context.Context, n int) (bool, error)
	// stream is the one that rows are published to.
	stream() string
	close() error
}

// relaying commits n rows, then lets a relay run, and returns the time from the first row at the broker to the last.
func relaying(ctx context.Context, r relay, raw *rawNATS, n int) (cost, error) {
	if err := commitAll(ctx, r, n); err != nil {
		return cost{}, err
	}
	return measure(func() (int, time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		running, end := context.WithCancel(ctx)
		defer end()
		done := make(chan error, 1)
		go func() { done <- r.run(running) }()
		var begun time.Time
		var had, first uint64
		looked := time.Now()
		for had < uint64(n) {
			time.Sleep(10 * time.Millisecond) // the broker is asked, not waited for
			if err := ctx.Err(); err != nil {
				return 0, 0, errors.Join(err, fmt.Errorf("%d of %d rows came", had, n))
			}
			stream, err := raw.js.Stream(ctx, r.stream())
			if err != nil {
				continue // it is made by the relay
			}
			had = stream.CachedInfo().State.LastSeq
			switch {
			case !begun.IsZero() || had == 0:
			case had < uint64(n):
				begun, first = time.Now(), had
			default:
				begun = looked // all came between two looks
			}
			looked = time.Now()
		}
		took := time.Since(begun)
		for {
			ok, err := r.settled(ctx, n)
			if err != nil {
				return 0, 0, err
			}
			if ok {
				break
			}
			time.Sleep(time.Millisecond)
		}
		end()
		return n - int(first), took, <-done
	})
}

// commitAll commits n rows in large transactions.
func commitAll(ctx context.Context, r relay, n int) error {
	const chunk = 5_000
	for at := 0; at < n; at += chunk {
		ms := make([]message, 0, chunk)
		for i := at; i < min(n, at+chunk); i++ {
			m, err := newMessage(i, true)
			if err != nil {
				return err
			}
			ms = append(ms, m)
		}
		if err := r.commit(ctx, ms); err != nil {
			return err
		}
	}
	return nil
}

// relayLatencies commits perSecond rows a second, each alone, to a relay that runs, and returns how long it took from the
// return of the commit until a plain subscriber of the broker had the message, in order of length.
func relayLatencies(ctx context.Context, r relay, raw *rawNATS, perSecond int, span time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, span+time.Minute)
	defer cancel()
	n := int(span.Seconds() * float64(perSecond))
	committed := make([]time.Time, n+1)
	came := make(chan *nats.Msg, n+64)
	running, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() { done <- r.run(running) }()
	for _, subject := range []string{r.stream(), r.stream() + ".>"} {
		sub, err := raw.nc.ChanSubscribe(subject, came)
		if err != nil {
			return nil, err
		}
		defer func() { _ = sub.Unsubscribe() }() // the connection goes with the test
	}
	if err := raw.nc.Flush(); err != nil {
		return nil, err
	}
	arrived := make([]time.Time, n+1)
	wait := func() error {
		select {
		case m := <-came:
			now := time.Now()
			number, err := numberOf(m.Data)
			if err == nil {
				arrived[number] = now
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	commit := func(i int) error {
		m, err := newMessage(i, true)
		if err == nil {
			err = r.commit(ctx, []message{m})
		}
		committed[i] = time.Now()
		return err
	}
	// The relay works when the first row has come.
	if err := errors.Join(commit(n), wait()); err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() {
		begun := time.Now()
		for i := range n {
			time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
			if err := commit(i); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for range n {
		if err := wait(); err != nil {
			return nil, errors.Join(err, <-failed)
		}
	}
	if err := <-failed; err != nil {
		return nil, err
	}
	end()
	taken := make([]time.Duration, n)
	for i := range taken {
		taken[i] = max(0, arrived[i].Sub(committed[i]))
	}
	slices.Sort(taken)
	return taken, <-done
}

// soukRelay is the backbone's: a runtime with one service, whose log is appended to.
type soukRelay struct {
	name, broker string
	log          *slog.Logger
	store        *pgstore.Store
	bus          *natsbus.Bus
	runtime      *backbone.Runtime
}

// orderPlaced is the event that the service publishes.
type orderPlaced struct{}

// EventType implements backbone.Event.
func (orderPlaced) EventType() string { return eventType }

// newSoukRelay has run the service once, so that its subscription to what is addressed to it exists: one that is new reads the
// log from the beginning, and would do it beside the relay.
func newSoukRelay(ctx context.Context, name, database, broker string, log *slog.Logger) (*soukRelay, error) {
	r := &soukRelay{name: name, broker: broker, log: log}
	var err error
	if r.store, err = pgstore.Open(ctx, pgstore.Config{URL: database, Log: log}); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	if err := r.runtime.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := r.runtime.Start(ctx); err != nil {
		return nil, err
	}
	for idle := false; !idle; time.Sleep(10 * time.Millisecond) {
		if idle, err = r.runtime.Idle(ctx); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(r.runtime.Stop(ctx), r.bus.Close()); err != nil {
		return nil, err
	}
	return r, r.open()
}

func (r *soukRelay) open() (err error) {
	storeOf := func(string) driver.Store { return r.store }
	if r.bus, err = natsbus.New(natsbus.Config{Client: natsbus.ClientConfig{URL: r.broker}, Store: storeOf, Logger: r.log}); err != nil {
		return err
	}
	r.runtime, err = backbone.New(backbone.Config{
		Parts: []*backbone.Service{{Name: r.name, About: "Sells.", Publishes: []backbone.Event{orderPlaced{}}}},
		Store: storeOf, Transport: r.bus, Logger: r.log,
	})
	return err
}

func (r *soukRelay) commit(ctx context.Context, ms []message) error {
	tx, err := r.store.Begin(ctx)
	if err != nil {
		return err
	}
	w := driver.Writes{Records: make([]driver.Record, len(ms))}
	for i := range ms {
		w.Records[i] = ms[i].record
		w.Records[i].Position = 0
	}
	if err := tx.Apply(ctx, r.name, &w); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

func (r *soukRelay) run(ctx context.Context) error {
	if err := r.runtime.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return r.runtime.Stop(context.WithoutCancel(ctx))
}

func (r *soukRelay) settled(ctx context.Context, n int) (bool, error) {
	cps, err := r.store.Checkpoints(ctx, r.name, backbone.RelayName)
	return len(cps) == 1 && cps[0].Position >= int64(n), err
}

func (r *soukRelay) stream() string { return "souk_" + r.name }

func (r *soukRelay) close() error { return errors.Join(r.bus.Close(), r.store.Close()) }

// relayByHand is what one writes who wants an outbox: rows that are not sent are locked in their order, published without
// waiting for each, and marked in the same transaction once all are confirmed. Another one beside it takes other rows. It
// does not see what a broker has lost, and two of them do not keep the order of a stream.
type relayByHand struct {
	pool *pgxpool.Pool
	raw  *rawNATS
	name string
}

func newRelayByHand(ctx context.Context, name, database string, raw *rawNATS) (*relayByHand, error) {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, `CREATE TABLE outbox (position bigserial PRIMARY KEY, id text NOT NULL, stream text NOT NULL, version bigint NOT NULL,
			type text NOT NULL, at bigint NOT NULL, correlation text NOT NULL, trace text NOT NULL, actor text NOT NULL, body bytea NOT NULL,
			sent boolean NOT NULL DEFAULT false);
		CREATE INDEX outbox_unsent ON outbox (position) WHERE NOT sent`)
	if err == nil {
		err = raw.stream(ctx, name)
	}
	return &relayByHand{pool, raw, name}, err
}

func (r *relayByHand) commit(ctx context.Context, ms []message) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"outbox"}, []string{"id", "stream", "version", "type", "at", "correlation", "trace", "actor", "body"},
			pgx.CopyFromSlice(len(ms), func(i int) ([]any, error) {
				m := &ms[i].record
				return []any{
					m.ID, m.Stream, m.Version, m.Type, m.Time, m.ID, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
					"customer:" + m.Stream[len("order/"):], m.Data,
				}, nil
			}))
		if err == nil {
			_, err = tx.Exec(ctx, `NOTIFY outbox`)
		}
		return err
	})
}

func (r *relayByHand) run(ctx context.Context) error {
	listening, err := r.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer listening.Release()
	if _, err := listening.Exec(ctx, `LISTEN outbox`); err != nil {
		return err
	}
	for {
		n, err := r.batch(ctx)
		if err == nil && n == 0 {
			_, err = listening.Conn().WaitForNotification(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// batch publishes at most 512 rows.
func (r *relayByHand) batch(ctx context.Context) (n int, err error) {
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT position, id, stream, version, type, at, correlation, trace, actor, body FROM outbox
			WHERE NOT sent ORDER BY position LIMIT 512 FOR UPDATE SKIP LOCKED`)
		if err != nil {
			return err
		}
		var positions []int64
		messages, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*nats.Msg, error) {
			var position, version, at int64
			var id, stream, typ, correlation, trace, actor string
			var body []byte
			err := row.Scan(&position, &id, &stream, &version, &typ, &at, &correlation, &trace, &actor, &body)
			positions = append(positions, position)
			when, number := time.UnixMicro(at).UTC().Format(time.RFC3339Nano), fmt.Sprint(version)
			return &nats.Msg{Subject: r.name, Data: body, Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {source}, "ce-type": {typ}, "ce-subject": {stream}, "ce-time": {when},
				"ce-datacontenttype": {"application/json"}, "ce-partitionkey": {stream}, "ce-sequence": {fmt.Sprintf("%019d", version)},
				"ce-correlationid": {correlation}, "ce-causationid": {correlation}, "ce-traceparent": {trace}, "ce-recordedtime": {when},
				"ce-actor": {actor}, "ce-streamversion": {number}, "ce-logposition": {fmt.Sprint(position)},
			}}, err
		})
		if n = len(messages); err != nil || n == 0 {
			return err
		}
		if err := publishAsync(ctx, r.raw.js, n, func(i int) (*nats.Msg, error) { return messages[i], nil }); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE outbox SET sent = true WHERE position = ANY($1)`, positions)
		return err
	})
	return n, err
}

func (r *relayByHand) settled(ctx context.Context, n int) (bool, error) {
	var sent int
	err := r.pool.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE sent`).Scan(&sent)
	return sent >= n, err
}

func (r *relayByHand) stream() string { return r.name }

func (r *relayByHand) close() error {
	r.pool.Close()
	return nil
}

// millRelay is Watermill's forwarder over an outbox in PostgreSQL.
type millRelay struct {
	pool      *pgxpool.Pool
	raw       *rawNATS
	name, url string
}

const millOutbox = "outbox"

func newMillRelay(ctx context.Context, name, database, url string, raw *rawNATS) (*millRelay, error) {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return nil, err
	}
	r := &millRelay{pool, raw, name, url}
	subscriber, err := r.subscriber()
	if err == nil {
		err = errors.Join(subscriber.SubscribeInitialize(millOutbox), subscriber.Close(), raw.stream(ctx, name))
	}
	return r, err
}

func (r *millRelay) subscriber() (*wsql.Subscriber, error) {
	return wsql.NewSubscriber(wsql.BeginnerFromPgx(r.pool), wsql.SubscriberConfig{
		SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
		PollInterval: 10 * time.Millisecond, InitializeSchema: true,
	}, watermill.NopLogger{})
}

func (r *millRelay) commit(ctx context.Context, ms []message) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		inner, err := wsql.NewPublisher(wsql.TxFromPgx(tx), wsql.PublisherConfig{SchemaAdapter: wsql.DefaultPostgreSQLSchema{}}, watermill.NopLogger{})
		if err != nil {
			return err
		}
		publisher := forwarder.NewPublisher(inner, forwarder.PublisherConfig{ForwarderTopic: millOutbox})
		for len(ms) > 0 {
			list := make([]*wmessage.Message, min(len(ms), 1000)) // one statement each
			for i := range list {
				list[i] = millMessage(&ms[i])
			}
			if err := publisher.Publish(r.name, list...); err != nil {
				return err
			}
			ms = ms[len(list):]
		}
		return nil
	})
}

func (r *millRelay) run(ctx context.Context) error {
	subscriber, err := r.subscriber()
	if err != nil {
		return err
	}
	publisher, err := millnats.NewPublisher(millnats.PublisherConfig{URL: r.url}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	f, err := forwarder.NewForwarder(subscriber, publisher, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: millOutbox})
	if err != nil {
		return err
	}
	err = f.Run(ctx)
	return errors.Join(err, subscriber.Close(), publisher.Close())
}

// settled is true once the last acknowledgement is in the database.
func (r *millRelay) settled(ctx context.Context, n int) (bool, error) {
	var left int
	err := r.pool.QueryRow(ctx, `SELECT $1 - count(*) FROM watermill_outbox m, watermill_offsets_outbox o
		WHERE m."offset" <= o.offset_acked`, n).Scan(&left)
	return left <= 0, err
}

func (r *millRelay) stream() string { return r.name }

func (r *millRelay) close() error {
	r.pool.Close()
	return nil
}
