package robot

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
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

// Robots go when they are told to, also while nothing is said on their streams. Red when they wait for a stream that is only cancelled.
func TestRobotsGo(t *testing.T) {
	t.Parallel()
	h := host{gone: make(chan struct{}, 2)}
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

	ctx, goHome := context.WithCancel(t.Context())
	defer goHome()
	said, ended := make(lines, 100), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Server: server.URL, Robots: []Login{{Robot: "a", Password: "p"}, {Robot: "b", Password: "p"}}, Out: said})
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
