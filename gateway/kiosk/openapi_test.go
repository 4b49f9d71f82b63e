package kiosk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/mall"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/fields.txt as the document stands")

// document is the published description, with a schema for what each operation takes and gives.
type document struct {
	t        *testing.T
	raw      map[string]any
	compiler *jsonschema.Compiler
}

func published(t *testing.T, w *world) *document {
	t.Helper()
	rec := w.call("", "GET", "/openapi.json", "")
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(rec.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("kiosk.json", raw); err != nil {
		t.Fatal(err)
	}
	return &document{t, raw.(map[string]any), c}
}

// schema compiles the schema at a path into the document; nil where there is none.
func (d *document) schema(path ...string) *jsonschema.Schema {
	d.t.Helper()
	var at any = d.raw
	pointer := "#"
	for _, p := range path {
		m, ok := at.(map[string]any)
		if !ok || m[p] == nil {
			return nil
		}
		at = m[p]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
	}
	s, err := d.compiler.Compile("kiosk.json" + strings.ReplaceAll(strings.ReplaceAll(pointer, "{", "%7B"), "}", "%7D"))
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// agrees asks that an answer is one that the document tells of.
func (d *document) agrees(pattern, method string, status int, contentType string, body []byte) {
	d.t.Helper()
	contentType, _, _ = strings.Cut(contentType, ";")
	code := []byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
	answer := d.schemaAt(pattern, method, string(code))
	if answer == nil {
		d.t.Errorf("%s %s answers %d, of which the document says nothing: %s", method, pattern, status, body)
		return
	}
	if len(body) == 0 {
		if answer["content"] != nil {
			d.t.Errorf("%s %s answers %d without the body that the document tells of", method, pattern, status)
		}
		return
	}
	schema := d.schema("paths", pattern, strings.ToLower(method), "responses", string(code), "content", contentType, "schema")
	if schema == nil {
		d.t.Errorf("%s %s answers %d as %s, of which the document says nothing", method, pattern, status, contentType)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		d.t.Errorf("%s %s answers %d with what the document does not allow: %v\n%s", method, pattern, status, err, body)
	}
}

func (d *document) schemaAt(pattern, method, code string) map[string]any {
	at := d.raw
	for _, p := range []string{"paths", pattern, strings.ToLower(method), "responses", code} {
		at, _ = at[p].(map[string]any)
	}
	return at
}

// fields lists what the document has in each object, so that an answer that says more than before is seen.
func (d *document) fields() string {
	d.t.Helper()
	var list strings.Builder
	schemas := d.raw["components"].(map[string]any)["schemas"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		schema := schemas[name].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		if len(properties) > 0 && schema["additionalProperties"] != false {
			d.t.Errorf("%s may have anything else", name)
		}
		fmt.Fprintf(&list, "%s: %s\n", name, strings.Join(slices.Sorted(maps.Keys(properties)), ", "))
	}
	return list.String()
}

// The document tells of every route and nothing else, and every answer that the routes give, good or bad, is as it says. FAILURES 4: what the document
// has is what testdata/fields.txt has, and nobody is told an address, a number or a card that was registered. Red where an answer gets a field, or a
// registration is answered with what it said.
func TestB19_TheDocumentIsTrue(t *testing.T) {
	t.Parallel()
	w := open(t)
	d := published(t, w)
	if d.raw["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", d.raw["openapi"])
	}
	described := map[string]bool{}
	for path, item := range d.raw["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for _, rt := range w.door.Routes() {
		if rt.Gate != kiosk.Gate || !strings.Contains(rt.Pattern, "/kiosk/v1/") || strings.HasSuffix(rt.Pattern, "openapi.json") {
			continue
		}
		if !described[rt.Pattern] {
			t.Errorf("%s is not described", rt.Pattern)
		}
		delete(described, rt.Pattern)
	}
	for pattern := range described {
		t.Errorf("%s is described and is not there", pattern)
	}

	if *rewrite {
		if err := os.WriteFile("testdata/fields.txt", []byte(d.fields()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile("testdata/fields.txt"); err != nil || d.fields() != string(want) {
		t.Errorf("%v; the document has\n%s\nand testdata/fields.txt\n%s", err, d.fields(), want)
	}
	seen := map[string]bool{}
	call := func(token, method, pattern, body string, ids map[string]string, headers ...string) []byte {
		t.Helper()
		path := pattern
		for name, id := range ids {
			path = strings.ReplaceAll(path, "{"+name+"}", id)
		}
		bare, _, _ := strings.Cut(pattern, "?")
		rec := w.call(token, method, path, body, headers...)
		d.agrees("/kiosk/v1"+bare, method, rec.Code, rec.Header().Get("Content-Type"), rec.Body.Bytes())
		for _, personal := range []string{"dora@souk.example", "+49 30 1", "card-77"} {
			if strings.Contains(rec.Body.String(), personal) {
				t.Errorf("%s %s tells %s: %s", method, bare, personal, rec.Body)
			}
		}
		if rec.Code < 300 {
			seen[method+" /kiosk/v1"+bare] = true
			if body != "" {
				schema := d.schema("paths", "/kiosk/v1"+bare, strings.ToLower(method), "requestBody", "content", "application/json", "schema")
				value, _ := jsonschema.UnmarshalJSON(strings.NewReader(body))
				if schema == nil || schema.Validate(value) != nil {
					t.Errorf("%s %s takes what the document does not allow: %s", method, bare, body)
				}
			}
		}
		return rec.Body.Bytes()
	}
	kiosk1, amina := w.token(door.Device, "kiosk-1"), w.token(door.Customer, "amina")
	none := map[string]string{}
	call(kiosk1, "GET", "/stores", "", none)
	call(kiosk1, "GET", "/categories", "", nil)
	call(kiosk1, "GET", "/categories?store=main-hall", "", nil)
	call(kiosk1, "GET", "/products?q=lamp&limit=1", "", none)
	call(kiosk1, "GET", "/products?limit=0", "", none)
	call(kiosk1, "GET", "/products?limit=1", "", none)
	call(kiosk1, "GET", "/products/{product}", "", map[string]string{"product": "tea"})
	call(kiosk1, "GET", "/products/{product}", "", map[string]string{"product": "nothing"})
	call("", "GET", "/stores", "", none)
	call(amina, "POST", "/customers", `{}`, none, key("0")...)
	call(kiosk1, "POST", "/customers", `{"name":"Dora","email":"dora@souk.example","sms":"+49 30 1","card":"card-77"}`, none, key("r")...)
	call(kiosk1, "POST", "/customers", `{"name":"Eva"}`, none, key("r")...)
	call(kiosk1, "POST", "/sessions", `{"card":"1001"}`, none)
	var b basket
	if err := json.Unmarshal(call(amina, "POST", "/baskets", "", none, key("b")...), &b); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{"basket": b.Basket, "order": b.Basket, "product": "tea"}
	call(amina, "POST", "/baskets/{basket}/items", `{"product":"lamp","quantity":2}`, ids, key("1")...)
	call(amina, "POST", "/baskets/{basket}/items", `{"product":"lamp","quantity":2}`, ids)
	call(amina, "POST", "/baskets/{basket}/items", `{"product":"tea","quantity":2}`, ids, key("2")...)
	call(amina, "DELETE", "/baskets/{basket}/items/{product}", "", ids)
	call(amina, "DELETE", "/baskets/{basket}/items/{product}", "", ids)
	call(amina, "GET", "/baskets/{basket}", "", ids)
	w.shop.costs("lamp", 4700)
	call(amina, "GET", "/baskets/{basket}", "", ids)
	call(amina, "POST", "/baskets/{basket}/checkout", "", ids, key("c")...)
	call(amina, "POST", "/baskets/{basket}/prices", `{"prices":[{"product":"lamp","price":{"amount":4700,"currency":"EUR"},"priceVersion":2}]}`, ids)
	call(amina, "POST", "/baskets/{basket}/extend", "", ids)
	call(amina, "POST", "/baskets/{basket}/checkout", `{"whenShort":"rest","waitForStock":true}`, ids, key("d")...)
	call(amina, "POST", "/baskets/{basket}/cancel", "", ids)
	call(amina, "GET", "/orders", "", none)
	call(amina, "GET", "/orders/{order}", "", ids)
	w.shop.becomes(b.Basket, "short", func(o *kiosk.Order) { o.Missing = mall.Lines(o.Items) })
	call(amina, "GET", "/orders/{order}", "", ids)
	call(amina, "POST", "/orders/{order}/short", `{"choice":"rest"}`, ids)
	call(kiosk1, "POST", "/orders/{order}/pay", "", ids)
	call(kiosk1, "POST", "/orders/{order}/pay", "", map[string]string{"order": "nothing"})
	call(amina, "POST", "/orders/{order}/cancel", `{"reason":"changed my mind"}`, ids)
	var second basket
	if err := json.Unmarshal(call(amina, "POST", "/baskets", `{"customer":"amina"}`, none, key("b2")...), &second); err != nil {
		t.Fatal(err)
	}
	call(amina, "POST", "/baskets/{basket}/cancel", "", map[string]string{"basket": second.Basket})

	// Streams: what an event carries is what the document says of its data.
	w.listen()
	for pattern, id := range map[string]string{"/baskets/{basket}/events": b.Basket, "/orders/{order}/events": b.Basket} {
		path := strings.NewReplacer("{basket}", id, "{order}", id).Replace(pattern)
		r, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/kiosk/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+amina)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				schema := d.schema("paths", "/kiosk/v1"+pattern, "get", "responses", "200", "content", "text/event-stream", "schema", "contentSchema")
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
				if err != nil || schema.Validate(value) != nil {
					t.Errorf("%s: %v %v: %s", pattern, err, schema.Validate(value), data)
				}
				seen["GET /kiosk/v1"+pattern] = true
				break
			}
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	call(amina, "POST", "/sessions/end", "", none)
	for _, rt := range w.door.Routes() {
		if strings.Contains(rt.Pattern, "/kiosk/v1/") && !strings.HasSuffix(rt.Pattern, "openapi.json") && !seen[rt.Pattern] {
			t.Errorf("%s was never seen to succeed", rt.Pattern)
		}
	}
	if slices.Contains(schemaNames(d), "ErrorModel") {
		t.Error("the document tells of problems that nobody writes")
	}
}

func schemaNames(d *document) (names []string) {
	for name := range d.raw["components"].(map[string]any)["schemas"].(map[string]any) {
		names = append(names, name)
	}
	return names
}
