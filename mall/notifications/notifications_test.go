package notifications

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at it and run with -update:\n%s", path, got)
	}
}

var meta = backbone.Meta{ID: "e1", Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}

// notices has what each event makes.
func notices() []struct {
	effects []backbone.Effect
	notice  Notice
} {
	total := mall.Money{Amount: 4000, Currency: "EUR"}
	until := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	return []struct {
		effects []backbone.Effect
		notice  Notice
	}{
		{
			tellApproved(event.OrderApproved{Order: "o1", Customer: "c1", Total: total}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_approved", Total: total},
		},
		{
			tellRejected(event.OrderRejected{Order: "o1", Customer: "c1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 2}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_rejected", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 2},
		},
		{
			tellRejected(event.OrderRejected{Order: "o1", Customer: "c1", Reason: mall.ReasonPaymentRefused}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_rejected", Reason: mall.ReasonPaymentRefused},
		},
		{
			tellBackordered(event.OrderBackordered{Order: "o1", Customer: "c1", SKU: "pen", Wanted: 3, Available: 2}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_backordered", SKU: "pen", Wanted: 3, Available: 2},
		},
		{
			tellCanceled(event.OrderCanceled{Order: "o1", Customer: "c1", Reason: "changed my mind"}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_canceled", Reason: "changed my mind"},
		},
		{
			tellExpired(event.OrderExpired{Order: "o1", Customer: "c1"}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_expired"},
		},
		{
			tellShort(event.OrderShort{Order: "o1", Customer: "c1", Missing: []mall.Line{{SKU: "pen", Quantity: 2}, {SKU: "ink", Quantity: 1}}, WhenShort: mall.ShortAsk}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_short", Missing: []mall.Line{{SKU: "pen", Quantity: 2}, {SKU: "ink", Quantity: 1}}},
		},
		{
			tellAmended(event.OrderAmended{Order: "o1", Customer: "c1", Choice: mall.ShortRest, Missing: []mall.Line{{SKU: "pen", Quantity: 2}}, Substitutes: []mall.Item{{Name: "Pencil", Quantity: 2}}, Total: total}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_amended", Missing: []mall.Line{{SKU: "pen", Quantity: 2}}, Instead: []string{"2 of Pencil"}, Total: total},
		},
		{
			tellReadied(event.OrderReadied{Order: "o1", Customer: "c1", Total: total}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_readied", Total: total, Unpaid: true},
		},
		{
			tellReadied(event.OrderReadied{Order: "o1", Customer: "c1", Total: total, Payment: "p1", Until: until.UnixMicro()}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_readied", Total: total, Until: until},
		},
		{
			tellCompleted(event.OrderCompleted{Order: "o1", Customer: "c1", Total: total}, meta),
			Notice{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_completed", Total: total},
		},
	}
}

// B17: one event makes one call under one key, whoever delivers it twice.
func TestB17_OneKeyAnEvent(t *testing.T) {
	t.Parallel()
	for _, n := range notices() {
		want := []backbone.Effect{backbone.MakeCall("send", "notification-e1", "o1", n.notice, meta.Time.Add(24*time.Hour))}
		if !reflect.DeepEqual(n.effects, want) {
			t.Errorf("%+v, want %+v", n.effects, want)
		}
	}
}

// Only a customer who wants to be asked is asked when goods are short.
func TestShortAsksWhoWantsToBeAsked(t *testing.T) {
	t.Parallel()
	for wish, want := range map[mall.WhenShort]int{"": 1, mall.ShortAsk: 1, mall.ShortRest: 0, mall.ShortSubstitute: 0, mall.ShortCancel: 0} {
		if got := tellShort(event.OrderShort{Order: "o1", Customer: "c1", WhenShort: wish}, meta); len(got) != want {
			t.Errorf("%q: %d notices, want %d", wish, len(got), want)
		}
	}
}

// B17: each notice goes by the channel that the customer wants for what it is about, and by the other where that one leads nowhere.
func TestB17_Channels(t *testing.T) {
	t.Parallel()
	wish := mall.Tell{Asking: mall.BySMS, Progress: mall.ByNone, Receipts: mall.ByEmail}
	for _, c := range []struct {
		template   string
		wish       mall.Tell
		email, sms bool
		want       mall.Channel
	}{
		{"order_approved", mall.Tell{}, true, true, mall.ByEmail},
		{"order_approved", mall.Tell{}, false, true, mall.BySMS},
		{"order_approved", mall.Tell{}, false, false, ""},
		{"order_approved", wish, true, true, mall.ByNone},
		{"order_approved", wish, false, false, mall.ByNone},
		{"order_short", wish, true, true, mall.BySMS},
		{"order_readied", wish, true, false, mall.ByEmail},
		{"visit_charge_failed", wish, true, true, mall.BySMS},
		{"order_completed", wish, true, true, mall.ByEmail},
		{"visit_charged", wish, false, true, mall.BySMS},
	} {
		if got := (Notice{Template: c.template}).By(c.wish, c.email, c.sms); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	none := RecordNotification{Notification: "e1", Channel: string(mall.ByNone)}
	if events, err := record(notification{}, none, meta); err != nil || len(events) != 0 {
		t.Errorf("what nobody was told: %+v, %v", events, err)
	}
}

func TestTextsAreAsPrinted(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, n := range notices() {
		subject, text, err := Render(n.notice, "Ada")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "# %s\nSubject: %s\n\n%s\n", n.notice.Template, subject, text)
	}
	golden(t, "texts.txt", b.Bytes())
}

func TestRender(t *testing.T) {
	t.Parallel()
	if _, text, err := Render(notices()[0].notice, ""); err != nil || !strings.HasPrefix(text, "Hello,\n") {
		t.Errorf("to somebody without a name: %q, %v", text, err)
	}
	if _, text, err := Render(notices()[0].notice, "Ada\r\nBcc: eve@example.org"); err != nil || !strings.HasPrefix(text, "Hello Ada Bcc: eve@example.org,\n") {
		t.Errorf("to a name with a line break: %q, %v", text, err)
	}
	if _, _, err := Render(Notice{Template: "order_forged"}, "Ada"); err == nil {
		t.Error("a template that there is not was rendered")
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	sent := event.NotificationSent{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_approved", Channel: event.ChannelEmail}
	failed := event.NotificationFailed{Notification: "e1", Customer: "c1", Order: "o1", Template: "order_approved", Reason: "no such mailbox"}
	n := notices()[0].notice
	for _, c := range []struct {
		name  string
		given []backbone.Event
		o     backbone.CallOutcome
		want  []backbone.Event
	}{
		{"sent", nil, backbone.CallOutcome{Result: []byte(`{"channel":"email"}`)}, []backbone.Event{sent}},
		{"sent twice", []backbone.Event{sent}, backbone.CallOutcome{Result: []byte(`{"channel":"email"}`)}, nil},
		{"failed", nil, backbone.CallOutcome{Failed: true, Cause: "no such mailbox"}, []backbone.Event{failed}},
		{"failed after it was sent", []backbone.Event{sent}, backbone.CallOutcome{Failed: true, Cause: "no such mailbox"}, nil},
	} {
		command := outcome(n, c.o)
		appends, err := Service(nil).Handles[0].Decision(map[string][]backbone.Event{"notification/e1": c.given}, command, meta)
		var got []backbone.Event
		for _, a := range appends {
			got = append(got, a.Events...)
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if c := outcome(n, backbone.CallOutcome{Result: []byte(`[`)}).(RecordNotification); !c.Failed {
		t.Errorf("an answer that makes no sense: %+v", c)
	}
}

type postman struct{ err error }

func (p postman) Send(_ context.Context, key string, n Notice) (string, error) {
	return event.ChannelEmail + " " + key + " " + n.Customer, p.err
}

func TestCallReachesTheSender(t *testing.T) {
	t.Parallel()
	got, err := senderCaller{postman{}}.Call(t.Context(), backbone.CallRequest{Key: "k"}, Notice{Customer: "c1"})
	if err != nil || got != (sent{"email k c1"}) {
		t.Errorf("%+v, %v", got, err)
	}
	gone := errors.New("no such mailbox")
	if _, err := (senderCaller{postman{gone}}).Call(t.Context(), backbone.CallRequest{}, Notice{}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// The request of a call and the command that comes back stand in the log for ever.
func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	for name, sample := range map[string]any{
		"send.json": Notice{
			Notification: "01JB2Q7T8Z4N5X6Y7W8V9U0TSR", Customer: "CUSTOMER_001", Order: "ORDER_001", Template: "order_rejected",
			Total: mall.Money{Amount: 4000, Currency: "EUR"}, Reason: mall.ReasonOutOfStock, SKU: "PRODUCT_001", Wanted: 3, Available: 2,
		},
		"souk.notifications.RecordNotification.v1.json": RecordNotification{
			Notification: "01JB2Q7T8Z4N5X6Y7W8V9U0TSR", Customer: "CUSTOMER_001", Order: "ORDER_001", Template: "order_approved",
			Channel: event.ChannelEmail, Failed: true, Reason: "mailbox unavailable",
		},
	} {
		text, err := json.MarshalIndent(sample, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(text, '\n'))
	}
}
