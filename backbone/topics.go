package backbone

import (
	"context"
	"slices"

	"example.org/souk/backbone/driver"
)

// Subscriptions returns those of all parts, whether they run here or not.
func (r *Runtime) Subscriptions() (list []driver.Subscription) {
	for _, h := range append(slices.Clone(r.order), r.elsewhere...) {
		for _, s := range h.subs {
			list = append(list, s.spec)
		}
	}
	return list
}

// Topics returns what the broker keeps of what travels between the parts, with what their subscriptions have not settled.
// Where the log carries it, there are none and system is "".
func (r *Runtime) Topics(ctx context.Context) (system string, topics []driver.Topic, err error) {
	t, ok := r.cfg.Transport.(driver.Topiced)
	if !ok {
		return "", nil, nil
	}
	topics, err = t.Topics(ctx, r.Subscriptions())
	return t.System(), topics, err
}
