package house

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// onlooker opens what stays open in a mall, wherever there is such a way in.
type onlooker struct {
	*board
	tokens   map[string]string // by who they are of
	routes   map[string]bool   // those that were opened, by their patterns
	patience context.Context   // what was not cut by its end was not
}

// open is something that stays open. ended returns when it does not any more, with nil where it ended as it should.
type open struct {
	what  string
	ended func() error
}

// What is revoked ends within five seconds wherever it is open: each route that stays open is in the list, in each way in which somebody may have it open, and so
// are the streams of programs and of robots, and the connection of a device. Red when one of them does not follow the credentials it was opened with, a session at
// a kiosk as well as the kiosk's own login, and when a route that stays open is not in the list.
func TestF10_RevocationCutsStreams(t *testing.T) {
	t.Parallel()
	h := opened(t, func(c *Config) { c.MQTT.Address = "127.0.0.1:0" })
	w := &onlooker{board: &board{t: t, h: h}, tokens: map[string]string{}, routes: map[string]bool{}}
	for _, g := range []door.Grant{
		{Role: door.Staff, Rank: door.Clerk, Subject: "s"},
		{Role: door.Customer, Subject: "c"},
		{Role: door.Engineer, Subject: "e"},
		{Role: door.Device, Subject: "kiosk-1"},
		{Role: door.Device, Subject: "kiosk-2"},
	} {
		token, _, err := h.Authority.Issue(g)
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[g.Subject] = token
	}
	w.token = w.tokens["s"]
	order, basket := w.shopped()
	remembered := "souk-basket=" + basket
	session := remembered + "; souk-shopper=" + w.tokens["c"]

	for _, c := range []struct {
		revoke func() error
		open   func() []open
	}{
		{func() error { return h.Authority.RevokeSubject(door.Engineer, "e") }, func() []open {
			return []open{w.sees("e", "GET /console/events", "/console/events", ""), w.reflects(), w.readsLog()}
		}},
		{func() error { return h.Authority.RevokeSubject(door.Staff, "s") }, func() []open { return []open{w.hears("s", "GET /staff/feed", "/staff/feed")} }},
		{func() error { return h.Authority.RevokeSubject(door.Device, "kiosk-2") }, func() []open {
			return []open{
				w.sees("kiosk-2", "GET /kiosk/basket/events", "/kiosk/basket/events", session),
				w.sees("kiosk-2", "GET /kiosk/orders/{order}/events", "/kiosk/orders/"+order+"/events", session),
				w.sees("kiosk-2", "GET /kiosk/pay/events", "/kiosk/pay/events", session),
			}
		}},
		{func() error { return h.Authority.RevokeSubject(door.Customer, "c") }, func() []open {
			return []open{
				w.hears("c", "GET /feed", "/feed"),
				w.sees("c", "GET /kiosk/v1/baskets/{basket}/events", "/kiosk/v1/baskets/"+basket+"/events", ""),
				w.sees("c", "GET /kiosk/v1/orders/{order}/events", "/kiosk/v1/orders/"+order+"/events", ""),
				w.sees("c", "GET /kiosk/basket/events", "/kiosk/basket/events", remembered),
				w.sees("kiosk-1", "GET /kiosk/basket/events", "/kiosk/basket/events", session),
				w.sees("kiosk-1", "GET /kiosk/orders/{order}/events", "/kiosk/orders/"+order+"/events", session),
				w.sees("kiosk-1", "GET /kiosk/pay/events", "/kiosk/pay/events", session),
			}
		}},
		{w.revoked("robot-1"), func() []open { return []open{w.works("robot-1")} }},
		{w.revoked("gate-1"), func() []open { return []open{w.connects("gate-1")} }},
	} {
		ctx, giveUp := context.WithCancel(t.Context())
		w.patience = ctx
		list := c.open()
		if err := c.revoke(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		limit := time.AfterFunc(6*time.Second, giveUp)
		for _, o := range list {
			if err := o.ended(); err != nil {
				t.Errorf("%s: %v", o.what, err)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("%s stays open for %v", o.what, d)
			}
		}
		limit.Stop()
		giveUp()
	}
	for _, rt := range h.Door.Routes() {
		if rt.Stream && !w.routes[rt.Pattern] {
			t.Errorf("%s stays open, and it was not tried whether it ends", rt.Pattern)
		}
	}
	for path, stream := range methods(t, h) {
		tried := []string{"/souk.v1.LogService/ReadLog", "/souk.robots.v1.RobotsService/Work", reflection}
		processes := []string{"/souk.v1.OrdersService/FollowFeeds", "/souk.v1.DepotService/FollowRobots"} // they alone are let in there, by their certificates
		alike := []string{"/souk.v1.ControlService/RebuildView", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Watch"}
		ours := strings.HasPrefix(path, "/souk.") || strings.HasPrefix(path, "/grpc.")
		if stream && ours && !slices.Contains(slices.Concat(tried, processes, alike), path) {
			t.Errorf("%s stays open, and it was not tried whether it ends", path)
		}
	}
}

// shopped returns an order and a basket of the customer c.
func (w *onlooker) shopped() (order, basket string) {
	w.t.Helper()
	name, err := w.h.Keys.Seal(w.t.Context(), "c", "Cleo")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range []backbone.Command{
		command.CreateStore{Store: "hall", Name: "Hall", Location: mall.MainLocation},
		command.EnableParticipation{Store: "hall"},
		command.AddProduct{Product: "lamp", Store: "hall", Name: "Lamp", SKU: "lamp", Price: mall.Money{Amount: 100, Currency: "EUR"}},
		command.ReceiveStock{SKU: "lamp", Location: mall.MainLocation, Quantity: 5},
		command.RegisterCustomer{Customer: "c", Name: mall.Personal(name)},
	} {
		w.do(c)
	}
	post := func(path, body string, into any) bool {
		status, answer := w.kiosk(path, body)
		return status < 300 && json.Unmarshal(answer, into) == nil
	}
	fill := func() (basket string) {
		var b struct{ Basket string }
		w.until("a basket is begun", func() bool { return post("/baskets", "", &b) })
		w.until("something is in it", func() bool {
			return post("/baskets/"+b.Basket+"/items", `{"product":"lamp","quantity":1}`, &struct{}{})
		})
		return b.Basket
	}
	var o struct{ Order string }
	first := fill()
	w.until("it is checked out", func() bool { return post("/baskets/"+first+"/checkout", "", &o) })
	w.until("there is an order", func() bool {
		return try(w.t, w.h.Door, "GET", "/kiosk/v1/orders/"+o.Order, w.tokens["c"], "", "").Code == http.StatusOK
	})
	return o.Order, fill()
}

// kiosk sends something to the kiosk's API as the customer c.
func (w *onlooker) kiosk(path, body string) (status int, answer []byte) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.h.URL()+"/kiosk/v1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + w.tokens["c"]}, "Idempotency-Key": {rand.Text()}, "Content-Type": {"application/json"}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// sees opens a stream of events that a server sends, with cookies.
func (w *onlooker) sees(who, pattern, path, cookies string) open {
	w.t.Helper()
	w.routes[pattern] = true
	r, err := http.NewRequestWithContext(w.patience, http.MethodGet, w.h.URL()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + w.tokens[who]}}
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("%s by %s: %s %v %s", path, who, resp.Status, resp.Header, text)
	}
	return open{path + " of " + who, func() error {
		_, err := io.Copy(io.Discard, resp.Body)
		if errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}}
}

// hears opens a socket.
func (w *onlooker) hears(who, pattern, path string) open {
	w.t.Helper()
	w.routes[pattern] = true
	ctx := w.patience
	socket, _, err := websocket.Dial(ctx, strings.Replace(w.h.URL(), "http", "ws", 1)+path, //nolint:bodyclose // the library owns the body of an upgraded connection
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + w.tokens[who]}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = socket.CloseNow() })
	return open{path, func() error {
		for {
			if _, _, err := socket.Read(ctx); err != nil {
				return ctx.Err()
			}
		}
	}}
}

// slowly is a client of programs and robots that takes little at a time.
func (w *onlooker) slowly() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10}}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

// reflects has the program of the engineer e ask which services there are; it may go on asking.
func (w *onlooker) reflects() open {
	w.t.Helper()
	stream := connect.NewClient[emptypb.Empty, emptypb.Empty](w.slowly(), w.h.URL()+reflection, connect.WithGRPC()).CallBidiStream(w.patience)
	stream.RequestHeader().Set("Authorization", "Bearer "+w.tokens["e"])
	const listServices = 7 // field of a request, see the contract of grpc.reflection.v1
	request := &emptypb.Empty{}
	request.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, listServices, protowire.BytesType), "*"))
	if err := stream.Send(request); err != nil {
		w.t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		w.t.Fatal(err)
	}
	w.noLonger(stream)
	return open{"reflection", func() error {
		_, err := stream.Receive()
		if errors.Is(err, io.EOF) || connect.CodeOf(err) == connect.CodeUnauthenticated {
			return nil
		}
		return err
	}}
}

// noLonger ends a stream that was not cut: whoever may still say something on it is not ended by its context.
func (w *onlooker) noLonger(stream interface {
	CloseRequest() error
	CloseResponse() error
},
) {
	context.AfterFunc(w.patience, func() { _, _ = stream.CloseRequest(), stream.CloseResponse() })
}

// readsLog has the program of the engineer e begin to read a log, which is too long to be sent to it at once.
func (w *onlooker) readsLog() open {
	w.t.Helper()
	const records = 600
	for i := range records {
		w.do(command.RebrandProduct{Product: "lamp", Name: "Lamp", Description: strings.Repeat("long ", 700) + strings.Repeat("x", i)})
	}
	stream, err := soukv1connect.NewLogServiceClient(w.slowly(), w.h.URL(), connect.WithGRPC()).ReadLog(w.patience, withToken(&soukv1.ReadLogRequest{Service: "stores"}, w.tokens["e"]))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = stream.Close() })
	if !stream.Receive() {
		w.t.Fatal(stream.Err())
	}
	return open{"the log", func() error {
		for stream.Receive() {
		}
		if err := stream.Err(); connect.CodeOf(err) != connect.CodeUnauthenticated {
			return errors.Join(errors.New("it does not end because of the login"), err)
		}
		return nil
	}}
}

func withToken[T any](m *T, token string) *connect.Request[T] {
	r := connect.NewRequest(m)
	r.Header().Set("Authorization", "Bearer "+token)
	return r
}

// revoked revokes the login of a device.
func (w *onlooker) revoked(device string) func() error {
	return func() error {
		answer, err := w.h.Do(w.t.Context(), devices.RevokeDevice{Device: device, Reason: "lost"})
		return errors.Join(err, answer.Err())
	}
}

// works lets a robot in, and has it say how it is.
func (w *onlooker) works(robot string) open {
	w.t.Helper()
	stream := robotsv1connect.NewRobotsServiceClient(w.slowly(), w.h.URL(), connect.WithGRPC()).Work(w.patience)
	stream.RequestHeader().Set("Authorization", basic(robot, admit(w.t, w.h, devices.Login{Device: robot, Store: "hall", Kind: devices.Robot})))
	for _, m := range []*robotsv1.WorkRequest{
		{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{Session: "s1", Carries: 5}}},
		{Say: &robotsv1.WorkRequest_Status{Status: &robotsv1.RobotStatus{Mode: robotsv1.RobotMode_ROBOT_MODE_CHARGING, Battery: 50}}},
	} {
		if err := stream.Send(m); err != nil {
			w.t.Fatal(err)
		}
	}
	if m, err := stream.Receive(); err != nil || m.GetWelcome() == nil {
		w.t.Fatalf("%v %v", m, err)
	}
	w.noLonger(stream)
	return open{robot, func() error {
		for {
			if _, err := stream.Receive(); connect.CodeOf(err) == connect.CodeUnauthenticated {
				return nil
			} else if err != nil {
				return err
			}
		}
	}}
}

// connects lets a gate in.
func (w *onlooker) connects(gate string) open {
	w.t.Helper()
	l := devices.Login{Device: gate, Store: "hall", Kind: devices.Gate}
	v, code := enters(w.t, w.h, l, admit(w.t, w.h, l))
	if code != 0 || !v.hears("payment-due")[0] {
		w.t.Fatalf("%s is not let in: %#x", gate, code)
	}
	ctx := w.patience
	return open{gate, func() error {
		select {
		case <-v.client.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}
