package notifications

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Sender hands a notice to whatever carries it. It finds the customer with GetContact, opens the tokens, chooses the
// channel with Notice.By, and renders the text with Render.
type Sender interface {
	// Send returns the channel that took the message, mall.ByNone where the customer does not want to be told. key is the same in every attempt; the Message-ID is made of it. An
	// error of class backbone.Permanent gives the notice up; any other is tried again, for a day.
	Send(ctx context.Context, key string, n Notice) (channel string, err error)
}

// Notice is what a customer is to be told. It stands in the log, so it holds nothing personal.
type Notice struct {
	Notification string     `json:"notification"` // the id of the event
	Customer     string     `json:"customer"`
	Order        string     `json:"order"` // empty: about a visit
	Visit        string     `json:"visit,omitempty"`
	Template     string     `json:"template"`
	Total        mall.Money `json:"total,omitzero"`
	Reason       string     `json:"reason,omitempty"`
	SKU          string     `json:"sku,omitempty"`
	Wanted       int64      `json:"wanted,omitempty"`
	Available    int64      `json:"available,omitempty"`

	Missing []mall.Line `json:"missing,omitempty"` // was promised and not found
	Instead []string    `json:"instead,omitempty"` // what comes in its place, in words
	Unpaid  bool        `json:"unpaid,omitempty"`  // Total is to be paid when the order is collected
	Until   time.Time   `json:"until,omitzero"`    // the order is kept for its customer until then; zero: not said
}

// about says what a notice is about: which of a customer's wishes it goes by.
type about int

const (
	progress about = iota
	asking
	receipt
)

var subjects = map[string]about{
	"order_short": asking, "order_readied": asking, "visit_charge_failed": asking, "order_completed": receipt, "visit_charged": receipt,
}

// By returns the channel by which a customer is told, given what they want and which of the two lead to them; "" where none does.
func (n Notice) By(wish mall.Tell, email, sms bool) mall.Channel {
	wanted := map[about]mall.Channel{progress: wish.Progress, asking: wish.Asking, receipt: wish.Receipts}[subjects[n.Template]]
	switch {
	case wanted == mall.ByNone:
		return mall.ByNone
	case sms && (wanted == mall.BySMS || !email):
		return mall.BySMS
	case email:
		return mall.ByEmail
	}
	return ""
}

const sendName = "send"

// sent is the result of a sending.
type sent struct {
	Channel string `json:"channel"`
}

func sendCall(s Sender) backbone.CallType {
	var caller backbone.Caller[Notice]
	if s != nil {
		caller = senderCaller{s}
	}
	return backbone.CallTo(sendName, caller, outcome)
}

type senderCaller struct{ sender Sender }

// Call sends the notice once. A mail server cannot be asked what became of a message, so this is no backbone.Asker: what
// is in doubt is sent again with the same Message-ID.
func (c senderCaller) Call(ctx context.Context, call backbone.CallRequest, n Notice) (any, error) {
	channel, err := c.sender.Send(ctx, call.Key, n)
	return sent{channel}, err
}

func outcome(n Notice, o backbone.CallOutcome) backbone.Command {
	c := RecordNotification{Notification: n.Notification, Customer: n.Customer, Order: n.Order, Template: n.Template}
	var s sent
	if o.Failed {
		c.Failed, c.Reason = true, o.Cause
	} else if err := json.Unmarshal(o.Result, &s); err != nil {
		c.Failed, c.Reason = true, "the sender's answer makes no sense"
	}
	c.Channel = s.Channel
	return c
}

// texts has a subject and a body for each template. name is how the customer is called, empty where that is not known.
var texts = func() *template.Template {
	t := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"because": because})
	for name, text := range map[string]string{
		"hello": `Hello{{with .Name}} {{.}}{{end}},`,

		"order_approved/subject": `Your order {{.Order}} is confirmed`,
		"order_approved": `{{template "hello" .}}

your order {{.Order}} is confirmed. Everything you ordered is reserved for you.
Total: {{.Total}}
`,
		"order_rejected/subject": `Your order {{.Order}} could not be accepted`,
		"order_rejected": `{{template "hello" .}}

we are sorry: your order {{.Order}} could not be accepted, because {{because .Reason}}.
{{- if .SKU}}
Of {{.SKU}} you ordered {{.Wanted}}, and {{.Available}} are available.
{{- end}}
Nothing was charged.
`,
		"order_backordered/subject": `Your order {{.Order}} waits for a delivery`,
		"order_backordered": `{{template "hello" .}}

of {{.SKU}} you ordered {{.Wanted}}, and {{.Available}} are available at the moment.
Your order {{.Order}} waits for the next delivery and goes on by itself. You can cancel it until then.
`,
		"order_canceled/subject": `Your order {{.Order}} is cancelled`,
		"order_canceled": `{{template "hello" .}}

your order {{.Order}} is cancelled. Nothing is reserved for it any more, and nothing is owed.
`,
		"visit_charged/subject": `Your receipt: {{.Total}}`,
		"visit_charged": `{{template "hello" .}}

thank you for your visit. You were charged {{.Total}}.
Your visit has the number {{.Visit}}. If something is wrong with it, tell the shop this number.
`,
		"visit_charge_failed/subject": `We could not charge {{.Total}}`,
		"visit_charge_failed": `{{template "hello" .}}

{{.Total}} are due for what you took from the shop, and we could not charge it.
Please come to the desk. Your visit has the number {{.Visit}}.
`,
		"order_expired/subject": `Your order {{.Order}} has expired`,
		"order_expired": `{{template "hello" .}}

your order {{.Order}} has waited until its time was over, and ended. Nothing is owed for it, and what was paid for it goes back to you.
`,
		"order_short/subject": `Your order {{.Order}} needs your decision: not everything was found`,
		"order_short": `{{template "hello" .}}

we are sorry: not everything of your order {{.Order}} was found.
{{- range .Missing}}
Missing: {{.Quantity}} of {{.SKU}}
{{- end}}
Tell us what you want: the rest of it, something like it instead, or nothing at all. Your order waits until you do.
`,
		"order_amended/subject": `Your order {{.Order}} has changed: it comes to {{.Total}}`,
		"order_amended": `{{template "hello" .}}

not everything of your order {{.Order}} was found.
{{- range .Missing}}
Left out: {{.Quantity}} of {{.SKU}}
{{- end}}
{{- range .Instead}}
Instead: {{.}}
{{- end}}
What is left, and what comes instead, comes to {{.Total}}.
`,
		"order_readied/subject": `Your order {{.Order}} is ready: collect it at the depot`,
		"order_readied": `{{template "hello" .}}

everything of your order {{.Order}} is at the depot of the mall. Collect it there, and have the number of your order with you.
{{- if not .Until.IsZero}}
It is kept for you until {{.Until.Format "Monday, 2 January 2006, 15:04 MST"}}. After that it expires, and what you paid for it is given back.
{{- end}}
{{- if .Unpaid}}
You pay {{.Total}} when you collect it, if you have not yet.
{{- end}}
`,
		"order_completed/subject": `Your receipt for order {{.Order}}: {{.Total}}`,
		"order_completed": `{{template "hello" .}}

thank you. Your order {{.Order}} is complete: you have collected it, and paid {{.Total}}.
`,
	} {
		template.Must(t.New(name).Parse(text))
	}
	return t
}()

// because says a reason in words that follow "because".
func because(reason string) string {
	switch reason {
	case mall.ReasonOutOfStock:
		return "there is too little in stock"
	case mall.ReasonCustomerRefused:
		return "your customer account cannot order at the moment"
	case mall.ReasonPaymentRefused:
		return "your payment could not be used for it"
	}
	return "it could not be carried out"
}

// Render returns subject and text of a notice for a customer of that name; "" where the name cannot be opened. Line
// breaks in the name are taken out, so that it cannot write headers. An unknown template is an error.
func Render(n Notice, name string) (subject, text string, err error) {
	data := struct {
		Notice
		Name string
	}{n, strings.Join(strings.Fields(name), " ")}
	if subject, err = render(n.Template+"/subject", data); err == nil {
		text, err = render(n.Template, data)
	}
	if err != nil {
		return "", "", fmt.Errorf("template %q: %w", n.Template, err)
	}
	return subject, text, nil
}

func render(name string, data any) (string, error) {
	var b strings.Builder
	err := texts.ExecuteTemplate(&b, name, data)
	return b.String(), err
}
