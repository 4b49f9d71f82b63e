// Package hostile holds what no client of good will sends, for tests that send it: each way in meets the same.
package hostile

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bodies are requests in JSON, or in something that is none, of which no route can do anything, or only some can.
func Bodies() []string {
	return []string{
		"", "null", "{}", "[]", `""`, "0", "-1", "true", "{", "}", `{"a`, "\x00", "\xff\xfe", `{"product":null,"quantity":null}`, `{"product":1,"quantity":"x"}`,
		`{"product":"lamp","quantity":0}`, `{"product":"lamp","quantity":-3}`, `{"product":"lamp","quantity":1.5}`, `{"product":"lamp","quantity":1e400}`,
		`{"product":"lamp","quantity":99999999999999999999}`, `{"product":"nothing","quantity":1}`, `{"product":"la\u0000mp","quantity":1}`,
		`{"product":"lamp","product":"tea","quantity":1}`, `{"product":"lamp","quantity":1,"else":1}`, `{"PRODUCT":"lamp","Quantity":1}`,
		`{"product":"lamp","quantity":1,"price":{"amount":-1,"currency":"EUR"}}`, `{"product":"lamp","quantity":1,"price":{"amount":9223372036854775807,"currency":"EUR"}}`,
		`{"product":"lamp","quantity":1,"price":{"amount":490000000000000000000000000,"currency":"eur"}}`, `{"product":"lamp","quantity":1} {}`,
		`{"prices":[]}`, `{"prices":null}`, `{"prices":[null]}`, `{"prices":[{"product":"lamp","price":{"amount":4900,"currency":"EUR"},"priceVersion":-1}]}`,
		`{"prices":[{"product":"a","price":{"amount":1,"currency":"EUR"},"priceVersion":1},{"product":"a","price":{"amount":1,"currency":"EUR"},"priceVersion":1}]}`,
		`{"choice":"substitute"}`, `{"choice":""}`, `{"choice":["rest"]}`, `{"card":"1001","customer":"walkin-x"}`, `{"card":"\u0001"}`, `{"card":{}}`,
		`{"name":"\u0007","email":"x","sms":"x","card":"x y"}`, `{"email":"a@b\r\nBcc: c@d"}`, `{"name":"` + strings.Repeat("x", 5000) + `"}`, `{"sms":"+"}`,
		`{"payment":"'; DROP TABLE baskets; --"}`, `{"whenShort":"never"}`, `{"waitForStock":"yes"}`, `{"reason":"\u0000"}`, `{"reason":"` + strings.Repeat("x", 201) + `"}`,
		strings.Repeat("[", 10000), strings.Repeat(`{"a":`, 10000), `{"a":"` + strings.Repeat("x", 70000) + `"}`, `"` + strings.Repeat("\\u0000", 1000) + `"`,
		`{"a":`, `{"quantity":null}`, `{"quantity":"1"}`, `{"quantity":1e9}`, `{"quantity":9223372036854775808}`,
		`{"quantity":-1,"location":"../../x"}`, `{"reason":{"a":[1,2]}}`, `{"reason":"` + strings.Repeat("x", 60_000) + `"}`,
		`{"reason":"a","reason":"b"}`, `{"participating":"yes"}`, `{"choice":"maybe","substitutes":[{"sku":1}]}`, `{"takePayment":3}`,
		`{"what":"steal","subject":"x","reason":"y"}`, `{"what":"refund_payment","subject":"P1","amount":{"amount":-1,"currency":"eu"},"reason":"y"}`,
		`{"what":"open_gate","subject":"g","amount":{"amount":1,"currency":"EUR"},"reason":"y"}`, `{"steer":"fly"}`, `{"store":"` + "\u202e" + `","name":""}`,
		`{"price":{"amount":1}}`, `{"delivery":"","sku":"","quantity":0}`,
	}
}

// IDs are what a path or a query may have in the place of an id, as it stands there.
func IDs() []string {
	return []string{
		"nothing", "a", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 5000), "%00", "%0d%0a", "..%2f..", "%2e%2e", "%ff", "%27%3b--", "%20", "-", "a%2fb", "null", "0", "%7bbasket%7d",
	}
}

// Values are JSON values that no field expects, or that only some do.
func Values() []string {
	return []string{
		`null`, `""`, `" "`, `"a b"`, `"\u0000"`, `"\u001b[2J"`, `"\r\nX: y"`, `"\ud800"`, `"ü"`, `"a/b"`, `"../../etc"`, `"*"`, `"'; DROP TABLE x; --"`,
		`"` + strings.Repeat("x", 65) + `"`, `"` + strings.Repeat("x", 200_000) + `"`, `"sealed:v1:C1:AAAA"`, `"sealed:v1:"`,
		`0`, `-1`, `1.5`, `1e400`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `"9223372036854775807"`, `"NaN"`,
		`true`, `{}`, `[]`, `[null]`, `[{}]`, `[[]]`, `{"a":1}`, `{"amount":"9223372036854775807","currency":"EUR"}`, `{"amount":"1","currency":"\u0000"}`,
		`"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"yesterday"`, `"99999999999s"`,
		`[` + strings.Repeat(`{"product":"pen","sku":"PEN","quantity":"1"},`, 200) + `{}]`,
		`[{"product":"pen","sku":"PEN","name":"Pen","price":{"amount":"9223372036854775807","currency":"EUR"},"quantity":"1000000"}]`,
		strings.Repeat(`[`, 2000) + strings.Repeat(`]`, 2000), strings.Repeat(`{"items":`, 2000) + `1` + strings.Repeat(`}`, 2000),
	}
}

// Messages are messages of a kind in JSON, by what is wrong with each: each hostile value as a whole, and in each field of one that is good otherwise.
// Those that are commands have an id of their own each, that begins with a name.
func Messages(kind protoreflect.MessageDescriptor, name string) iter.Seq2[string, string] {
	return func(yield func(what, body string) bool) {
		for _, body := range append(Values(), `{"unknown":1}`, `{"commandId":`, ``, "\x00", `{"commandId":"a","commandId":"b"}`) {
			if !yield(fmt.Sprintf("%.60q", body), body) {
				return
			}
		}
		n := 0
		for _, field := range slices.Sorted(maps.Keys(plausible(kind))) {
			for _, value := range Values() {
				n++
				message := plausible(kind)
				if field != "commandId" && message["commandId"] != nil {
					message["commandId"] = json.RawMessage(fmt.Sprintf(`"fuzz-%s-%d"`, name, n))
				}
				message[field] = json.RawMessage(value)
				var members []string
				for name, v := range message {
					members = append(members, fmt.Sprintf("%q:%s", name, v))
				}
				slices.Sort(members)
				if !yield(fmt.Sprintf("%s=%.60q", field, value), "{"+strings.Join(members, ",")+"}") {
					return
				}
			}
		}
	}
}

// plausible is a message with something in every field that has a chance, so that a hostile value gets past the others.
func plausible(m protoreflect.MessageDescriptor) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		value := `"pen"`
		switch {
		case f.JSONName() == "lines" || f.JSONName() == "items":
			value = `[{"product":"pen","sku":"PEN","quantity":"1"}]`
		case f.JSONName() == "email":
			value = `"a@b.example"`
		case f.JSONName() == "sms":
			value = `"+1"`
		case f.JSONName() == "service":
			value = `"payments"`
		case f.IsList() || f.IsMap():
			continue
		case f.Kind() == protoreflect.MessageKind && f.Message().FullName() == "souk.v1.Money":
			value = `{"amount":"5","currency":"EUR"}`
		case f.Kind() == protoreflect.MessageKind && f.JSONName() == "until":
			value = `"2026-01-02T00:00:00Z"`
		case f.Kind() == protoreflect.MessageKind:
			value = `"2026-01-01T00:00:00Z"`
		case f.Kind() == protoreflect.BoolKind:
			value = `true`
		case f.Kind() != protoreflect.StringKind:
			value = `1`
		}
		all[f.JSONName()] = json.RawMessage(value)
	}
	return all
}
