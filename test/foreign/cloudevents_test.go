// Package foreign checks what the backbone writes for others (CloudEvents, JSON Schemas, AsyncAPI) against
// implementations that others wrote.
package foreign

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// messages holds one of each kind, with every field that its kind has.
func messages() map[string]*backbone.Message {
	at := time.Date(2026, 11, 2, 3, 4, 5, 678901000, time.UTC)
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	return map[string]*backbone.Message{
		"event": {
			Meta:   backbone.Meta{ID: "01jc", Time: at, Actor: "customer:C1", Correlation: "01ja", Causation: "01jb", Trace: trace},
			Source: "orders", Kind: driver.KindEvent, Type: "souk.orders.OrderPlaced.v1", Stream: "order/o1",
			Position: 42, Version: 3, Sequence: 2, Data: []byte(`{"order":"o1","total":{"amount":4000,"currency":"EUR"}}`),
		},
		"command": {
			Meta:   backbone.Meta{ID: "01jd", Time: at, Actor: `odd "actor" ü`, ReplyTo: "checkout/o1/2"},
			Source: "orders", Kind: driver.KindCommand, Type: "souk.inventory.ReserveStock.v1", Stream: "o1",
			Position: 43, Target: "inventory", Ref: "cmd-1", Data: []byte(`{"order":"o1"}`),
		},
		"reply": {
			Meta:   backbone.Meta{ID: "01je", Time: at},
			Source: "inventory", Kind: driver.KindReply, Type: "souk.inventory.ReserveStock.v1", Stream: "o1", Position: 7, Target: "orders", Ref: "cmd-1", Data: []byte(`{"outcome":1}`),
		},
		"without data": {Meta: backbone.Meta{ID: "01jf", Time: at}, Source: "orders", Kind: driver.KindPrivate, Type: "souk.orders.Noted.v1", Stream: "order/o1", Version: 4, Position: 44},
	}
}

func TestCloudEventsReturnAsTheMessageThatTheyWere(t *testing.T) {
	t.Parallel()
	for name, m := range messages() {
		structured, err := backbone.EncodeCloudEvent(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := backbone.DecodeCloudEvent(structured)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s, structured: %+v, %v; want %+v", name, back, err, m)
		}
		back, err = backbone.MessageFromCloudEvent(backbone.CloudEventAttributes(m), m.Data)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s, binary: %+v, %v; want %+v", name, back, err, m)
		}
	}
}

// TestTheSDKReadsOurs has the SDK of the CloudEvents project read, judge and write again what the backbone wrote.
func TestTheSDKReadsOurs(t *testing.T) {
	t.Parallel()
	for name, m := range messages() {
		structured, err := backbone.EncodeCloudEvent(m)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := json.Unmarshal(structured, &e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if e.ID() != m.ID || e.Source() != m.Source || e.Type() != m.Type || e.Subject() != m.Stream || !e.Time().Equal(m.Time) || string(e.Data()) != string(m.Data) {
			t.Errorf("%s: the SDK read %v", name, e)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := backbone.DecodeCloudEvent(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s through the SDK: %+v, %v; want %+v", name, back, err, m)
		}
		// Binary mode: every attribute stands in the SDK's event under our name and in our form.
		binary := backbone.CloudEventAttributes(m)
		for _, standard := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype"} {
			delete(binary, standard)
		}
		read := map[string]string{}
		for name, value := range e.Extensions() {
			if read[name], err = types.Format(value); err != nil {
				t.Errorf("extension %s: %v", name, err)
			}
		}
		if !maps.Equal(binary, read) {
			t.Errorf("%s: extensions %v, the SDK read %v", name, binary, read)
		}
		for name := range read {
			if len(name) > 20 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
				t.Errorf("extension name %q", name)
			}
		}
	}
}

// TestWeReadTheSDKs reads an event that the SDK made, with extensions of every type that it writes.
func TestWeReadTheSDKs(t *testing.T) {
	t.Parallel()
	e := event.New()
	e.SetID("A234-1234-1234")
	e.SetSource("https://partner.example/storage/tenant/container")
	e.SetType("com.example.order.v1")
	e.SetSubject("order/o9")
	e.SetTime(time.Date(2026, 11, 2, 5, 0, 0, 0, time.FixedZone("east", 7200)))
	e.SetExtension("sequence", "a-17")
	e.SetExtension("severity", 9)
	e.SetExtension("urgent", true)
	e.SetExtension("correlationid", "c1")
	if err := e.SetData("application/json", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	written, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := backbone.DecodeCloudEvent(written)
	if err != nil {
		t.Fatal(err)
	}
	want := &backbone.Message{
		Meta:   backbone.Meta{ID: "A234-1234-1234", Time: time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC), Correlation: "c1"},
		Source: "https://partner.example/storage/tenant/container", Kind: driver.KindEvent, Type: "com.example.order.v1",
		Stream: "order/o9", Data: []byte(`{"n":1}`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatIsNoCloudEventIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":          `{`,
		"an array":         `[]`,
		"no specversion":   `{"id":"1","source":"s","type":"t"}`,
		"another version":  `{"specversion":"0.3","id":"1","source":"s","type":"t"}`,
		"no id":            `{"specversion":"1.0","source":"s","type":"t"}`,
		"no source":        `{"specversion":"1.0","id":"1","type":"t"}`,
		"no type":          `{"specversion":"1.0","id":"1","source":"s"}`,
		"a bad time":       `{"specversion":"1.0","id":"1","source":"s","type":"t","time":"yesterday"}`,
		"other content":    `{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml","data":"<a/>"}`,
		"binary data":      `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AAAA"}`,
		"an unknown kind":  `{"specversion":"1.0","id":"1","source":"s","type":"t","recordkind":"unknown"}`,
		"a negative place": `{"specversion":"1.0","id":"1","source":"s","type":"t","logposition":"-1"}`,
	} {
		if m, err := backbone.DecodeCloudEvent([]byte(text)); !errors.Is(err, backbone.ErrNotCloudEvent) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for name, m := range map[string]*backbone.Message{
		"no id":          {Source: "orders", Type: "t"},
		"data not JSON":  {Meta: backbone.Meta{ID: "1"}, Source: "orders", Type: "t", Data: []byte("{")},
		"nothing at all": {},
	} {
		if _, err := backbone.EncodeCloudEvent(m); err == nil {
			t.Errorf("encoded a message with %s", name)
		}
	}
}

func TestSequencesSortAsTheyCount(t *testing.T) {
	t.Parallel()
	before := ""
	for _, n := range []int64{1, 2, 9, 10, 99, 1 << 40, 1<<63 - 1} {
		m := messages()["event"]
		m.Sequence = n
		if s := backbone.CloudEventAttributes(m)["sequence"]; s <= before {
			t.Errorf("%d is %q, not behind %q", n, s, before)
		} else {
			before = s
		}
	}
}
