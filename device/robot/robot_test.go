package robot

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	soukv1 "example.org/souk/api/gen/souk/v1"
)

// host welcomes robots and says nothing more until they are gone.
type host struct {
	robotsv1connect.UnimplementedRobotsServiceHandler
	gone chan struct{} // one for each
}

func (h host) Work(ctx context.Context, stream *connect.BidiStream[robotsv1.WorkRequest, robotsv1.WorkResponse]) error {
	if _, err := stream.Receive(); err != nil {
		return err
	}
	err := stream.Send(&robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Welcome{Welcome: &robotsv1.Welcome{StatusEveryMs: 3_600_000}}})
	if err != nil {
		return err
	}
	<-ctx.Done()
	h.gone <- struct{}{}
	return ctx.Err()
}

// lines hands on what robots say, line by line.
type lines chan string

func (l lines) Write(text []byte) (int, error) { l <- string(text); return len(text), nil }

// serve has robots connect to a host.
func serve(t *testing.T, h robotsv1connect.RobotsServiceHandler) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(robotsv1connect.NewRobotsServiceHandler(h))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections() // else it would wait for robots that do not go
		server.Close()
	})
	return server.URL
}

// slow gives a robot an order with two stops. What it has done at the first is taken while it hears nothing, if it is the first time that it says so.
type slow struct {
	robotsv1connect.UnimplementedRobotsServiceHandler
	vanished chan struct{} // closed when the robot hears nothing, at the second stop
	handed   chan int      // how often the first stop was told of until the goods were handed in
	first    atomic.Int64
}

func (s *slow) Work(_ context.Context, stream *connect.BidiStream[robotsv1.WorkRequest, robotsv1.WorkResponse]) error {
	m, err := stream.Receive()
	if err != nil {
		return err
	}
	say := []*robotsv1.WorkResponse{{Say: &robotsv1.WorkResponse_Welcome{Welcome: &robotsv1.Welcome{StatusEveryMs: 3_600_000}}}}
	if m.GetHello().GetOrder().GetOrderId() == "" {
		order := &robotsv1.RobotOrder{Order: &robotsv1.OrderRef{OrderId: "list", UpdateId: 1}}
		for n := range 2 {
			order.Stops = append(order.Stops, &robotsv1.OrderStop{Stop: int64(n) + 1, Sku: "cup", Quantity: 1, At: &soukv1.Place{Y: 100}, Released: true})
		}
		say = append(say, &robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Order{Order: order}})
	}
	for {
		for _, m := range say {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		say = nil
		if m, err = stream.Receive(); err != nil {
			return err
		}
		a := m.GetAction()
		if a == nil {
			continue
		}
		switch {
		case a.GetKind() == robotsv1.ActionKind_ACTION_KIND_HAND_IN:
			s.handed <- int(s.first.Load())
		case a.GetStop() == 1 && s.first.Add(1) == 1:
			<-s.vanished
		}
		say = append(say, &robotsv1.WorkResponse{Say: &robotsv1.WorkResponse_Taken{Taken: &robotsv1.Taken{Number: a.GetNumber()}}})
	}
}

// A robot that heard nothing for a while says again what it does not know to be taken: else it would wait at the depot for ever, and the depot for it.
func TestARobotComesBack(t *testing.T) {
	t.Parallel()
	s := &slow{vanished: make(chan struct{}), handed: make(chan int, 10)}
	url := serve(t, s)
	ctx, goHome := context.WithCancel(t.Context())
	said, ended := make(lines, 1000), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Server: url, Robots: []Login{{Robot: "a", Password: "p"}}, Speed: 10_000, Faults: Faults{Vanish: 100, VanishMS: 500}, Out: said,
		})
	}()
	limit := time.After(20 * time.Second)
	vanished := 0
	for {
		select {
		case line := <-said:
			if strings.Contains(line, "vanished") {
				if vanished++; vanished == 2 {
					close(s.vanished)
				}
			}
			continue
		case n := <-s.handed:
			if n != 2 {
				t.Errorf("the first stop was told of %d times", n)
			}
		case <-limit:
			t.Error("nothing is handed in")
		}
		goHome()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return
	}
}

// Robots go when they are told to, also while nothing is said on their streams. Red when they wait for a stream that is only cancelled.
func TestRobotsGo(t *testing.T) {
	t.Parallel()
	h := host{gone: make(chan struct{}, 2)}
	url := serve(t, h)
	ctx, goHome := context.WithCancel(t.Context())
	defer goHome()
	said, ended := make(lines, 100), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Server: url, Robots: []Login{{Robot: "a", Password: "p"}, {Robot: "b", Password: "p"}}, Out: said})
	}()
	limit := time.After(20 * time.Second)
	for connected := 0; connected < 2; {
		select {
		case line := <-said:
			if strings.Contains(line, "connected") {
				connected++
			}
		case <-limit:
			t.Fatal("nobody was welcomed")
		}
	}
	goHome()
	for gone := 0; gone < 3; gone++ {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-h.gone:
		case <-limit:
			t.Fatal("they were told to go and are there")
		}
	}
}

// closed lets nobody in until it is opened.
type closed struct {
	host
	open  atomic.Bool
	tries atomic.Int64
}

func (c *closed) Work(ctx context.Context, stream *connect.BidiStream[robotsv1.WorkRequest, robotsv1.WorkResponse]) error {
	if !c.open.Load() {
		c.tries.Add(1)
		return connect.NewError(connect.CodeUnauthenticated, errors.New("say who you are"))
	}
	return c.host.Work(ctx, stream)
}

// A robot whose login is refused says so once, in words that help, however often it tries, and works when the login is given. Red when each try is told.
func TestARefusedLoginIsToldOnce(t *testing.T) {
	t.Parallel()
	c := &closed{host: host{gone: make(chan struct{}, 1)}}
	url := serve(t, c)
	ctx, goHome := context.WithCancel(t.Context())
	defer goHome()
	said, ended := make(lines, 100), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Server: url, Robots: []Login{{Robot: "a", Password: "p"}}, Out: said})
	}()
	limit := time.After(time.Minute)
	for c.tries.Load() < 3 {
		select {
		case <-limit:
			t.Fatalf("it tried %d times", c.tries.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
	c.open.Store(true)
	var told []string
	for len(told) == 0 || !strings.Contains(told[len(told)-1], `"connected"`) {
		select {
		case line := <-said:
			told = append(told, line)
		case <-limit:
			t.Fatalf("it was not let in: %q", told)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], "not_connected") || !strings.Contains(told[0], refused) {
		t.Errorf("it said %q", told)
	}
	goHome()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
