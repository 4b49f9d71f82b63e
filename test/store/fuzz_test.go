package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.org/souk/gateway/door/hostile"
)

// wayIn is a way into a mall, as the policy of all ways lists them.
type wayIn struct {
	path, method string // of a method of a program "RPC" and "Service/Method"
	callers      []string
}

// waysIn reads that policy, which a test of its own holds to be complete.
func waysIn(t *testing.T) (list []wayIn) {
	t.Helper()
	text, err := os.ReadFile("../../internal/house/testdata/policy.txt")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "\n\n")
	var columns []string
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if columns == nil {
			columns = words[1:]
			continue
		}
		way := wayIn{path: words[0], method: words[1]}
		for i, may := range words[2:] {
			if may != "-" && columns[i] != "nobody" && columns[i] != "login" { // a robot's login opens nothing but its stream
				way.callers = append(way.callers, columns[i])
			}
		}
		list = append(list, way)
	}
	if len(list) < 190 {
		t.Fatalf("only %d ways in", len(list))
	}
	return list
}

// intruder sends to a mall what nobody of good will does.
type intruder struct {
	m       *mall
	client  *http.Client
	bearers map[string]string // by role
	sent    atomic.Int64
}

// answered sends a request, and fails where the answer shows that something broke inside.
func (i *intruder) answered(way wayIn, caller, path, body string, header map[string]string) {
	t := i.m.t
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	method := way.method
	if way.path == "RPC" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, i.m.url+path, strings.NewReader(body))
	if err != nil {
		return // no client can ask for that
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", i.bearers[caller])
	for name, value := range header {
		req.Header.Set(name, value)
	}
	what := fmt.Sprintf("%.120s %.100q by %s", method+" "+path, body, caller)
	i.sent.Add(1)
	resp, err := i.client.Do(req)
	if err != nil {
		if !strings.Contains(err.Error(), "invalid header field") { // nor that
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	defer resp.Body.Close()
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode < http.StatusBadRequest && (err != nil || kind == "text/event-stream") {
		return // nothing, or what has no end
	}
	if kind == streamKind {
		code, message, err := ending(resp.Body, func([]byte) bool { return false })
		if err != nil || slices.Contains(broken, code) && !strings.Contains(message, "the service is not here") {
			t.Errorf("%s: the stream ends with %s %s %v", what, code, message, err)
		}
		return
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %d %v", what, resp.StatusCode, err)
		return
	}
	for _, inside := range []string{"SELECT ", "SQLSTATE", "sqlite", "postgres", "goroutine ", "panic", ".go:", "127.0.0.1", "connection refused"} {
		if bytes.Contains(text, []byte(inside)) {
			t.Errorf("%s tells of the inside: %.300s", what, text)
		}
	}
	if resp.StatusCode < http.StatusBadRequest || kind == "text/html" && resp.StatusCode < http.StatusInternalServerError {
		return
	}
	var p struct {
		Type, Title, Code string
		Status            int
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Errorf("%s: %d %s %.200q", what, resp.StatusCode, kind, text)
		return
	}
	if way.path == "RPC" {
		if slices.Contains([]string{"internal", "unknown", "unavailable", "data_loss", ""}, p.Code) && !bytes.Contains(text, []byte("the service is not here")) {
			t.Errorf("%s: %d %.300s", what, resp.StatusCode, text)
		}
		return
	}
	if resp.StatusCode >= http.StatusInternalServerError || kind != "application/problem+json" || p.Status != resp.StatusCode || p.Code == "" || p.Title == "" ||
		p.Type != "urn:souk:problem:"+p.Code {
		t.Errorf("%s: %d %s %.300s", what, resp.StatusCode, kind, text)
	}
}

// streamKind is what the messages of a stream of a program are sent as.
const streamKind = "application/connect+json"

// B1: whatever comes over whichever way in, from whoever may, nothing breaks: no answer tells of a fault or of the inside, no process ends, and the mall does what it
// did. Red when a field is passed on to another service unread, and when an error of that service is passed on as it came.
func TestB1_NothingBreaksOverTheWire(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.souk("product", "add", "pen", "1.00", "--name", "Pen")
	m.souk("customer", "register", "--customer", "pen", "--name", "Penelope")
	m.must(202, "POST", "/order", order("FUZZ", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.awaitStatus("FUZZ", "APPROVED")
	bearers := map[string]string{}
	for role, subject := range map[string]string{
		"customer": "CUSTOMER_001", "clerk": "ann", "manager": "bob", "robot": "r", "device": "kiosk-1", "partner": "p", "engineer": "eve",
	} {
		bearers[role] = "Bearer " + strings.TrimSpace(m.souk("token", "--role", role, "--subject", subject))
	}
	i := &intruder{m: m, bearers: bearers, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 8},
	}}
	defer i.client.CloseIdleConnections()
	jobs := make(chan func())
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	every := 12 // of what could be sent one in so many is, or all of it
	if os.Getenv("SOUK_PROVE") == "full" {
		every = 1
	}
	n := 0
	send := func(way wayIn, path, body string, header map[string]string) {
		if n++; n%every != 0 {
			return
		}
		key := map[string]string{"Idempotency-Key": fmt.Sprint("fuzz-", n)}
		for name, value := range header {
			key[name] = value
		}
		caller := "customer" // who is not let in everywhere is told so
		if len(way.callers) > 0 {
			caller = way.callers[(n/every)%len(way.callers)]
		}
		jobs <- func() { i.answered(way, caller, path, body, key) }
	}
	for _, way := range waysIn(t) {
		switch {
		case strings.HasSuffix(way.path, "/end") || way.path == "/sign-out" || way.path == "/kiosk/leave": // after that the others of this caller would not be heard
		case way.path == "/metrics": // is told to Prometheus, two at a time
		case way.path == "RPC":
			i.program(way, send)
		default:
			i.page(way, send)
		}
	}
	close(jobs)
	working.Wait()
	t.Logf("%d requests", i.sent.Load())
	if got := int(i.sent.Load()); got < 30_000/every {
		t.Errorf("only %d requests", got)
	}
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.settle()
	procs := []*part{m.of("online")}
	if m.others != nil {
		procs = m.others
	}
	for _, p := range procs {
		if p.proc.Ended() || strings.Contains(p.proc.Stdout()+p.proc.Stderr(), "panic") {
			t.Errorf("%v has ended (%v) or panicked\n%s", p.parts, p.proc.Ended(), p.proc.Stderr())
		}
	}
	m.holds()
}

// program sends to a method of a program.
func (i *intruder) program(way wayIn, send func(wayIn, string, string, map[string]string)) {
	i.m.t.Helper()
	service, name, _ := strings.Cut(way.method, "/")
	if strings.Contains(service, ".") {
		return // robots are another test's, and health and reflection are the modules' own
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("souk.v1." + service))
	if err != nil {
		i.m.t.Fatal(err)
	}
	method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
	if name == "PauseService" {
		return // it has nobody answer any more
	}
	for _, body := range hostile.Messages(method.Input(), name) {
		if method.IsStreamingServer() {
			send(way, "/souk.v1."+way.method, enveloped(0, body), map[string]string{"Content-Type": streamKind})
			continue
		}
		send(way, "/souk.v1."+way.method, body, nil)
	}
}

// page sends to a route.
func (i *intruder) page(way wayIn, send func(wayIn, string, string, map[string]string)) {
	there := strings.NewReplacer("{$}", "", "{order}", "FUZZ", "{id}", "FUZZ", "{product}", "PRODUCT_002", "{productId}", "PRODUCT_002", "{sku}", "PRODUCT_002",
		"{store}", "main-hall", "{", "", "}", "").Replace(way.path)
	if way.method != http.MethodGet {
		for _, body := range hostile.Bodies() {
			send(way, there, body, nil)
		}
	}
	before, after := way.path, ""
	if at := strings.IndexByte(way.path, '{'); at >= 0 {
		before, after = way.path[:at], way.path[strings.IndexByte(way.path, '}')+1:]
	}
	for _, id := range hostile.IDs() {
		if after != "" || before != way.path {
			send(way, before+id+after, `{"product":"PRODUCT_002","quantity":1,"reason":"r"}`, nil)
		}
		for _, query := range []string{"after", "store", "q", "limit", "quantity", "customer", "since", "status", "location", "else", id} {
			send(way, there+"?"+query+"="+id, "", nil)
		}
	}
	for _, value := range []string{"", strings.Repeat("k", 300), "ä", `"`, `""`} {
		send(way, there, "", map[string]string{"Idempotency-Key": value})
		send(way, there, "", map[string]string{"Last-Event-ID": value})
		send(way, there, "{}", map[string]string{"Content-Type": value})
		send(way, there, "", map[string]string{"Authorization": "Bearer " + value})
	}
}

// B12: each mistake is answered with the status and the code that it has, in a problem document, whichever way in it came and whichever service found it: unknown,
// invalid, in conflict, refused, not let in. Red when what a service of another process says is told as something else.
func TestB12_MistakesAreNamedOverTheWire(t *testing.T) {
	t.Parallel()
	binary := program(t)
	m := start(t, binary, t.TempDir(), nil)
	m.seed()
	bearers := map[string]string{"nobody": "Bearer nonsense"}
	for role, subject := range map[string]string{"customer": "CUSTOMER_001", "clerk": "ann", "manager": "bob", "engineer": "eve"} {
		bearers[role] = "Bearer " + strings.TrimSpace(m.souk("token", "--role", role, "--subject", subject))
	}
	for _, id := range []string{"PROMISED", "OVER"} {
		m.must(202, "POST", "/order", order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 3}))
		m.awaitStatus(id, "APPROVED")
	}
	m.must(202, "POST", "/order/OVER/cancel", `{}`)
	m.awaitStatus("OVER", "CANCELED")
	m.idle()
	status, basket := m.call("POST", "/kiosk/v1/baskets", "", "Authorization", bearers["customer"], "Idempotency-Key", "basket")
	var b struct{ Basket string }
	if err := json.Unmarshal([]byte(basket), &b); err != nil || status != 201 {
		t.Fatalf("a basket: %d %s", status, basket)
	}
	items := "/kiosk/v1/baskets/" + b.Basket + "/items"
	for n, c := range []struct {
		caller, method, path, body string
		status                     int
		code, field                string
	}{
		{"nobody", "GET", "/order/PROMISED", "", 401, "unauthenticated", ""},
		{"engineer", "POST", "/staff/stock/PRODUCT_001/receive", `{"quantity":1}`, 403, "forbidden", ""},
		{"clerk", "POST", "/staff/stock/PRODUCT_001/adjust", `{"delta":-1,"reason":"broken"}`, 403, "forbidden", ""},
		{"customer", "PUT", "/order", order1, 405, "method_not_allowed", ""},
		{"customer", "POST", "/order", `{`, 400, "malformed_json", ""},
		{"customer", "POST", "/order", order("NEW", "CUSTOMER_001", item{"NOTHING", 1, 1}), 400, "invalid_field", "data.order.items[0].productId"},
		{"customer", "POST", "/order", order("NEW", "CUSTOMER_001", item{"PRODUCT_001", 9, 1}), 409, "price_changed", ""},
		{"customer", "POST", "/order", order("PROMISED", "CUSTOMER_001", item{"PRODUCT_001", 10, 1}), 409, "different_content", ""},
		{"customer", "POST", "/order", order("NEW", "CUSTOMER_002", item{"PRODUCT_001", 10, 1}), 404, "not_found", ""},
		{"customer", "GET", "/order/NOTHING", "", 404, "not_found", ""},
		{"customer", "GET", "/order/no%20id", "", 400, "invalid_field", "id"},
		{"customer", "POST", "/order/NOTHING/cancel", `{}`, 404, "not_found", ""},
		{"customer", "GET", "/stock/NOTHING", "", 404, "not_found", ""},
		{"customer", "GET", "/kiosk/v1/baskets/nothing", "", 404, "not_found", ""},
		{"customer", "GET", "/kiosk/v1/products/nothing", "", 404, "not_found", ""},
		{"customer", "GET", "/kiosk/v1/orders/nothing", "", 404, "not_found", ""},
		{"customer", "GET", "/kiosk/v1/products?colour=red", "", 400, "invalid_field", "colour"},
		{"customer", "POST", items, `{"product":"PRODUCT_001","quantity":0}`, 400, "invalid_field", "quantity"},
		{"customer", "POST", items, `{"product":"PRODUCT_001","quantity":1,"price":{"amount":1,"currency":"EUR"}}`, 409, "price_changed", ""},
		{"customer", "POST", "/kiosk/v1/baskets/" + b.Basket + "/checkout", "", 409, "basket_empty", ""},
		{"manager", "GET", "/staff/orders/nothing", "", 404, "not_found", ""},
		{"manager", "GET", "/staff/payments/nothing", "", 404, "not_found", ""},
		{"manager", "POST", "/staff/stock/PRODUCT_001/adjust", `{"delta":-8,"reason":"broken"}`, 409, "below_promised", ""},
		{"manager", "POST", "/staff/stock/PRODUCT_001/receive", `{"quantity":0}`, 400, "invalid_field", "quantity"},
		{"manager", "POST", "/staff/robots/nothing/steer", `{"steer":"pause"}`, 404, "robot_unknown", ""},
		{"manager", "POST", "/staff/orders/OVER/hand-over", `{}`, 409, "not_open", ""},
		{"manager", "POST", "/staff/approvals/nothing/give", "", 404, "approval_unknown", ""},
	} {
		status, answer := m.call(c.method, c.path, c.body, "Authorization", bearers[c.caller], "Idempotency-Key", fmt.Sprint("mistake-", n))
		var p struct {
			Type, Code string
			Status     int
			Errors     []struct{ Field, Reason string }
		}
		if err := json.Unmarshal([]byte(answer), &p); err != nil || status != c.status || p.Status != status || p.Code != c.code || p.Type != "urn:souk:problem:"+c.code {
			t.Errorf("%s %s %.100s by %s: %d %s, want %d %s", c.method, c.path, c.body, c.caller, status, answer, c.status, c.code)
		}
		if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Reason == "") {
			t.Errorf("%s %s %.100s by %s: %s does not name %s", c.method, c.path, c.body, c.caller, answer, c.field)
		}
	}
	for _, c := range []struct {
		caller, method, body string
		status               int
		code                 string
	}{
		{"nobody", "OrdersService/GetOrder", `{"order":"PROMISED"}`, 401, "unauthenticated"},
		{"customer", "StoresService/CreateStore", `{"commandId":"p0","store":"x","name":"X"}`, 403, "permission_denied"},
		{"clerk", "OrdersService/GetOrder", `{"order":"NOTHING"}`, 404, "not_found"},
		{"clerk", "PaymentsService/GetPayment", `{"payment":"NOTHING"}`, 404, "not_found"},
		{"clerk", "StoresService/GetProduct", `{"product":"NOTHING"}`, 404, "not_found"},
		{"clerk", "DepotService/GetList", `{"list":"NOTHING"}`, 404, "not_found"},
		{"clerk", "BasketsService/GetBasket", `{"basket":"NOTHING"}`, 404, "not_found"},
		{"clerk", "OrdersService/GetOrder", `{"order":"no id"}`, 400, "invalid_argument"},
		{"clerk", "OrdersService/GetOrder", `{"colour":"red"}`, 400, "invalid_argument"},
		{"clerk", "InventoryService/ReceiveStock", `{"commandId":"p1","sku":"PRODUCT_001","quantity":"-1"}`, 400, "invalid_argument"},
		{"manager", "InventoryService/AdjustStock", `{"commandId":"p2","sku":"PRODUCT_001","delta":"-8","reason":"broken"}`, 400, "failed_precondition"},
		{"clerk", "OrdersService/HandOverOrder", `{"commandId":"p3","order":"OVER"}`, 400, "failed_precondition"},
	} {
		status, answer := m.call("POST", "/souk.v1."+c.method, c.body, "Authorization", bearers[c.caller])
		var p struct{ Code string }
		if err := json.Unmarshal([]byte(answer), &p); err != nil || status != c.status || p.Code != c.code {
			t.Errorf("%s %s by %s: %d %s, want %d %s", c.method, c.body, c.caller, status, answer, c.status, c.code)
		}
	}
	m.holds()
}
