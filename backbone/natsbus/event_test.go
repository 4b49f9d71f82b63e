package natsbus_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

func TestCloudEventsBinding(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	js := raw(t, server.URL())

	// Out: binary mode, as the specification's own example has it.
	m := message("orders", 0, "1", thing)
	m.Attributes = append(m.Attributes, broker.Attribute{Name: "subject", Value: "Euro € 😀"})
	send(t, c, m)
	stream, err := js.Stream(t.Context(), config.Prefix+"orders")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ce-id": "1", "ce-source": "shop", "ce-specversion": "1.0", "ce-type": thing,
		"ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-datacontenttype": "application/json", "Content-Type": "",
	} {
		if got := kept.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if want := config.Prefix + "orders.0.shop_things_Made.v1"; kept.Subject != want {
		t.Errorf("subject %s, want %s", kept.Subject, want)
	}

	// In: what others write.
	publish := func(body string, header nats.Header) {
		t.Helper()
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: config.Prefix + "orders.0.other.v1", Header: header, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	event := `{"specversion":"1.0","id":"2","source":"s","type":"t","data":{}}`
	publish(event, nats.Header{"content-type": {"application/CloudEvents+json; charset=utf-8"}})
	publish("{}", nats.Header{
		"CE-ID": {"3"}, "ce-Subject": {`"a \"b\" %41%zz"`}, "ce-datacontenttype": {"text/plain"}, "other": {"x"}, "Content-Type": {"text/html"},
	})
	publish("what?", nil)
	r := receive(t, c, g, 0)
	got := r.next(4)
	sortByName(m.Attributes)
	for i, want := range []broker.Incoming{
		{ContentType: "application/json", Attributes: m.Attributes, Body: m.Body},
		{ContentType: "application/CloudEvents+json; charset=utf-8", Body: []byte(event)},
		{ContentType: "text/plain", Attributes: []broker.Attribute{{Name: "id", Value: "3"}, {Name: "subject", Value: `a "b" A%zz`}}, Body: []byte("{}")},
		{Body: []byte("what?")},
	} {
		sortByName(got[i].Attributes)
		if g := got[i]; g.ContentType != want.ContentType || !slices.Equal(g.Attributes, want.Attributes) || string(g.Body) != string(want.Body) {
			t.Errorf("message %d: got %+v, want %+v", i, g, want)
		}
	}
}
