package house

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	robotsv1 "example.org/souk/api/gen/souk/robots/v1"
	"example.org/souk/api/gen/souk/robots/v1/robotsv1connect"
	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/staff"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/payments"
)

// board is a mall with somebody who looks at the board of staff.
type board struct {
	t     *testing.T
	h     *House
	token string
}

func openBoard(t *testing.T) *board {
	t.Helper()
	h := opened(t)
	token, _, err := h.Authority.Issue(door.Grant{Role: door.Staff, Rank: door.Clerk, Subject: "s", Gates: []string{"staff"}})
	if err != nil {
		t.Fatal(err)
	}
	return &board{t, h, token}
}

func (b *board) do(c backbone.Command) {
	b.t.Helper()
	answer, err := b.h.Do(b.t.Context(), c)
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		b.t.Fatalf("%+v: %v", c, err)
	}
}

func (b *board) get(path string, into any) {
	b.t.Helper()
	rec := try(b.t, b.h.Door, "GET", path, b.token, "", "")
	if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil || rec.Code != http.StatusOK {
		b.t.Fatalf("%s: %d %s %v", path, rec.Code, rec.Body, err)
	}
}

// until waits for what is to be seen soon.
func (b *board) until(what string, seen func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case <-ctx.Done():
			b.t.Fatalf("it did not come to this: %s; the board has %s", what, try(b.t, b.h.Door, "GET", "/staff/snapshot", b.token, "", "").Body)
		case <-tick.C:
		}
	}
}

// A robot that speaks over its own wire is on the board with its list, and where it moves to comes over the socket. Red when the fleet is
// not read, when positions are not handed on, and when the depot's log is not followed.
func TestStaffSeeRobots(t *testing.T) {
	t.Parallel()
	b := openBoard(t)
	password := devices.NewPassword()
	b.do(devices.AddDevice{Device: "robot-1", Kind: devices.Robot, Hash: devices.HashOf(password)})
	b.do(command.CreateShoppingList{List: "O1", Order: "O1", Stops: []mall.Stop{{Stop: 1, SKU: "sku", Name: "goods", Quantity: 1}}})

	var s staff.Snapshot
	b.get("/staff/snapshot", &s)
	if len(s.Robots) != 0 || len(s.Lists) != 1 || s.Lists[0].Order != "O1" || s.Lists[0].State != "pending" || s.Lists[0].Stops != 1 || s.Lists[0].Picked != 0 {
		t.Errorf("robots %+v, lists %+v", s.Robots, s.Lists)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, strings.Replace(b.h.URL(), "http", "ws", 1)+"/staff/feed?since="+url.QueryEscape(s.AsOf), //nolint:bodyclose // the library owns the body of an upgraded connection
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + b.token}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.CloseNow() }()

	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	robot := robotsv1connect.NewRobotsServiceClient(&http.Client{Transport: transport}, b.h.URL(), connect.WithGRPC()).Work(ctx)
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth("robot-1", password)
	robot.RequestHeader()["Authorization"] = request.Header["Authorization"]
	if err := robot.Send(&robotsv1.WorkRequest{Say: &robotsv1.WorkRequest_Hello{Hello: &robotsv1.Hello{
		Session: "s1", Carries: 5, Home: &soukv1.Place{X: 700, Y: 900},
	}}}); err != nil {
		t.Fatal(err)
	}
	if m, err := robot.Receive(); err != nil || m.GetWelcome() == nil {
		t.Fatalf("%v %v", m, err)
	}
	registered, moved := false, false
	for !registered || !moved {
		_, data, err := socket.Read(ctx)
		if err != nil {
			t.Fatalf("registered %v, moved %v: %v", registered, moved, err)
		}
		var f struct {
			Kind, Type string
			Robots     []staff.Position
		}
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(err)
		}
		registered = registered || f.Type == "souk.depot.RobotRegistered.v1"
		moved = moved || f.Kind == "positions" && len(f.Robots) == 1 && f.Robots[0].Robot == "robot-1" && f.Robots[0].At == mall.Place{X: 700, Y: 900}
	}
	b.until("the robot is on the board", func() bool {
		b.get("/staff/snapshot", &s)
		return len(s.Robots) == 1 && s.Robots[0].Robot == "robot-1" && s.Robots[0].At == mall.Place{X: 700, Y: 900}
	})
	cancel()
}

// A prepaid order whose goods are at the depot before the provider has said that it gives the money: the counter says that it is being settled, and
// hands the goods over, under the same key, once that is known. Red when the counter asks for an invoice, which there is none of.
func TestStaffWaitForWhatIsBeingSettled(t *testing.T) {
	t.Parallel()
	b := openBoard(t)
	eur := func(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: b.h.cfg.Currency} }
	b.do(command.RegisterCustomer{Customer: "C1", Name: "sealed"})
	b.do(command.ReceiveStock{SKU: "sku", Location: mall.MainLocation, Quantity: 1})
	b.do(command.AuthorizePayment{Payment: "P1", Customer: "C1", Amount: eur(100)})
	b.do(payments.SettleCall{Payment: "P1", Operation: payments.OpAuthorize, Key: "auth-P1"})
	b.do(command.PlaceOrder{Order: "O1", Customer: "C1", Payment: "P1", WhenShort: mall.ShortRest, Items: []mall.Item{{Product: "P1", SKU: "sku", Name: "goods", Quantity: 1, Price: eur(100)}}})
	b.do(command.RegisterRobot{Robot: "R1", Carries: 5})
	b.do(command.RenewLease{Robot: "R1", State: mall.RobotIdle, Battery: 90})
	var o staff.Order
	becomes := func(what string, as func() bool) {
		t.Helper()
		b.until(what, func() bool {
			seen, _, err := floor{b.h}.Order(t.Context(), "O1")
			o = seen
			return err == nil && as()
		})
	}
	becomes("a robot fetches it", func() bool { return o.Status == "PICKING" })
	b.do(command.ReportStop{List: "O1", Stop: 1, Robot: "R1", Update: 1, Outcome: mall.OutcomePicked, Picked: 1})
	b.do(command.DeliverItems{List: "O1", Robot: "R1", Lines: []mall.Line{{SKU: "sku", Quantity: 1}}})
	b.do(command.CompleteList{List: "O1", Robot: "R1"})
	if !o.KeptUntil.IsZero() {
		t.Errorf("it is kept until %s, and not ready", o.KeptUntil)
	}
	becomes("it is ready", func() bool { return o.Status == "READY" })
	// Whoever asks at a kiosk or at the counter is told one time.
	var waits struct{ KeptUntil time.Time }
	b.get("/staff/orders/O1", &waits)
	atKiosk, _, err := b.h.kioskStand().Orders.Order(t.Context(), "O1")
	if err != nil {
		t.Fatal(err)
	}
	if left := o.KeptUntil.Sub(o.History[len(o.History)-1].Time); left != 48*time.Hour || !waits.KeptUntil.Equal(o.KeptUntil) || !atKiosk.KeptUntil.Equal(o.KeptUntil) {
		t.Errorf("ready at %s, it is kept until %s; at the counter %s, at a kiosk %s", o.History[len(o.History)-1].Time, o.KeptUntil, waits.KeptUntil, atKiosk.KeptUntil)
	}
	var ready struct{ Orders []staff.OrderLine }
	b.get("/staff/orders?status=READY", &ready)
	if len(ready.Orders) != 1 || !ready.Orders[0].Settling || ready.Orders[0].WhenShort != mall.ShortRest || o.WhenShort != mall.ShortRest {
		t.Errorf("%+v and %+v", ready, o)
	}
	handOver := func() (int, string, string) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/staff/orders/O1/hand-over", strings.NewReader(`{"takePayment":true}`))
		for name, value := range map[string]string{"Authorization": "Bearer " + b.token, "Content-Type": "application/json", "Idempotency-Key": "k1"} {
			r.Header.Set(name, value)
		}
		rec := httptest.NewRecorder()
		b.h.Door.ServeHTTP(rec, r)
		return rec.Code, rec.Header().Get("Retry-After"), rec.Body.String()
	}
	if status, after, body := handOver(); status != http.StatusConflict || after != "1" || !strings.Contains(body, "payment_settling") || !o.Settling {
		t.Fatalf("%d, again after %q: %s", status, after, body)
	}
	b.until("the money is asked for", func() bool {
		p, err := payments.Get(t.Context(), b.h.Reader("payments"), "P1")
		return err == nil && p.Status == payments.Capturing
	})
	b.do(payments.SettleCall{Payment: "P1", Operation: payments.OpCapture, Key: "capture-P1"})
	becomes("the order is paid", func() bool { return o.Paid && !o.Settling })
	if status, _, body := handOver(); status != http.StatusOK || !strings.Contains(body, "COMPLETED") {
		t.Errorf("%d %s", status, body)
	}
	becomes("it is collected, and kept no more", func() bool { return o.Status == "COMPLETED" && o.KeptUntil.IsZero() })
}

// Goods that a robot does not find are replaced by what a clerk scans: the page knows it by its barcode and its name, what it offers to send is taken by
// the orders service as it stands, and refused where it makes the order dearer. Red when the catalogue is not asked by barcode, when what stands on
// the page is not what the route takes, and when what is sold no more is offered.
func TestStaffChooseSubstitutes(t *testing.T) {
	t.Parallel()
	b := openBoard(t)
	eur := func(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: b.h.cfg.Currency} }
	b.do(command.RegisterCustomer{Customer: "C1", Name: "sealed"})
	b.do(command.CreateStore{Store: "S1", Name: "Teas", Location: mall.MainLocation})
	b.do(command.EnableParticipation{Store: "S1"})
	for _, p := range []command.AddProduct{
		{Product: "black", Store: "S1", Name: "Black tea", SKU: "BLACK", Price: eur(400)},
		{Product: "green", Store: "S1", Name: "Green tea", SKU: "GREEN", Barcode: "4012345678901", Price: eur(390)},
		{Product: "gold", Store: "S1", Name: "Gold tea", SKU: "GOLD", Price: eur(9900)},
		{Product: "old", Store: "S1", Name: "Old tea", SKU: "OLD", Price: eur(100)},
	} {
		b.do(p)
	}
	b.do(command.RemoveProduct{Product: "old"})
	b.do(command.ReceiveStock{SKU: "BLACK", Location: mall.MainLocation, Quantity: 1})
	b.do(command.PlaceOrder{Order: "O1", Customer: "C1", WhenShort: mall.ShortSubstitute, Items: []mall.Item{{Product: "black", SKU: "BLACK", Name: "Black tea", Quantity: 1, Price: eur(400)}}})
	b.do(command.RegisterRobot{Robot: "R1", Carries: 5})
	b.do(command.RenewLease{Robot: "R1", State: mall.RobotIdle, Battery: 90})
	is := func(status string) func() bool {
		return func() bool {
			o, _, err := floor{b.h}.Order(t.Context(), "O1")
			return err == nil && o.Status == status
		}
	}
	b.until("a robot fetches it", is("PICKING"))
	b.do(command.ReportStop{List: "O1", Stop: 1, Robot: "R1", Update: 1, Outcome: mall.OutcomeShort})
	b.until("somebody has to decide", func() bool {
		o, _, err := floor{b.h}.Order(t.Context(), "O1")
		return err == nil && len(o.Short) == 1
	})
	page := func(query string) string {
		t.Helper()
		rec := try(t, b.h.Door, "GET", "/staff/orders/O1/substitutes?"+query, b.token, "", "")
		if rec.Code != http.StatusOK {
			t.Fatalf("?%s: %d %s", query, rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	send := func(query string) (int, string) {
		t.Helper()
		_, body, offered := strings.Cut(page(query), ` data-body="`)
		body, _, _ = strings.Cut(body, `"`)
		if !offered {
			t.Fatalf("?%s has nothing to send: %s", query, page(query))
		}
		rec := try(t, b.h.Door, "POST", "/staff/orders/O1/decide", b.token, "application/json", html.UnescapeString(body))
		return rec.Code, rec.Body.String()
	}
	if text := page("find=OLD"); !strings.Contains(text, "Nothing that can be ordered") {
		t.Errorf("what is sold no more: %s", text)
	}
	if status, answer := send("find=Gold+tea"); status != http.StatusConflict || !strings.Contains(answer, "too_dear") {
		t.Errorf("too dear: %d %s", status, answer)
	}
	if status, answer := send("find=4012345678901"); status != http.StatusOK {
		t.Errorf("by barcode: %d %s", status, answer)
	}
	var o staff.Order
	b.get("/staff/orders/O1", &o)
	want := mall.Item{Product: "green", SKU: "GREEN", Name: "Green tea", Price: eur(390), Quantity: 1, Store: "S1"}
	if len(o.Substitutes) != 1 || o.Substitutes[0] != want || len(o.Short) != 0 || o.Total != eur(390) {
		t.Errorf("decided: %+v", o)
	}
	if text := page("find=GREEN"); !strings.Contains(text, "1 × Green tea, 3.90 "+b.h.cfg.Currency+" each") || strings.Contains(text, "<form") {
		t.Errorf("after it was decided: %s", text)
	}
}

// An order that waits stays on the board however many came after it. Red when only the last orders are looked through.
func TestStaffSeeOldOpenOrders(t *testing.T) {
	t.Parallel()
	b := openBoard(t)
	place := func(id string, wait bool) {
		b.do(command.PlaceOrder{
			Order: id, Customer: "C1", WaitForStock: wait,
			Items: []mall.Item{{Product: "P1", SKU: "sku", Name: "goods", Quantity: 1, Price: mall.Money{Amount: 100, Currency: b.h.cfg.Currency}}},
		})
	}
	b.do(command.RegisterCustomer{Customer: "C1", Name: "sealed"})
	seen := func() bool {
		var list struct{ Orders []staff.OrderLine }
		b.get("/staff/orders?status=BACKORDERED", &list)
		return len(list.Orders) == 1 && list.Orders[0].Order == "old" && list.Orders[0].Status == "BACKORDERED" && list.Orders[0].Customer == "C1"
	}
	place("old", true)
	b.until("the order waits", seen)
	for n := range ordersLooked {
		place(fmt.Sprintf("new-%d", n), false)
	}
	b.until("the order that waits is on the board", seen)
}
