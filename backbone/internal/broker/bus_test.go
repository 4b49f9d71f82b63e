package broker_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

// TestContract runs the suite over a broker in memory that cuts connections, forgets what was settled out of order, and
// confirms less than it keeps.
func TestContract(t *testing.T) {
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		s := newServer()
		url := testserver.Postgres(t).Database(t)
		open := func(lease time.Duration) func(t *testing.T) drivertest.TransportInstance {
			return func(t *testing.T) drivertest.TransportInstance {
				store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = store.Close() })
				faulty := &drivertest.FaultyStore{Store: store}
				bus := broker.New(broker.Config{
					Client: &client{s}, Store: func(string) driver.Store { return faulty }, Lease: lease, Poll: 50 * time.Millisecond,
				})
				return drivertest.TransportInstance{Transport: bus, Store: faulty, Crash: faulty.Crash, Isolate: faulty.Isolate}
			}
		}
		return drivertest.TransportWorld{
			Many: true, Copies: true,
			Open: open(time.Second), Steady: open(30 * time.Second),
			Server: &drivertest.TransportServer{Kill: s.kill, Restart: s.restart, Pause: s.pause, Resume: s.resume, Forget: s.forget},
		}
	})
}
