package house

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/internal/peers"
)

// A list of databases says of which services another process is asked. Red where such an entry is taken for a host of the address before it.
func TestDatabasesThatAreNotReached(t *testing.T) {
	t.Parallel()
	const url, other = "postgres://a,b:5433/mall?sslmode=disable", "postgres://c/orders"
	for text, want := range map[string]map[string]string{
		url + ",orders=rpc":                        {"orders": OverRPC},
		url + ",orders=rpc,stores=rpc":             {"orders": OverRPC, "stores": OverRPC},
		"orders=rpc," + url:                        {"orders": OverRPC},
		url + ",orders=" + other + ",stores=rpc":   {"orders": other, "stores": OverRPC},
		url + ",stores=rpc,orders=" + other:        {"orders": other, "stores": OverRPC},
		url + ",orders=rpc,orders=" + other:        nil,
		url + ",orders=" + other + ",orders=rpc":   nil,
		url + ",rpc":                               {}, // a host of that name
		"orders=rpc":                               nil,
		"rpc":                                      nil,
		url + ",orders=rpcs":                       {},
		url + ",stores=rpc,orders=elsewhere://c/d": nil,
	} {
		shared, own, err := ParseDatabases(text)
		if want == nil {
			if err == nil {
				t.Errorf("%s: taken, as %q and %v", text, shared, own)
			}
			continue
		}
		if err != nil || !strings.HasPrefix(shared, url) || len(own) != len(want) {
			t.Errorf("%s: %q, %v, %v", text, shared, own, err)
		}
		for service, address := range want {
			if own[service] != address {
				t.Errorf("%s: %s has %q, want %q", text, service, own[service], address)
			}
		}
	}
}

// A process without the database of a service is refused where it cannot do without. Red for each that begins and finds nothing.
func TestRefusedWithoutADatabase(t *testing.T) {
	t.Parallel()
	parts := Parts(Ports{Intake: true})
	for name, c := range map[string]struct {
		config Config
		abroad string
		says   string // "": it begins
	}{
		"over a broker":                     {Config{Run: []string{"search"}, Broker: "nats://b"}, "orders", ""},
		"over the log":                      {Config{Run: []string{"search"}}, "orders", "name one with --broker"},
		"in one process":                    {Config{Broker: "nats://b"}, "orders", "nobody to ask"},
		"it runs here":                      {Config{Run: []string{"orders", "search"}, Broker: "nats://b"}, "orders", "it runs here"},
		"the command line":                  {Config{Quiet: true, DB: "postgres://a/b"}, "orders", "the command line reads"},
		"nobody's":                          {Config{Run: []string{"search"}, Broker: "nats://b"}, "order", "there is no service"},
		"the console":                       {Config{Run: []string{"console"}, Broker: "nats://b"}, "orders", "console shows"},
		"staff":                             {Config{Run: []string{"staff"}, Broker: "nats://b"}, "analytics", "staff shows"},
		"a kiosk":                           {Config{Run: []string{"kiosk"}, Broker: "nats://b"}, "baskets", "kiosk shows"},
		"a kiosk, of what it does not show": {Config{Run: []string{"kiosk"}, Broker: "nats://b"}, "analytics", ""},
		"devices":                           {Config{Run: []string{"devices"}, Broker: "nats://b"}, "exitgate", "devices shows"},
		"the keys, which are lent":          {Config{Run: []string{"customers"}, Broker: "nats://b"}, "keys", ""},
	} {
		h := &House{cfg: c.config, stores: &databases{abroad: map[string]bool{c.abroad: true}}}
		run := []string{}
		for _, p := range parts {
			if h.runs(p.Name) {
				run = append(run, p.Name)
			}
		}
		err := h.reachable(parts, run)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if h := (&House{stores: &databases{}}); h.reachable([]*backbone.Service{}, nil) != nil {
		t.Error("with all databases it is refused")
	}
}

// library is a process that has a log of a hundred events, and sends two at a time.
type library struct {
	soukv1connect.UnimplementedLogServiceHandler

	mu     sync.Mutex
	asked  *soukv1.ReadLogRequest
	cut    int   // after so many messages the connection is cut; 0: never
	refuse error // what is answered instead
}

func (l *library) GetHead(context.Context, *connect.Request[soukv1.GetHeadRequest]) (*connect.Response[soukv1.GetHeadResponse], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return connect.NewResponse(&soukv1.GetHeadResponse{Position: 100}), l.refuse
}

func (l *library) ReadLog(_ context.Context, r *connect.Request[soukv1.ReadLogRequest], stream *connect.ServerStream[soukv1.ReadLogResponse]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked = r.Msg; l.refuse != nil {
		return l.refuse
	}
	end := min(100, r.Msg.GetAfter()+r.Msg.GetLimit())
	for sent, at := 0, r.Msg.GetAfter(); at < end; at += 2 {
		m := &soukv1.ReadLogResponse{}
		for n := at + 1; n <= min(at+2, end); n++ {
			m.Records = append(m.Records, &soukv1.Record{
				Position: n, Kind: soukv1.RecordKind_RECORD_KIND_EVENT, Id: fmt.Sprint("e", n), Stream: "order/1", Version: n, Sequence: n,
				Type: "souk.orders.OrderPlaced.v1", Data: []byte(`{"order":"1"}`), Time: &timestamppb.Timestamp{Seconds: 1, Nanos: 2000}, Actor: "customer:C1",
			})
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		if sent++; sent == l.cut {
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}

// A log of another process is read whole or not at all: what is cut off, absent or overloaded is an error that goes by, and what is refused
// for good is one that does not. Red where a stream that was cut is taken for the log's end.
func TestLogsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	shelf := &library{}
	mux := http.NewServeMux()
	mux.Handle(soukv1connect.NewLogServiceHandler(shelf))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	logs := newOthersLogs(&http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "orders.") {
				d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
				return d.DialContext(ctx, network, server.Listener.Addr().String())
			}
			return nil, peers.ErrAbsent
		},
	}})
	set := func(cut int, refuse error) {
		shelf.mu.Lock()
		shelf.cut, shelf.refuse = cut, refuse
		shelf.mu.Unlock()
	}
	head, err := logs.Head(t.Context(), "orders")
	if err != nil || head != 100 {
		t.Fatalf("head: %d, %v", head, err)
	}
	q := driver.ReadQuery{After: 10, Until: 90, Limit: 7, Types: []string{"souk.orders.*"}, Kinds: []driver.Kind{driver.KindEvent, driver.KindPrivate}}
	list, err := logs.Read(t.Context(), "orders", q)
	if err != nil || len(list) != 7 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	want := driver.Record{
		Position: 11, Kind: driver.KindEvent, ID: "e11", Stream: "order/1", Version: 11, Sequence: 11, Type: "souk.orders.OrderPlaced.v1",
		Data: []byte(`{"order":"1"}`), Meta: []byte(`{"actor":"customer:C1"}`), Time: 1_000_002,
	}
	if got := list[0]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("the first is %+v, want %+v", got, want)
	}
	if a := shelf.asked; a.GetService() != "orders" || a.GetUntil() != 90 || len(a.GetTypes()) != 1 || len(a.GetKinds()) != 2 {
		t.Errorf("it was asked %v", a)
	}
	if list, err := logs.Read(t.Context(), "orders", driver.ReadQuery{Bytes: 40}); err != nil || len(list) != 4 {
		t.Errorf("of forty bytes: %d records, %v", len(list), err)
	}
	if _, err := logs.Read(t.Context(), "orders", driver.ReadQuery{Target: "stores"}); err == nil {
		t.Error("what cannot be asked for was read")
	}
	for name, c := range map[string]struct {
		service string
		cut     int
		refuse  error
		passes  bool
	}{
		"cut off":    {"orders", 2, nil, true},
		"absent":     {"stores", 0, nil, true},
		"overloaded": {"orders", 0, connect.NewError(connect.CodeResourceExhausted, errors.New("slow down")), true},
		"stopping":   {"orders", 0, connect.NewError(connect.CodeUnavailable, errors.New("it ends")), true},
		"refused":    {"orders", 0, connect.NewError(connect.CodePermissionDenied, errors.New("no")), false},
	} {
		set(c.cut, c.refuse)
		list, err := logs.Read(t.Context(), c.service, q)
		if err == nil || len(list) > 0 || errors.Is(err, driver.ErrUnavailable) != c.passes {
			t.Errorf("%s: %d records, %v", name, len(list), err)
		}
		if c.cut > 0 {
			continue
		}
		if _, err := logs.Head(t.Context(), c.service); err == nil || errors.Is(err, driver.ErrUnavailable) != c.passes {
			t.Errorf("%s: head: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := logs.Read(ended, "orders", q); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader who has gone: %v", err)
	}
}
