package notifications

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Sender hands a notice to whatever carries it. It finds the customer with GetContact, opens the tokens, chooses the
// channel, and renders the text with Render.
type Sender interface {
	// Send returns the channel that took the message. key is the same in every attempt; the Message-ID is made of it. An
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

your order {{.Order}} has waited until its time was over, and ended. Nothing was charged.
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
