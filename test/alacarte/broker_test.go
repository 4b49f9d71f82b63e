package alacarte

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone"
)

// natsServer is a NATS server of a test's own, which may be killed.
type natsServer struct {
	url   string
	start func()
	kill  func()
}

func startNATS(t *testing.T) natsServer {
	t.Helper()
	program, err := exec.CommandContext(t.Context(), "../../scripts/server", "nats-server").Output()
	if err != nil {
		t.Fatalf("no NATS server: make servers builds it: %v", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().(*net.TCPAddr)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	var cmd *exec.Cmd
	s := natsServer{
		url: "nats://" + addr.String(),
		start: func() {
			t.Helper()
			cmd = exec.Command(strings.TrimSpace(string(program)), "-js", "-sd", store, "-a", "127.0.0.1", "-p", strconv.Itoa(addr.Port))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
		},
		kill: func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it says that it was killed
		},
	}
	s.start()
	t.Cleanup(func() { s.kill() })
	return s
}

// beside runs a program's part beside the test until it is ended.
func beside(t *testing.T, part func(context.Context) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := part(ctx); err != nil {
			t.Error(err)
		}
	})
	end = func() { cancel(); ended.Wait() }
	t.Cleanup(end)
	return end
}

// TestOverABroker has the shop's orders reach a board in another database and a consumer that is none of the backbone's over NATS, each once, although
// the relay ends and begins again, and NATS is killed. Red where the relay runs for the first orders only, and where what NATS brings is not looked up
// in the inbox.
func TestOverABroker(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	db, path := created(t)
	own := filepath.Join(t.TempDir(), "board.db")
	place := func(round string) {
		t.Helper()
		for n := range 20 {
			if err := Place(t.Context(), db, OrderPlaced{Order: fmt.Sprintf("%s-%d", round, n), Customer: fmt.Sprintf("C%d", n%3), Cents: int64(100 + n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	place("before")
	endRelay := beside(t, func(ctx context.Context) error { return Relay(ctx, path, server.url) })
	endBoard := beside(t, func(ctx context.Context) error { return RunBoard(ctx, own, server.url) })
	place("beside")
	awaitSums(t, own, 40)
	endRelay()
	place("between")
	server.kill()
	server.start()
	endRelay = beside(t, func(ctx context.Context) error { return Relay(ctx, path, server.url) })
	place("after")
	awaitSums(t, own, 80)
	endBoard()
	endRelay()

	points := opened(t, filepath.Join(t.TempDir(), "points.db"))
	if err := Create(t.Context(), points); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time everything comes again
		consume(t, server.url, 80, func(m *backbone.Message) {
			var o OrderPlaced
			if err := json.Unmarshal(m.Data, &o); err != nil {
				t.Fatal(err)
			}
			if err := Award(t.Context(), points, m, o.Customer); err != nil {
				t.Fatal(err)
			}
		})
	}
	if n := number(t, points, `SELECT sum(points) FROM points`); n != 80 {
		t.Errorf("%d points for 80 orders", n)
	}
}

// awaitSums waits until the board in a database shows a number of orders.
func awaitSums(t *testing.T, path string, want int64) {
	t.Helper()
	db := opened(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute/4)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var n sql.NullInt64
		err := db.QueryRowContext(ctx, `SELECT sum(orders) FROM board_sums`).Scan(&n)
		if err == nil && n.Int64 == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the board shows %d orders, want %d: %v", n.Int64, want, err)
		}
	}
}

// consume hands over a number of the shop's events as a stock client of JetStream receives them.
func consume(t *testing.T, url string, number int, handle func(*backbone.Message)) {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), "souk_shop", jetstream.ConsumerConfig{FilterSubject: "souk_shop.*.shop_OrderPlaced.v1"})
	if err != nil {
		t.Fatal(err)
	}
	for range number {
		m, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		read, err := Read(&nats.Msg{Header: m.Headers(), Data: m.Data()})
		if err != nil {
			t.Fatal(err)
		}
		handle(read)
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}
