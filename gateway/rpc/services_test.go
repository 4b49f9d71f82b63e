package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"example.org/souk/mall/payments"
)

// place asks for pens by gRPC.
func (b *bench) place(caller, id, order, customer string, quantity int64, headers ...string) (*soukv1.Answer, error) {
	r := &soukv1.PlaceOrderResponse{}
	err := b.grpc.Invoke(b.as(caller, headers...), soukv1connect.OrdersServicePlaceOrderProcedure, &soukv1.PlaceOrderRequest{
		CommandId: id, Order: order, Customer: customer, Items: []*soukv1.Item{{Product: "pen", Quantity: quantity}},
	}, r)
	return r.GetAnswer(), err
}

// An order by gRPC is read as JSON; a repeat gets the first answer, other content under the same id does not, and the
// order is carried through. Red when the command's id is not the one of the request.
func TestOrderByGRPC(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	const trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	first, err := b.place("customer:C1", "k1", "O1", "C1", 3, "traceparent", trace)
	if err != nil || first.GetRepeated() || first.GetCommandId() != "k1" || len(first.GetEvents()) != 1 {
		t.Fatalf("%v %v", first, err)
	}
	again, err := b.place("customer:C1", "k1", "O1", "C1", 3)
	if err != nil || !again.GetRepeated() || !proto.Equal(again.GetEvents()[0], first.GetEvents()[0]) {
		t.Errorf("again: %v %v", again, err)
	}
	if _, err := b.place("customer:C1", "k1", "O1", "C1", 4); status.Code(err) != codes.AlreadyExists {
		t.Errorf("other content: %v", err)
	}
	if _, err := b.place("customer:C1", "k2", "O1", "C1", 3); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the order a second time: %v", err)
	}
	b.Settle(t)
	answer, code := b.json("customer:C1", "OrdersService/GetOrder", `{"order":"O1"}`)
	order, _ := answer["order"].(map[string]any)
	if code != "" || order["status"] != "ORDER_STATUS_APPROVED" || order["total"].(map[string]any)["amount"] != "3000" {
		t.Errorf("%s %v", code, answer)
	}
	if history := order["history"].([]any); len(history) != 3 {
		t.Errorf("history %v", history)
	}
	level, _ := b.json("customer:C1", "InventoryService/GetLevel", `{"sku":"PEN"}`)
	if l := level["level"].(map[string]any); l["available"] != "7" || l["location"] != "main" {
		t.Errorf("%v", level)
	}
	log, err := b.Reader("orders").Log(t.Context(), backbone.ReadQuery{Types: []string{event.OrderPlacedV1}})
	if err != nil || len(log) != 1 || log[0].Actor != "customer:C1" || !strings.Contains(log[0].Trace, trace[3:35]) {
		t.Errorf("%d placed, by %q in %q: %v", len(log), log[0].Actor, log[0].Trace, err)
	}
	feed, _ := b.json("customer:C1", "OrdersService/ListFeed", `{"customer":"C1","limit":2}`)
	if entries := feed["entries"].([]any); len(entries) != 2 || entries[0].(map[string]any)["part"] != "FEED_PART_ASKED" {
		t.Errorf("%v", feed)
	}
}

// What belongs to another customer is not there, and is not acted on. Red when a method does not ask whose it is.
func TestCustomersHaveTheirOwn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	b := begin(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)) })
	noted := func() int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(log.String(), "belongs to somebody else")
	}
	b.stock()
	if _, err := b.place("customer:C1", "k1", "O1", "C1", 1); err != nil {
		t.Fatal(err)
	}
	b.Do(t, command.AuthorizePayment{Payment: "P1", Customer: "C1", Amount: eur(500)})
	b.Settle(t)
	for _, c := range []struct{ method, body string }{
		{"OrdersService/GetOrder", `{"order":"O1"}`},
		{"OrdersService/CancelOrder", `{"commandId":"k2","order":"O1","reason":"changed my mind"}`},
		{"OrdersService/PlaceOrder", `{"commandId":"k3","order":"O2","customer":"C1","items":[{"product":"pen","quantity":1}]}`},
		{"OrdersService/ListFeed", `{"customer":"C1"}`},
		{"CustomersService/GetCustomer", `{"customer":"C1"}`},
		{"CustomersService/ChangeContact", `{"commandId":"k4","customer":"C1","name":"Eve"}`},
		{"NotificationsService/GetContact", `{"customer":"C1"}`},
		{"PaymentsService/GetPayment", `{"payment":"P1"}`},
	} {
		before := noted()
		if answer, code := b.json("customer:C2", c.method, c.body); code != "not_found" || noted() != before+1 {
			t.Errorf("%s by another: %s %v, noted %d times", c.method, code, answer, noted()-before)
		}
		if answer, code := b.json("customer:C1", c.method, c.body); code != "" {
			t.Errorf("%s by its owner: %s %v", c.method, code, answer)
		}
	}
	if answer, code := b.json("staff:anna", "OrdersService/GetOrder", `{"order":"O1"}`); code != "" {
		t.Errorf("staff: %s %v", code, answer)
	}
}

// locked is a writer that several use.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// The price is the catalogue's, whatever a customer says; what was accepted once gets its first answer at whatever price.
// Red when the items of a request are taken as they are.
func TestThePriceIsTheCatalogues(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	const order = `{"commandId":"k1","order":"O1","customer":"C1","whenShort":"WHEN_SHORT_REST","items":[{"product":"pen","quantity":1,"price":{"amount":"1000","currency":"EUR"}}]}`
	for _, body := range []string{
		strings.Replace(order, "1000", "1", 1), strings.Replace(order, "EUR", "CHF", 1),
		strings.Replace(order, `"1000"`, `"-1"`, 1),
	} {
		if _, code := b.json("customer:C1", "OrdersService/PlaceOrder", body); code != "failed_precondition" {
			t.Errorf("%s: %s", body, code)
		}
	}
	if _, code := b.json("customer:C1", "OrdersService/PlaceOrder", strings.Replace(order, "pen", "gold", 1)); code != "invalid_argument" {
		t.Errorf("what nobody sells: %s", code)
	}
	if answer, code := b.json("customer:C1", "OrdersService/PlaceOrder", order); code != "" {
		t.Fatalf("%s %v", code, answer)
	}
	if answer, code := b.json("customer:C1", "OrdersService/GetOrder", `{"order":"O1"}`); code != "" || answer["order"].(map[string]any)["whenShort"] != "WHEN_SHORT_REST" {
		t.Errorf("what is wanted when goods are not found: %s %v", code, answer)
	}
	if _, code := b.json("customer:C1", "OrdersService/PlaceOrder", strings.Replace(order, `"WHEN_SHORT_REST"`, "9", 1)); code != "invalid_argument" {
		t.Errorf("a wish that nobody knows: %s", code)
	}
	b.Do(t, command.IncreasePrice{Product: "pen", Price: eur(2000)})
	answer, code := b.json("customer:C1", "OrdersService/PlaceOrder", order)
	if code != "" || answer["answer"].(map[string]any)["repeated"] != true {
		t.Errorf("again at another price: %s %v", code, answer)
	}
	// What was paid at the depot is given back by a process alone, since staff need a second person, and never more than was paid.
	b.Do(t, command.CreateInvoice{Invoice: "I1", Order: "O1", Customer: "C1", Amount: eur(500)})
	b.Do(t, command.PayInvoice{Invoice: "I1"})
	const back = `{"commandId":"back","invoice":"I1","amount":{"amount":"200","currency":"EUR"},"reason":"broken"}`
	for _, c := range [][3]string{
		{"staff:anna", back, "permission_denied"},
		{"process:staff", strings.NewReplacer("200", "501", `"back"`, `"b1"`).Replace(back), "failed_precondition"},
		{"process:staff", strings.Replace(back, "200", "-1", 1), "invalid_argument"},
		{"process:staff", back, ""},
		{"process:staff", back, ""}, // once
	} {
		if answer, code := b.json(c[0], "PaymentsService/RefundInvoice", c[1]); code != c[2] {
			t.Errorf("%s by %s: %s %v", c[1], c[0], code, answer)
		}
	}
	if i, _, err := payments.InvoiceOf(t.Context(), b.Reader("payments"), "I1"); err != nil || i.Refunded != eur(200) {
		t.Errorf("%+v %v", i, err)
	}
	// A process has asked the catalogue before, and says for whom it acts.
	r := &soukv1.PlaceOrderResponse{}
	err := b.grpc.Invoke(b.as("process:online", Actor, "customer:C2"), soukv1connect.OrdersServicePlaceOrderProcedure, &soukv1.PlaceOrderRequest{
		CommandId: "place-O2", Order: "O2", Customer: "C2",
		Items: []*soukv1.Item{{Product: "pen", Sku: "PEN", Name: "Pen", Price: &soukv1.Money{Amount: 1500, Currency: "EUR"}, Quantity: 1}},
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.Runtime().Do(t.Context(), command.PlaceOrder{Order: "O2", Customer: "C2", Items: []mall.Item{
		{Product: "pen", SKU: "PEN", Name: "Pen", Price: eur(1500), Quantity: 1},
	}}, backbone.WithID("place-O2"))
	if err != nil || !a.Repeated {
		t.Errorf("the id of a process is not taken as it is: %+v %v", a, err)
	}
	placed := b.Events(t, "orders")
	if e := placed[slices.IndexFunc(placed, func(e backbone.Event) bool {
		p, ok := e.(event.OrderPlaced)
		return ok && p.Order == "O2"
	})].(event.OrderPlaced); e.Total != eur(1500) {
		t.Errorf("%+v", e)
	}
	log, err := b.Reader("orders").Log(t.Context(), backbone.ReadQuery{Stream: "order/O2", Limit: 1})
	if err != nil || log[0].Actor != "customer:C2" {
		t.Errorf("by %v: %v", log, err)
	}
}

// The id of a command is its caller's: another's command of the same id is another one, and nobody's meets those of
// the mall. Red when the ids of customers are taken as they are.
func TestCommandIDsAreTheCallers(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	for _, c := range []string{"C1", "C2"} {
		if a, err := b.place("customer:"+c, "k1", "O-"+c, c, 1); err != nil || a.GetRepeated() {
			t.Errorf("%s: %v %v", c, a, err)
		}
	}
	if _, err := b.place("customer:C1", "place-X", "O3", "C1", 1); err != nil {
		t.Fatal(err)
	}
	b.Do(t, command.PlaceOrder{Order: "X", Customer: "C1", Items: []mall.Item{
		{Product: "pen", SKU: "PEN", Name: "Pen", Price: eur(1000), Quantity: 1},
	}}, backbone.WithID("place-X"))
	if _, err := b.place("customer:C1", "", "O4", "C1", 1); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without an id: %v", err)
	}
	// An actor that somebody else names is nobody's.
	if _, err := b.place("customer:C1", "k5", "O5", "C1", 1, Actor, "staff:anna"); err != nil {
		t.Fatal(err)
	}
	log, err := b.Reader("orders").Log(t.Context(), backbone.ReadQuery{Stream: "order/O5", Limit: 1})
	if err != nil || log[0].Actor != "customer:C1" {
		t.Errorf("by %v: %v", log, err)
	}
}

// What names a person is sealed when it comes in and no answer has it; who is forgotten has no key any more. Red when the
// text is taken as it is.
func TestPersonalFieldsAreSealed(t *testing.T) {
	t.Parallel()
	b := begin(t)
	const register = `{"commandId":"k1","customer":"C1","name":"Ann Elliot","email":"ann@kellynch.example","sms":"+44 1234"}`
	if answer, code := b.json("staff:anna", "CustomersService/RegisterCustomer", register); code != "" {
		t.Fatalf("%s %v", code, answer)
	}
	if answer, code := b.json("staff:anna", "CustomersService/RegisterCustomer", register); code != "" || answer["answer"].(map[string]any)["repeated"] != true {
		t.Errorf("again: %s %v", code, answer)
	}
	b.Settle(t)
	answer, _ := b.json("customer:C1", "CustomersService/GetCustomer", `{"customer":"C1"}`)
	c := answer["customer"].(map[string]any)
	name, ok, err := b.keys.Reveal(t.Context(), c["name"].(string))
	if name != "Ann Elliot" || !ok || err != nil || strings.Contains(c["email"].(string), "kellynch") {
		t.Errorf("%v: %q %v %v", c, name, ok, err)
	}
	for _, service := range b.Runtime().Services() {
		log, err := b.Reader(service).Log(t.Context(), backbone.ReadQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range log {
			if strings.Contains(string(m.Data), "Elliot") || strings.Contains(string(m.Data), "kellynch") {
				t.Errorf("%s/%d: %s", service, m.Position, m.Data)
			}
		}
	}
	// A token goes round; another's, or a made-up one, does not.
	token := c["name"].(string)
	if _, code := b.json("customer:C1", "CustomersService/ChangeContact", `{"commandId":"k2","customer":"C1","name":"`+token+`"}`); code != "" {
		t.Errorf("its own token: %s", code)
	}
	for _, body := range []string{
		`{"commandId":"k3","customer":"C2","name":"` + token + `"}`,
		`{"commandId":"k3","customer":"C2","name":"sealed:v1:C2:AAAA"}`,
		`{"commandId":"k3","customer":"C2","name":"Eve\u0007"}`,
		`{"commandId":"k3","customer":"C2","name":"Eve","email":"eve@x\r\nBcc: all@x"}`,
		`{"commandId":"k3","customer":"C2","name":"Eve","sms":"call me"}`,
	} {
		if _, code := b.json("staff:anna", "CustomersService/RegisterCustomer", body); code != "invalid_argument" {
			t.Errorf("%s: %s", body, code)
		}
	}
	if _, code := b.json("staff:anna", "CustomersService/ForgetCustomer", `{"commandId":"k4","customer":"C1"}`); code != "" {
		t.Errorf("forget: %s", code)
	}
	lent, err := b.keys.LendKey(t.Context(), "C1", true)
	if err != nil || lent.State != backbone.KeyDestroyed || lent.Secret != nil {
		t.Errorf("the key is %v, %v", lent.State, err)
	}
}

// Another process seals and reveals with the owner's keys, and one that it holds when it is destroyed is of use for ten
// minutes at most. Red when the owner lends what it has in memory.
func TestKeysAreLent(t *testing.T) {
	t.Parallel()
	b := begin(t)
	clock := &backbonetest.Clock{}
	clock.Set(b.Clock.Now())
	client := soukv1connect.NewKeysServiceClient(&http.Client{Transport: as("process:online")}, b.url)
	remote, err := backbone.OpenKeys(backbone.KeysConfig{Owner: RemoteKeys(client), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	token, err := remote.Seal(t.Context(), "C1", "Ann Elliot")
	if err != nil {
		t.Fatal(err)
	}
	for who, keys := range map[string]*backbone.Keys{"owner": b.keys, "remote": remote} {
		if text, ok, err := keys.Reveal(t.Context(), token); text != "Ann Elliot" || !ok || err != nil {
			t.Errorf("%s: %q %v %v", who, text, ok, err)
		}
	}
	if _, _, err := remote.Reveal(t.Context(), "sealed:v1:C2:AAAA"); !errors.Is(err, backbone.ErrNotSealed) {
		t.Errorf("nobody's token: %v", err)
	}
	// A second owner on the same table destroys it, while the first still has it in memory.
	second, err := backbone.OpenKeys(backbone.KeysConfig{Store: b.Store(), Clock: b.Clock})
	if err == nil {
		err = second.Destroy(t.Context(), "C1")
	}
	if err != nil {
		t.Fatal(err)
	}
	clock.Set(clock.Now().Add(backbone.KeyLife))
	if text, ok, err := remote.Reveal(t.Context(), token); text != "" || ok || err != nil {
		t.Errorf("after the key's life: %q %v %v", text, ok, err)
	}
	if _, err := remote.Seal(t.Context(), "C1", "Ann"); !errors.Is(err, backbone.ErrForgotten) {
		t.Errorf("for somebody forgotten: %v", err)
	}
	if err := remote.Destroy(t.Context(), "C3"); err != nil {
		t.Error(err)
	}
	if _, err := b.keys.Seal(t.Context(), "C3", "x"); !errors.Is(err, backbone.ErrForgotten) {
		t.Errorf("destroyed from afar: %v", err)
	}
	if _, err := backbone.OpenKeys(backbone.KeysConfig{}); err == nil {
		t.Error("keys of nowhere")
	}
}

// read reads a stream to its end.
func read[T any](stream grpc.ClientStream, err error, request proto.Message, each func(*T)) error {
	if err == nil {
		err = stream.SendMsg(request)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	for err == nil {
		m := new(T)
		if err = stream.RecvMsg(m); err == nil {
			each(m)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (b *bench) log(caller string, request *soukv1.ReadLogRequest) (list []*soukv1.Record, err error) {
	ctx := b.as(caller)
	stream, err := b.grpc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, soukv1connect.LogServiceReadLogProcedure)
	err = read(stream, err, request, func(r *soukv1.ReadLogResponse) { list = append(list, r.GetRecords()...) })
	return list, err
}

// The log as it is read over the wire is the log as it stands, over many messages, and every filter bites.
// Red when a piece is read twice or left out, and for each filter that is not passed on.
func TestLogIsReadWhole(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	for i := range 700 {
		b.Do(t, command.ReceiveStock{SKU: "INK", Location: "main", Quantity: int64(i + 1)})
	}
	b.Settle(t)
	want, err := b.Reader("inventory").Log(t.Context(), backbone.ReadQuery{Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got []*soukv1.Record, err error, want []*backbone.Message) {
		t.Helper()
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d records, want %d: %v", what, len(got), len(want), err)
			return
		}
		for i, m := range want {
			g := got[i]
			if back := MessageOf("inventory", g); !reflect.DeepEqual(back, m) {
				t.Errorf("%s: record %d is %v, want %+v", what, i, g, m)
				return
			}
		}
	}
	end := want[len(want)-1].Position // a seal may come behind it at any time
	all, err := b.log("process:notifications", &soukv1.ReadLogRequest{Service: "inventory", Until: end})
	same("all", all, err, want)
	down, err := b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Descending: true, Until: end})
	slices.Reverse(down)
	same("down", down, err, want)
	part, err := b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", After: 10, Until: 20})
	same("a part", part, err, want[10:20])
	few, err := b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", After: 3, Limit: 600})
	same("so many", few, err, want[3:603])
	var events, received, stream []*backbone.Message
	for _, m := range want {
		if m.Kind.String() == "event" {
			events = append(events, m)
		}
		if m.Type == event.StockReceivedV1 {
			received = append(received, m)
		}
		if m.Stream == want[0].Stream {
			stream = append(stream, m)
		}
	}
	list, err := b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Kinds: []soukv1.RecordKind{soukv1.RecordKind_RECORD_KIND_EVENT}})
	same("events", list, err, events)
	list, err = b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Types: []string{event.StockReceivedV1}})
	same("of a type", list, err, received)
	list, err = b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Stream: want[0].Stream})
	same("of a stream", list, err, stream)
	list, err = b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Id: want[5].ID})
	same("of an id", list, err, want[5:6])
	list, err = b.log("engineer:eve", &soukv1.ReadLogRequest{Service: "inventory", Correlation: want[5].Correlation})
	if err != nil || len(list) == 0 || len(list) > 10 {
		t.Errorf("of a conversation: %d, %v", len(list), err)
	}
	if _, err := b.log("process:x", &soukv1.ReadLogRequest{Service: "elsewhere"}); status.Code(err) != codes.Unavailable {
		t.Errorf("of a service that is not here: %v", err)
	}
	head, _ := b.json("process:x", "LogService/GetHead", `{"service":"inventory"}`)
	if head["position"] != all[len(all)-1].GetPosition() && head["position"] == nil {
		t.Errorf("%v", head)
	}
}

// Who follows the feeds is told whose grew, from where it asks, and is let go when the process stops. Before the services have begun nothing
// but their logs is answered for.
func TestFeedsAreFollowed(t *testing.T) {
	t.Parallel()
	const writeTimeout = time.Second
	opened, closing := make(chan struct{}), make(chan struct{})
	b := beginOn(t, writeTimeout, func(c *Config) { c.Opened, c.Closing = opened, closing })
	b.stock()
	if head, code := b.json("process:x", "LogService/GetHead", `{"service":"stores"}`); code != "" || head["position"] == nil {
		t.Errorf("the head of a log before the services have begun: %v %q", head, code)
	}
	if _, err := b.log("process:x", &soukv1.ReadLogRequest{Service: "stores"}); err != nil {
		t.Errorf("a log before the services have begun: %v", err)
	}
	if _, code := b.json("customer:C1", "LogService/GetHead", `{"service":"stores"}`); code != "permission_denied" {
		t.Errorf("a customer, before the services have begun: %q", code)
	}
	for _, method := range []string{"StoresService/GetProduct", "CommandsService/Decide", "ControlService/GetInFlight"} {
		if _, code := b.json("process:x", method, `{}`); code != "unavailable" {
			t.Errorf("%s before the services have begun: %q", method, code)
		}
	}
	close(opened)
	if _, code := b.json("process:x", "StoresService/GetProduct", `{"product":"pen"}`); code != "" {
		t.Errorf("a product when they have begun: %q", code)
	}
	order := func(id, customer string) command.PlaceOrder {
		return command.PlaceOrder{Order: id, Customer: customer, Items: []mall.Item{{Product: "pen", SKU: "PEN", Name: "Pen", Price: eur(1000), Quantity: 1}}}
	}
	b.Do(t, order("O1", "C1"))
	b.Settle(t)
	follow := func(after int64) grpc.ClientStream {
		stream, err := b.grpc.NewStream(b.as("process:online"), &grpc.StreamDesc{ServerStreams: true}, soukv1connect.OrdersServiceFollowFeedsProcedure)
		if err == nil {
			err = stream.SendMsg(&soukv1.FollowFeedsRequest{After: after})
		}
		if err == nil {
			err = stream.CloseSend()
		}
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(s grpc.ClientStream) *soukv1.FollowFeedsResponse {
		t.Helper()
		m := &soukv1.FollowFeedsResponse{}
		if err := s.RecvMsg(m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	now, past := follow(0), follow(1)
	from := next(now)
	if len(from.GetCustomers()) != 0 || from.GetPosition() == 0 || next(past).GetPosition() != 1 {
		t.Errorf("begins with %v", from)
	}
	if m := next(past); !slices.Equal(m.GetCustomers(), []string{"C1"}) || m.GetPosition() != from.GetPosition() {
		t.Errorf("from the first on: %v", m)
	}
	b.Do(t, order("O2", "C2"))
	for _, s := range []grpc.ClientStream{now, past} {
		if m := next(s); !slices.Equal(m.GetCustomers(), []string{"C2"}) || m.GetPosition() <= from.GetPosition() {
			t.Errorf("told %v", m)
		}
	}
	// A stream lives longer than the server lets a request take.
	time.AfterFunc(2*writeTimeout, func() { close(closing) })
	for {
		err := now.RecvMsg(&soukv1.FollowFeedsResponse{})
		if err == nil {
			continue
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
		break
	}
}

// fleet is where robots are.
type fleet struct {
	mu       sync.Mutex
	n        uint64
	of       map[string]numbered
	watchers map[chan struct{}]bool
}

type numbered struct {
	*soukv1.RobotSighting
	n uint64
}

// move has so many robots say a place.
func (f *fleet) move(robots int, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range robots {
		f.n++
		id := fmt.Sprintf("R%04d", i)
		f.of[id] = numbered{&soukv1.RobotSighting{Robot: id, Online: true, At: &soukv1.Place{X: to}}, f.n}
	}
	for c := range f.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (f *fleet) Sightings(since uint64) (list []*soukv1.RobotSighting, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.of {
		if r.n > since {
			list = append(list, r.RobotSighting)
		}
	}
	return list, f.n
}

func (f *fleet) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[c] = true
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
	}
}

func (f *fleet) watched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers)
}

// Who follows robots is told of all that are there, and then of each that has moved, as it is now: who is slow to read is told less, and the
// newest all the same. Nothing is left of who has gone. Red when a stream keeps what was not read, when it tells again what it has told, and when
// one without robots tells nothing at once.
func TestRobotsAreFollowed(t *testing.T) {
	t.Parallel()
	const robots, rounds = 2500, 40
	floor, closing := &fleet{of: map[string]numbered{}, watchers: map[chan struct{}]bool{}}, make(chan struct{})
	floor.move(robots, 1)
	b := begin(t, func(c *Config) { c.Robots, c.Closing = floor, closing })
	follow := func(b *bench) (grpc.ClientStream, context.CancelFunc) {
		ctx, leave := context.WithCancel(b.as("process:staff"))
		stream, err := b.grpc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, soukv1connect.DepotServiceFollowRobotsProcedure)
		if err == nil {
			err = stream.SendMsg(&soukv1.FollowRobotsRequest{})
		}
		if err == nil {
			err = stream.CloseSend()
		}
		if err != nil {
			t.Fatal(err)
		}
		return stream, leave
	}
	next := func(s grpc.ClientStream) []*soukv1.RobotSighting {
		t.Helper()
		m := &soukv1.FollowRobotsResponse{}
		if err := s.RecvMsg(m); err != nil {
			t.Fatal(err)
		}
		return m.GetRobots()
	}
	slow, _ := follow(b)
	seen := map[string]int64{}
	hear := func() (told int) {
		for _, r := range next(slow) {
			seen[r.GetRobot()] = r.GetAt().GetX()
			told++
		}
		return told
	}
	for len(seen) < robots {
		if n := hear(); n == 0 || n > sightedAtOnce {
			t.Fatalf("%d robots at once", n)
		}
	}
	// It reads nothing while everybody moves, ten times a second.
	quick, leave := follow(b)
	for round := range rounds {
		floor.move(robots, int64(round)+2)
		for at := int64(0); at < int64(round)+2; {
			for _, r := range next(quick) {
				at = r.GetAt().GetX()
			}
		}
	}
	leave()
	told := 0
	for newest := 0; newest < robots; {
		told += hear()
		newest = 0
		for _, at := range seen {
			if at == rounds+1 {
				newest++
			}
		}
	}
	if told > robots*rounds/2 {
		t.Errorf("%d places were kept for who did not look", told)
	}
	floor.move(1, rounds+2)
	if list := next(slow); len(list) != 1 || list[0].GetAt().GetX() != rounds+2 {
		t.Errorf("one has moved, and %d are told", len(list))
	}
	none := begin(t)
	if s, _ := follow(none); len(next(s)) != 0 {
		t.Error("robots where there are none")
	}
	close(closing)
	for {
		err := slow.RecvMsg(&soukv1.FollowRobotsResponse{})
		if err == nil {
			continue
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
		break
	}
	if !testserver.Await(t.Context(), 20*time.Second, func() bool { return floor.watched() == 0 }) {
		t.Errorf("%d streams are left that nobody reads", floor.watched())
	}
}

// Health says which services serve here, to everybody who is known; reflection shows the contract to engineers and processes only.
func TestHealthAndReflection(t *testing.T) {
	t.Parallel()
	closing := make(chan struct{})
	b := begin(t, func(c *Config) { c.Closing, c.Run = closing, []string{"orders", "stores"} })
	health := grpc_health_v1.NewHealthClient(b.grpc)
	for service, want := range map[string]codes.Code{"": codes.OK, "souk.v1.OrdersService": codes.OK, "souk.v1.InventoryService": codes.NotFound, "x": codes.NotFound} {
		r, err := health.Check(b.as("customer:C1"), &grpc_health_v1.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, r, err)
		}
	}
	if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
	if _, err := b.place("customer:C1", "k1", "O1", "C1", 1); status.Code(err) == codes.Unimplemented {
		t.Errorf("a service that is here: %v", err)
	}
	err := b.grpc.Invoke(b.as("staff:anna"), soukv1connect.InventoryServiceGetLevelProcedure, &soukv1.GetLevelRequest{}, &soukv1.GetLevelResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("a service that is not here: %v", err)
	}
	list := func(caller string) (names []string, err error) {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(b.grpc).ServerReflectionInfo(b.as(caller))
		if err == nil {
			err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		r, err := stream.Recv()
		for _, s := range r.GetListServicesResponse().GetService() {
			names = append(names, s.GetName())
		}
		return names, err
	}
	for _, caller := range []string{"engineer:eve", "process:online"} {
		if names, err := list(caller); err != nil || !slices.Contains(names, "souk.v1.OrdersService") || slices.Contains(names, "souk.v1.InventoryService") {
			t.Errorf("%s: %v %v", caller, names, err)
		}
	}
	for _, caller := range []string{"customer:C1", "staff:anna"} {
		if names, err := list(caller); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v %v", caller, names, err)
		}
	}
	close(closing)
	r, err := health.Check(b.as("customer:C1"), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("while it stops: %v %v", r, err)
	}
}

// A paused service refuses until it is resumed, and what is in flight is told with the ends of the logs.
func TestControl(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	b.Settle(t)
	for { // the keeper of a log may be writing just now
		answer, code := b.json("process:cli", "ControlService/GetInFlight", `{}`)
		if heads, _ := answer["heads"].(map[string]any); code != "" || heads["stores"] == nil || heads["keys"] == nil {
			t.Fatalf("%s %v", code, answer)
		}
		if answer["inFlight"] == nil {
			break
		}
	}
	if _, code := b.json("engineer:eve", "ControlService/PauseService", `{"service":"stores"}`); code != "" {
		t.Fatal(code)
	}
	if _, code := b.json("staff:anna", "StoresService/RemoveProduct", `{"commandId":"k1","product":"pen"}`); code != "unavailable" {
		t.Errorf("while it is paused: %s", code)
	}
	if _, code := b.json("engineer:eve", "ControlService/ResumeService", `{"service":"stores"}`); code != "" {
		t.Fatal(code)
	}
	if _, code := b.json("staff:anna", "StoresService/RemoveProduct", `{"commandId":"k1","product":"pen"}`); code != "" {
		t.Errorf("afterwards: %s", code)
	}
	if _, code := b.json("engineer:eve", "ControlService/PauseService", `{"service":"nothing"}`); code != "not_found" {
		t.Errorf("what is not here: %s", code)
	}
}

// B18: a customer finds their own orders and nobody else's, staff find all, and a request that makes no sense is told by its field. Red when
// the query of a customer is taken as it comes.
func TestB18_CustomersFindTheirOwn(t *testing.T) {
	t.Parallel()
	b := begin(t)
	b.stock()
	for order, customer := range map[string]string{"O1": "C1", "O2": "C2"} {
		if _, err := b.place("staff:anna", "find-"+order, order, customer, 1); err != nil {
			t.Fatal(err)
		}
	}
	b.Settle(t)
	find := func(caller, request string) (orders string, code string) {
		answer, code := b.json(caller, "SearchService/FindOrders", request)
		list, _ := answer["orders"].([]any)
		for _, o := range list {
			orders += o.(map[string]any)["order"].(string) + " "
		}
		return orders, code
	}
	for _, c := range []struct{ caller, request, orders, code string }{
		{"staff:anna", `{"text":"o1"}`, "O1 ", ""},
		{"staff:anna", `{"customer":"C2","statuses":["ORDER_STATUS_APPROVED"]}`, "O2 ", ""},
		{"staff:anna", `{"least":{"amount":"1000","currency":"EUR"},"most":{"amount":"1000","currency":"EUR"},"order":"O2"}`, "O2 ", ""},
		{"customer:C1", `{}`, "O1 ", ""},
		{"customer:C1", `{"customer":"C1"}`, "O1 ", ""},
		{"customer:C1", `{"order":"O2"}`, "", ""},
		{"customer:C1", `{"customer":"C2"}`, "", "not_found"},
		{"staff:anna", `{"text":"..."}`, "", "invalid_argument"},
		{"staff:anna", `{"cursor":"%"}`, "", "invalid_argument"},
		{"staff:anna", `{"statuses":["ORDER_STATUS_UNSPECIFIED"]}`, "", "invalid_argument"},
		{"staff:anna", `{"most":{"amount":"0","currency":"EUR"}}`, "", "invalid_argument"},
		{"staff:anna", `{"least":{"amount":"1","currency":"EUR"},"most":{"amount":"1","currency":"USD"}}`, "", "invalid_argument"},
	} {
		if orders, code := find(c.caller, c.request); orders != c.orders || code != c.code {
			t.Errorf("%s asks for %s and gets %q, %q; want %q, %q", c.caller, c.request, orders, code, c.orders, c.code)
		}
	}
	first, _ := b.json("staff:anna", "SearchService/FindOrders", `{"limit":1}`)
	next, _ := first["nextCursor"].(string)
	rest, _ := b.json("staff:anna", "SearchService/FindOrders", `{"limit":1,"cursor":"`+next+`"}`)
	if next == "" || rest["nextCursor"] != nil || len(rest["orders"].([]any)) != 1 {
		t.Errorf("%v, then %v", first, rest)
	}
}
