package devices

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// What stands in the log stands there for ever.
func TestFrozenSamples(t *testing.T) {
	login := Login{Device: "gate-1", Store: "market", Kind: "gate", Hash: HashOf("secret")}
	backbonetest.Frozen(t,
		AddDevice(login), RevokeDevice{Device: "gate-1", Reason: "lost"}, DeviceAdded(login), DeviceRevoked{Device: "gate-1", Reason: "lost"},
		OpenGate{Device: "gate-1", Key: "a1"}, GateOpened{Device: "gate-1", Store: "market", Kind: GateOut, Key: "a1"},
		TakeArrival{came}, ArrivalTaken{came}, TakeDeparture{went}, DepartureTaken{went},
	)
}

var (
	came = command.ScanCard{Store: "market", Card: "5001", Device: "gate-1", Untimed: true, Repeated: true, Taken: 1_790_000_000_000_000, Left: 1_780_000_000_000_000}
	went = command.ScanExit{
		Store: "market", Location: "main", Customer: "CUSTOMER_001", Card: "5001", Device: "gate-1", Lines: []mall.Line{{SKU: "ink", Quantity: 2}},
		Taken: 1_790_000_000_000_000,
	}
)

// A gate opens by hand once for each key, and nothing else does.
func TestAGateIsOpenedByHand(t *testing.T) {
	t.Parallel()
	gate := DeviceAdded(Login{Device: "gate-1", Store: "market", Kind: GateOut, Hash: HashOf("secret")})
	till := gate
	till.Kind = Till
	opened := GateOpened{Device: "gate-1", Store: "market", Kind: GateOut, Key: "a1"}
	c := OpenGate{Device: "gate-1", Key: "a1"}
	backbonetest.Given(t, Service(nil), gate).When(c).Then(opened)
	backbonetest.Given(t, Service(nil), gate, opened).When(c).ThenNothing()
	backbonetest.Given(t, Service(nil), gate, opened).When(OpenGate{Device: "gate-1", Key: "a2"}).Then(GateOpened{Device: "gate-1", Store: "market", Kind: GateOut, Key: "a2"})
	backbonetest.Given(t, Service(nil), till).When(c).ThenRefused("not_a_gate")
	backbonetest.Given(t, Service(nil)).When(c).ThenRefused("device_unknown")
	backbonetest.Given(t, Service(nil), gate, DeviceRevoked{Device: "gate-1"}).When(c).ThenRefused("device_unknown")
}

func TestWhatDevicesSay(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]seen{
		`4006381333931`:                  {customer: "4006381333931"},
		`"card-1"`:                       {customer: "card-1"},
		`card-1`:                         {customer: "card-1"},
		`{"customer_id":42}`:             {customer: "42"},
		`{"card":"k1","other":[1]}`:      {customer: "k1"},
		`{"customer_id":"c","card":"k"}`: {customer: "c"},
		`{"timestamp":1790000000,"customer_id":"c"}`:                                                  {customer: "c", stamp: "1790000000"},
		`{"specversion":"1.0","id":"e1","time":"2026-05-01T12:00:00Z","data":{"customer_id":"c"}}`:    {id: "e1", customer: "c", stamp: "2026-05-01T12:00:00Z"},
		`{"specversion":"1.0","id":7,"time":"later","data":{"customer_id":"c","timestamp":"sooner"}}`: {id: "7", customer: "c", stamp: "sooner"},
	} {
		if got, err := read(arrival, []byte(payload), ""); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", payload, got, err)
		}
	}
	bag := `{"customer_id":"c","product_ids":["a","b","a",7],"items":[{"sku":"a","qty":2}],"tags":["b/1","b/2","b/1","x"]}`
	want := seen{customer: "c", codes: []code{{"7", 1}, {"a", 4}, {"b", 3}, {"x", 1}}}
	if got, err := read(depart, []byte(bag), ""); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	many := strings.Repeat(`"a",`, maxCodes) + `"a"`
	for _, nonsense := range []string{
		``, ` `, `[]`, `null`, `{`, `{}`, `{"customer_id":""}`, `{"customer_id":null}`, `{"customer_id":"a b"}`, `{"customer_id":"` + strings.Repeat("a", 65) + `"}`,
		`{"customer_id":["c"]}`, `{"customer_id":true}`, `{"customer_id":"c/../#"}`, `{"specversion":"1.0","data":{"customer_id":"c"}}`,
		`{"specversion":"1.0","id":"e"}`, `{"specversion":"1.0","id":"` + strings.Repeat("e", 201) + `","data":{"customer_id":"c"}}`,
		`{"customer_id":"c","timestamp":"` + strings.Repeat("1", 65) + `"}`,
		`{"customer_id":"c","items":[{"sku":"a","qty":0}]}`, `{"customer_id":"c","items":[{"sku":"a","qty":-1}]}`, `{"customer_id":"c","items":[{"sku":"a","qty":1.5}]}`,
		`{"customer_id":"c","items":[{"sku":"a","qty":1000001}]}`, `{"customer_id":"c","items":{}}`, `{"customer_id":"c","product_ids":[""]}`,
		`{"customer_id":"c","product_ids":["` + strings.Repeat("p", 201) + `"]}`, `{"customer_id":"c","product_ids":[` + many + `]}`, `{"customer_id":"c","tags":[{}]}`,
	} {
		if got, err := read(depart, []byte(nonsense), ""); !errors.Is(err, errNonsense) {
			t.Errorf("%.80s: %+v, %v", nonsense, got, err)
		}
	}
}

// Whatever comes is read or refused as nonsense; nothing panics, and what is read is within its bounds.
func TestNothingPanics(t *testing.T) {
	t.Parallel()
	pieces := []string{`{`, `}`, `[`, `]`, `:`, `,`, `"`, `"customer_id"`, `"product_ids"`, `"items"`, `"tags"`, `"data"`, `"specversion"`, `"id"`, `1`, `-1e999`, `null`, `"a"`, `"a/b"`, "\x00", "\xff"}
	rapid.Check(t, func(rt *rapid.T) {
		payload := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 30).Draw(rt, "payload"), "")
		for _, w := range []what{arrival, depart} {
			s, err := read(w, []byte(payload), "")
			if err != nil && !errors.Is(err, errNonsense) {
				rt.Fatal(err)
			}
			if err == nil && (s.customer == "" || len(s.codes) > maxCodes) {
				rt.Fatalf("%q is read as %+v", payload, s)
			}
		}
	})
}

// decided is who may say and who may hear what, as it was decided: by topics as they are to a device. NAME is an event that a device has named.
var decided = map[string]struct{ says, hears string }{
	"souk/v1/s1/server/connection":           {"", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/business/payment-due":        {"", "gate gate-out till kiosk"},
	"souk/v1/s1/business/restock-needed":     {"", "till kiosk shelf scale"},
	"souk/s1/CustomerArrival":                {"gate gate-in", "gate gate-in gate-out till kiosk"},
	"souk/s1/customer-arrival":               {"gate gate-in", "gate gate-in gate-out till kiosk"},
	"souk/s1/customer-departed":              {"gate gate-out", "gate gate-out till kiosk"},
	"souk/s1/customer-departure":             {"gate gate-out", "gate gate-out till kiosk"},
	"souk/s1/display-welcome":                {"", "display"},
	"souk/s1/payment-due":                    {"", "gate gate-out till kiosk"},
	"souk/s1/RestockNeeded":                  {"", "till kiosk shelf scale"},
	"souk/v1/s1/OWN/connection":              {"gate gate-in gate-out display till kiosk shelf scale", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/OWN/factsheet":               {"gate gate-in gate-out display till kiosk shelf scale", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/OWN/state":                   {"gate gate-in gate-out display till kiosk shelf scale", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/OWN/ack":                     {"gate gate-in gate-out display till kiosk shelf scale", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/OWN/event/customer-arrived":  {"gate gate-in", "gate gate-in"},
	"souk/v1/s1/OWN/event/customer-departed": {"gate gate-out", "gate gate-out"},
	"souk/v1/s1/OWN/event/NAME":              {"gate gate-in gate-out display till kiosk shelf scale", "gate gate-in gate-out display till kiosk shelf scale"},
	"souk/v1/s1/OWN/cmd/open":                {"", "gate gate-in gate-out"},
	"souk/v1/s1/OWN/content":                 {"", "display"},
}

// may tells what was decided of a topic, for the device d1 of a kind in the store s1.
func may(kind Kind, topic string) (says, hears bool) {
	own := "souk/v1/s1/" + string(kind) + "/d1/"
	if name, ok := strings.CutPrefix(topic, own+"event/"); ok && name != eventArrived && name != eventDeparted && mall.ValidID(name) == nil {
		topic = own + "event/NAME"
	}
	if rest, ok := strings.CutPrefix(topic, own); ok {
		topic = "souk/v1/s1/OWN/" + rest
	}
	is := decided[topic]
	return slices.Contains(strings.Fields(is.says), string(kind)), slices.Contains(strings.Fields(is.hears), string(kind))
}

// A device may do what is listed for its kind, and nothing beside it, under whatever topic. Red when a kind of device may say or hear one topic more than
// was decided, below its own too, and when one is refused that was.
func TestPolicy(t *testing.T) {
	t.Parallel()
	judge := func(fatal func(string, ...any), kind Kind, topic string) {
		l := Login{Device: "d1", Store: "s1", Kind: kind}
		says, hears := may(kind, topic)
		w, canonical := l.publishes("souk", topic)
		if bare, _ := may(kind, "souk/s1/"+topic); !strings.Contains(topic, "/") {
			says = bare
		}
		if (w != nothing) != says || l.mayRead("souk", topic) != hears {
			fatal("a %s may say %q: %v, hear it: %v; want %v, %v", kind, topic, w != nothing, l.mayRead("souk", topic), says, hears)
		}
		if (w == arrival || w == depart) && !strings.Contains(topic, "rriv") && !strings.Contains(topic, "depart") {
			fatal("%q is taken for somebody who comes or leaves", topic)
		}
		if says && canonical != topic && canonical != "souk/s1/"+topic {
			fatal("%q goes to others as %q", topic, canonical)
		}
		if l.maySubscribe("souk", topic) && !strings.HasPrefix(topic, "souk/v1/s1/") && !strings.HasPrefix(topic, "souk/s1/") {
			fatal("a %s may subscribe %q", kind, topic)
		}
	}
	for _, kind := range Kinds() {
		own := string(kind) + "/d1"
		for listed := range decided {
			for _, topic := range []string{listed, listed + "/more", strings.TrimPrefix(listed, "souk/s1/"), strings.Replace(listed, "/s1/", "/s2/", 1), strings.Replace(listed, "OWN", "OWN/else", 1)} {
				judge(t.Errorf, kind, strings.Replace(topic, "OWN", own, 1))
				judge(t.Errorf, kind, strings.Replace(topic, "OWN", string(kind)+"/d2", 1))
				judge(t.Errorf, kind, strings.Replace(topic, "OWN", "gate/d1", 1))
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		level := rapid.SampledFrom([]string{
			"souk", "v1", "v2", "s1", "s2", "gate", "gate-in", "display", "till", "d1", "d2", "event", "business", "server", "connection", "content", "cmd", "open", "deny",
			"state", "customer-arrived", "CustomerArrival", "customer-departed", "payment-due", "display-welcome", "tamper", "NAME", "a b", "\x00", "#", "+", "",
		})
		kind := rapid.SampledFrom(Kinds()).Draw(rt, "kind")
		start := rapid.SampledFrom([]string{"", "souk/v1/s1/" + string(kind) + "/d1/", "souk/s1/"}).Draw(rt, "start")
		judge(rt.Fatalf, kind, start+strings.Join(rapid.SliceOfN(level, 1, 8).Draw(rt, "topic"), "/"))
	})
	if all := Topics("souk", Login{Device: "d1", Store: "s1", Kind: Gate}); len(all) != len(decided) {
		t.Errorf("%d topics are listed, and %d were decided: %q", len(all), len(decided), all)
	}
	for id, want := range map[string]Kind{"gate-1": Gate, "gate-in-2": GateIn, "gate-outside": GateOut, "display": Display, "lamp": ""} {
		if got, known := KindOf(id); got != want || known != (want != "") {
			t.Errorf("%s is a %q", id, got)
		}
	}
}
