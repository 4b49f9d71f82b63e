package logbus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// memory is as much of a store, in memory, as a Bus needs. Time is the process's
// own, so that it works with synctest.
type memory struct {
	driver.Store
	powers driver.StorePowers

	mu     sync.Mutex
	logs   map[string][]driver.Record
	points map[string][]driver.Checkpoint // by service and subscription
	values map[string][]byte
	wakes  map[*listening]bool
	reads  int
	down   error // what every call fails with
}

type listening struct {
	services []string
	wake     func(string, int64, bool)
}

func newMemory(p driver.StorePowers) *memory {
	return &memory{
		powers: p, logs: map[string][]driver.Record{}, points: map[string][]driver.Checkpoint{},
		values: map[string][]byte{}, wakes: map[*listening]bool{},
	}
}

func (m *memory) lock() error {
	m.mu.Lock()
	if m.down != nil {
		m.mu.Unlock()
		return m.down
	}
	return nil
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// commit appends records, assigns their positions, and wakes listeners.
func (m *memory) commit(source string, rs ...driver.Record) []driver.Record {
	rs = m.append(source, rs...)
	m.tell(source)
	return rs
}

// append appends records and assigns their positions.
func (m *memory) append(source string, rs ...driver.Record) []driver.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := len(m.logs[source])
	for i := range rs {
		rs[i].Position = int64(at + i + 1)
	}
	m.logs[source] = append(m.logs[source], rs...)
	return slices.Clone(rs)
}

// tell wakes those who listen to a log.
func (m *memory) tell(source string) {
	m.mu.Lock()
	head := int64(len(m.logs[source]))
	var wakes []func(string, int64, bool)
	for l := range m.wakes {
		if slices.Contains(l.services, source) {
			wakes = append(wakes, l.wake)
		}
	}
	m.mu.Unlock()
	for _, w := range wakes {
		w(source, head, false)
	}
}

func (m *memory) Powers() driver.StorePowers { return m.powers }

func (m *memory) Now(context.Context) (time.Time, error) { return time.Now(), nil }

func (m *memory) Head(_ context.Context, service string) (int64, error) {
	if err := m.lock(); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	return int64(len(m.logs[service])), nil
}

func (m *memory) Read(_ context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	m.reads++
	var out []driver.Record
	total := 0
	for _, r := range m.logs[service][min(int(q.After), len(m.logs[service])):] {
		switch {
		case q.Until > 0 && r.Position > q.Until, len(out) == q.Limit, q.Bytes > 0 && total >= q.Bytes:
			return out, nil
		case r.ID == "pruned",
			len(q.Kinds) > 0 && !slices.Contains(q.Kinds, r.Kind),
			len(q.Types) > 0 && !slices.Contains(q.Types, r.Type),
			q.Target != "" && q.Target != r.Target:
			continue
		}
		out, total = append(out, r), total+len(r.Data)
	}
	return out, nil
}

func (m *memory) Listen(ctx context.Context, services []string, wake func(string, int64, bool)) error {
	l := &listening{services, wake}
	m.mu.Lock()
	m.wakes[l] = true
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	delete(m.wakes, l)
	m.mu.Unlock()
	return ctx.Err()
}

func (m *memory) InitSubscription(_ context.Context, service, name string, n int, from map[string]int64) (int, error) {
	if err := m.lock(); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	id := service + "/" + name
	if len(m.points[id]) > 0 {
		return len(m.points[id]) / len(from), nil
	}
	for source, position := range from {
		for i := range n {
			m.points[id] = append(m.points[id], driver.Checkpoint{Subscription: name, Source: source, Slice: i, Position: position})
		}
	}
	return n, nil
}

func (m *memory) Claim(_ context.Context, service, name, owner string, limit int, lease time.Duration, _ ...int) ([]driver.Checkpoint, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := time.Now().UnixMicro()
	ps := m.points[service+"/"+name]
	var take []int
	for _, own := range []bool{true, false} {
		for _, c := range ps {
			free := c.Owner == "" || c.LeaseUntil <= now
			if (c.Owner == owner) == own && (own || free) && len(take) < limit && !slices.Contains(take, c.Slice) {
				take = append(take, c.Slice)
			}
		}
	}
	var out []driver.Checkpoint
	for i := range ps {
		if slices.Contains(take, ps[i].Slice) {
			ps[i].Epoch++
			ps[i].Owner, ps[i].LeaseUntil = owner, now+lease.Microseconds()
			out = append(out, ps[i])
		}
	}
	return out, nil
}

func (m *memory) Renew(ctx context.Context, service, name, owner string, lease time.Duration) ([]int, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var out []int
	ps := m.points[service+"/"+name]
	for i := range ps {
		if ps[i].Owner == owner {
			ps[i].LeaseUntil = time.Now().Add(lease).UnixMicro()
			out = append(out, ps[i].Slice)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (m *memory) Standing(_ context.Context, service, name string, values ...string) (driver.Standing, error) {
	out := driver.Standing{Values: map[string][]byte{}}
	if err := m.lock(); err != nil {
		return out, err
	}
	defer m.mu.Unlock()
	ps := m.points[service+"/"+name]
	for i := range ps {
		if ps[i].Source == ps[0].Source {
			out.Leases = append(out.Leases, driver.Lease{Slice: ps[i].Slice, Owner: ps[i].Owner, Until: ps[i].LeaseUntil})
		}
	}
	for _, v := range values {
		if value, ok := m.values[service+"/"+v]; ok {
			out.Values[v] = value
		}
	}
	return out, nil
}

func (m *memory) Release(_ context.Context, service, name, owner string, held []int) error {
	if err := m.lock(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	ps := m.points[service+"/"+name]
	for i := range ps {
		if ps[i].Owner == owner && slices.Contains(held, ps[i].Slice) {
			ps[i].Owner, ps[i].LeaseUntil = "", 0
		}
	}
	return nil
}

func (m *memory) Checkpoints(_ context.Context, service, name string) ([]driver.Checkpoint, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return slices.Clone(m.points[service+"/"+name]), nil
}

func (m *memory) Value(_ context.Context, service, name string) ([]byte, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return m.values[service+"/"+name], nil
}

func (m *memory) SetValue(_ context.Context, service, name string, value []byte) error {
	if err := m.lock(); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.values[service+"/"+name] = value
	return nil
}

func (m *memory) Begin(context.Context) (driver.Tx, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return &memoryTx{store: m}, nil
}

// memoryTx applies moves and records, all or nothing, when it commits.
type memoryTx struct {
	driver.Tx
	store   *memory
	service string
	writes  *driver.Writes
}

func (t *memoryTx) Apply(_ context.Context, service string, w *driver.Writes) error {
	t.service, t.writes = service, w
	return nil
}

func (t *memoryTx) Commit(context.Context) error {
	if err := t.store.lock(); err != nil {
		return err
	}
	var rows []*driver.Checkpoint
	for _, v := range t.writes.Moves {
		ps := t.store.points[t.service+"/"+v.Subscription]
		i := slices.IndexFunc(ps, func(c driver.Checkpoint) bool {
			return c.Source == v.Source && c.Slice == v.Slice && c.Epoch == v.Epoch && c.Position == v.From
		})
		if i < 0 {
			t.store.mu.Unlock()
			return errors.Join(driver.ErrConflict)
		}
		rows = append(rows, &ps[i])
	}
	for i, v := range t.writes.Moves {
		rows[i].Position = v.To
	}
	t.store.mu.Unlock()
	if len(t.writes.Records) > 0 {
		t.store.commit(t.service, t.writes.Records...)
	}
	return nil
}

func (t *memoryTx) Rollback() error { return nil }
