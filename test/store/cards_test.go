package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.org/souk/internal/control"
	core "example.org/souk/mall"
)

// canary is the number of a payment card, which schemes give for tests, and notes are how people write it into a field.
const canary = "4111111111111111"

var notes = []string{"card " + canary + ", thanks", "4111 1111 1111 1111", "paid by 4111-1111-1111-1111"}

// typedIn is a field that people type into: who may, and how. NOTE stands for what they type.
type typedIn struct{ caller, method, path, body, field string }

// pages are the fields of the ways in by HTTP.
var pages = []typedIn{
	{"customer", "POST", "/order/PAN/cancel", `{"reason":NOTE}`, "reason"},
	{"customer", "POST", "/kiosk/v1/orders/PAN/cancel", `{"reason":NOTE}`, "reason"},
	{"device", "POST", "/kiosk/v1/customers", `{"name":NOTE}`, "name"},
	{"clerk", "POST", "/staff/orders/PAN/cancel", `{"reason":NOTE}`, "reason"},
	{"clerk", "POST", "/staff/approvals", `{"what":"refund_payment","subject":"PAN","amount":{"amount":1,"currency":"EUR"},"reason":NOTE}`, "reason"},
	{"clerk", "POST", "/staff/approvals", `{"what":"refund_invoice","subject":"PAN","amount":{"amount":1,"currency":"EUR"},"reason":NOTE}`, "reason"},
	{"clerk", "POST", "/staff/approvals", `{"what":"open_gate","subject":"gate-1","reason":NOTE}`, "reason"},
	{"manager", "POST", "/staff/approvals/nothing/refuse", `{"reason":NOTE}`, "reason"},
	{"manager", "POST", "/staff/purchases/nothing/cancel", `{"reason":NOTE}`, "reason"},
	{"manager", "POST", "/staff/stock/PRODUCT_001/adjust", `{"delta":1,"reason":NOTE}`, "reason"},
	{"manager", "POST", "/staff/stock/PRODUCT_001/count", `{"counted":10,"reason":NOTE}`, "reason"},
	{"manager", "POST", "/staff/stores", `{"store":"pan","name":NOTE,"location":"main"}`, "name"},
	{"manager", "POST", "/staff/stores/main-hall/rebrand", `{"name":NOTE}`, "name"},
}

// programs are those of the methods of programs.
var programs = []typedIn{
	{"manager", "StoresService", "CreateStore", `{"store":"pan","location":"main","name":NOTE}`, "name"},
	{"manager", "StoresService", "RebrandStore", `{"store":"main-hall","name":NOTE}`, "name"},
	{"clerk", "StoresService", "AddProduct", product(`"name":NOTE`), "name"},
	{"clerk", "StoresService", "AddProduct", product(`"name":"Pan","description":NOTE`), "description"},
	{"clerk", "StoresService", "AddProduct", product(`"name":"Pan","category":NOTE`), "category"},
	{"clerk", "StoresService", "RebrandProduct", `{"product":"PRODUCT_001","name":NOTE}`, "name"},
	{"clerk", "StoresService", "RebrandProduct", `{"product":"PRODUCT_001","name":"Pan","description":NOTE}`, "description"},
	{"clerk", "StoresService", "CategorizeProduct", `{"product":"PRODUCT_001","category":NOTE}`, "category"},
	{"clerk", "CustomersService", "RegisterCustomer", `{"customer":"PAN","name":NOTE}`, "name"},
	{"customer", "CustomersService", "ChangeContact", `{"customer":"CUSTOMER_001","name":NOTE}`, "name"},
	{"customer", "BasketsService", "CancelBasket", `{"basket":"BASKET","reason":NOTE}`, "reason"},
	{"customer", "OrdersService", "CancelOrder", `{"order":"PAN","reason":NOTE}`, "reason"},
	{"manager", "InventoryService", "AdjustStock", `{"sku":"PRODUCT_001","delta":"1","reason":NOTE}`, "reason"},
	{"manager", "InventoryService", "CountStock", `{"sku":"PRODUCT_001","counted":"10","reason":NOTE}`, "reason"},
	{"clerk", "PaymentsService", "VoidPayment", `{"payment":"PAN","reason":NOTE}`, "reason"},
	{"clerk", "PaymentsService", "CancelInvoice", `{"invoice":"PAN","reason":NOTE}`, "reason"},
}

func product(fields string) string {
	return `{"product":"pan","store":"main-hall","sku":"pan","price":{"amount":"100","currency":"EUR"},` + fields + `}`
}

// contacts are fields that have a form of their own, in which a number may stand by itself: what is typed there, beside the field.
var contacts = []typedIn{
	{"device", "POST", "/kiosk/v1/customers", `{"email":"` + canary + `@souk.example"}`, "email"},
	{"device", "POST", "/kiosk/v1/customers", `{"sms":"` + canary + `"}`, "sms"},
	{"clerk", "POST", "/souk.v1.CustomersService/RegisterCustomer", `{"commandId":"p1","customer":"PAN","name":"Pan","email":"` + canary + `@souk.example"}`, "email"},
	{"clerk", "POST", "/souk.v1.CustomersService/RegisterCustomer", `{"commandId":"p2","customer":"PAN","name":"Pan","sms":"4111 1111 1111 1111"}`, "sms"},
	{"customer", "POST", "/souk.v1.CustomersService/ChangeContact", `{"commandId":"p4","customer":"CUSTOMER_001","name":"Pan","email":"` + canary + `@souk.example"}`, "email"},
	{"customer", "POST", "/souk.v1.CustomersService/ChangeContact", `{"commandId":"p3","customer":"CUSTOMER_001","name":"Pan","sms":"` + canary + `"}`, "sms"},
}

// operations are those of the command line.
var operations = map[string]control.Args{
	"customer register, by name":  {"customer": "PAN", "name": "NOTE"},
	"customer register, by email": {"customer": "PAN", "name": "Pan", "email": canary + "@souk.example"},
	"customer register, by sms":   {"customer": "PAN", "name": "Pan", "sms": canary},
	"store create":                {"store": "pan", "name": "NOTE"},
	"product add, by name":        {"product": "pan", "store": "main-hall", "price": "1.00", "name": "NOTE"},
	"stock adjust":                {"sku": "PRODUCT_001", "delta": "1", "reason": "NOTE"},
	"stock count":                 {"sku": "PRODUCT_001", "counted": "10", "reason": "NOTE"},
	"basket cancel":               {"basket": "BASKET", "why": "NOTE"},
	"purchase cancel":             {"purchase": "nothing", "why": "NOTE"},
	"device revoke":               {"device": "gate-1", "why": "NOTE"},
	"dlq act":                     {"service": "orders", "action": "discard", "key": "nothing", "why": "NOTE"},
	"saga act":                    {"service": "orders", "saga": "checkout", "action": "retry", "id": "nothing", "why": "NOTE"},
}

// FAILURES 40: the number of a payment card that somebody types into whichever field is refused where it comes in, with the field that it stands in; what it was is
// neither told nor kept: it is in no file and no table, in no log, no figure and no page of the console. Red when one of the fields is taken as it is typed, when a
// new field of a program's method is typed into that is not in the list, and when what is refused is logged.
func TestF16_NoCardNumberComesIn(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	m.must(202, "POST", "/order", order("PAN", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.awaitStatus("PAN", "APPROVED")
	bearers := map[string]string{}
	for role, subject := range map[string]string{"customer": "CUSTOMER_001", "clerk": "ann", "manager": "bob", "device": "kiosk-1", "engineer": "eve"} {
		bearers[role] = "Bearer " + strings.TrimSpace(m.souk("token", "--role", role, "--subject", subject))
	}
	n := 0
	type problem struct {
		Status        int
		Code, Message string
		Errors        []struct{ Field, Reason string }
	}
	send := func(f typedIn, body string) (p problem) {
		t.Helper()
		n++
		_, answer := m.call(f.method, f.path, body, "Authorization", bearers[f.caller], "Idempotency-Key", fmt.Sprint("pan-", n))
		if err := json.Unmarshal([]byte(answer), &p); err != nil || told(answer) {
			t.Errorf("%s %s %s by %s: %v %s", f.method, f.path, body, f.caller, err, answer)
		}
		return p
	}
	_, basket := m.call("POST", "/kiosk/v1/baskets", "", "Authorization", bearers["customer"], "Idempotency-Key", "basket")
	var b struct{ Basket string }
	if err := json.Unmarshal([]byte(basket), &b); err != nil || b.Basket == "" {
		t.Fatalf("a basket: %s", basket)
	}
	for _, note := range notes {
		quoted := fmt.Sprintf("%q", note)
		for _, f := range pages {
			if p := send(f, strings.Replace(f.body, "NOTE", quoted, 1)); p.Status != 400 || len(p.Errors) != 1 || p.Errors[0].Field != f.field || p.Errors[0].Reason != core.NoCard {
				t.Errorf("%s with %s: %+v", f.path, note, p)
			}
		}
		for _, f := range programs {
			n++
			body := fmt.Sprintf(`{"commandId":"pan-%d",`, n) + strings.NewReplacer("NOTE", quoted, "BASKET", b.Basket).Replace(f.body[1:])
			p := send(typedIn{caller: f.caller, method: "POST", path: "/souk.v1." + f.method + "/" + f.path}, body)
			if p.Code != "invalid_argument" || p.Message != f.field+": "+core.NoCard {
				t.Errorf("%s/%s with %s: %+v", f.method, f.path, note, p)
			}
		}
		for name, args := range operations {
			given := control.Args{"actor": "ann"}
			for key, value := range args {
				given[key] = strings.NewReplacer("NOTE", note, "BASKET", b.Basket).Replace(value)
			}
			operation, _, _ := strings.Cut(name, ",")
			if err := m.ask(t.Context(), operation, given); err == nil || !strings.Contains(err.Error(), core.NoCard) && !strings.Contains(err.Error(), "sms: is no number") || told(err.Error()) {
				t.Errorf("%s with %s: %v", name, note, err)
			}
		}
	}
	for _, f := range contacts {
		p := send(f, f.body)
		if named := len(p.Errors) == 1 && p.Errors[0].Field == f.field || strings.HasPrefix(p.Message, f.field+": "); p.Status != 400 && p.Code != "invalid_argument" || !named {
			t.Errorf("%s with %s: %+v", f.path, f.body, p)
		}
	}
	// It is looked for, and not found: that leaves no trace either.
	for _, path := range []string{"/kiosk/v1/products?q=" + canary, "/kiosk/shop?q=" + canary, "/staff/orders?status=" + canary, "/order/" + canary, "/stock/" + canary} {
		m.call("GET", path, "", "Authorization", bearers["manager"])
	}
	m.typedIntoIsListed()

	seen := map[string]string{}
	processes := []*part{m.of("online")}
	if m.others != nil {
		processes = m.others
	}
	for _, p := range processes {
		for _, path := range []string{"/metrics", "/console"} {
			if status, text := callAt(t, p.url, "GET", path, "", "Authorization", bearers["engineer"]); status == 200 {
				seen[p.name+path] = text
			}
		}
		seen[p.name+" says"] = p.proc.Stdout() + p.proc.Stderr()
	}
	m.holds()
	for where, text := range m.written() {
		seen[where] = text
	}
	if len(seen) < 6 {
		t.Errorf("only this was looked at: %d", len(seen))
	}
	for where, text := range seen {
		if told(text) {
			t.Errorf("%s holds the number", where)
		}
	}
}

// told reports whether a text holds the number, in one of the ways in which it was typed.
func told(text string) bool {
	return slices.ContainsFunc([]string{canary, "4111 1111 1111", "4111-1111-1111", "4111%201111"}, func(written string) bool {
		return strings.Contains(text, written) || strings.Contains(text, hex.EncodeToString([]byte(written)))
	})
}

// typedIntoIsListed holds that each field of a method that people type into is in the list, where anybody but the mall's own processes may call it.
func (m *mall) typedIntoIsListed() {
	m.t.Helper()
	for _, way := range waysIn(m.t) {
		service, name, _ := strings.Cut(way.method, "/")
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("souk.v1." + service))
		if way.path != "RPC" || len(way.callers) == 0 || err != nil {
			continue
		}
		fields := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name)).Input().Fields()
		if fields.ByName("command_id") == nil {
			continue // it asks for something
		}
		for i := range fields.Len() {
			f := fields.Get(i)
			listed := slices.ContainsFunc(programs, func(p typedIn) bool { return p.method == service && p.path == name && p.field == f.JSONName() }) ||
				slices.ContainsFunc(contacts, func(p typedIn) bool {
					return strings.HasSuffix(p.path, way.method) && p.field == f.JSONName()
				})
			if typed := slices.Contains([]protoreflect.Name{"name", "reason", "description", "category", "email", "sms", "note", "text", "hint", "comment"}, f.Name()); typed && !listed {
				m.t.Errorf("people type into %s of %s: it is to be in the list", f.Name(), way.method)
			}
		}
	}
}
