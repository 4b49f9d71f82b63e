package backbone

import (
	"context"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// lookAge is how old a look may be that is shared. Whoever looks after services does so by ticks, which all begin at the start.
const lookAge = 100 * time.Millisecond

// sharedLookAge is how old the look may be that says that no timer is due and no call is to be made, so that it is the one at requests.
const sharedLookAge = requestsEvery + lookAge

// looks are what was last seen of the services of a database that run here, in one look for all of them. Its methods may be called
// concurrently.
type looks struct {
	store    driver.Looker
	services []string

	mu    sync.Mutex
	at    time.Time
	found map[string]driver.Look
}

// of tells how things stand with a service, or did not longer than age ago; not, where the look failed.
func (l *looks) of(ctx context.Context, service string, age time.Duration) (driver.Look, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if began := time.Now(); began.Sub(l.at) > age { //souk:clock the age of what is seen
		found, err := l.store.Look(ctx, l.services)
		if err != nil {
			return driver.Look{}, false
		}
		l.at, l.found = began, found
	}
	look, ok := l.found[service]
	return look, ok
}

// forget has the next who asks look anew.
func (l *looks) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}

// look tells how things stand with a service, or did not longer than age ago; not, where its database does not tell at a glance.
func (h *host) look(ctx context.Context, age time.Duration) (driver.Look, bool) {
	if l := h.r.looks[h.store]; l != nil {
		return l.of(ctx, h.svc.Name, age)
	}
	return driver.Look{}, false
}
