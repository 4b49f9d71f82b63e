package store

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
	smsstandin "example.org/souk/provider/sms/standin"
)

// B17: each customer is told by the channel that they want, by a text message provider and a mail server that are processes of their own: once an event,
// under one id, also where the provider drops its answer; who wants to hear nothing hears nothing; and what cannot be sent stands in
// the log with its reason. Red when preferences are not asked for, and when a sending that is tried again has another id.
func TestB17_EachByTheChannelThatTheyWant(t *testing.T) {
	t.Parallel()
	binary := program(t)
	out := startOutside(t, binary)
	dir := t.TempDir()
	key := filepath.Join(dir, "sms.key")
	provider := testserver.Start(t, testserver.Build(t, "example.org/souk/provider/sms/standin/cmd/smsstandin"),
		"--ledger", filepath.Join(dir, "sms.jsonl"), "--api-key-file", key)
	url := strings.TrimPrefix(provider.WaitLine("listening on"), "listening on ")
	m := startWith(t, out, binary, t.TempDir(), nil, "--sms", url, "--sms-key", key)
	m.seed()
	for id, contact := range map[string]string{
		"texter": "--email texter@shop.example --sms +4930111 --progress sms",
		"writer": "--email writer@shop.example --sms +4930222",
		"phone":  "--sms +4930333",
		"silent": "--email silent@shop.example --progress none",
		"nobody": "",
		"wrong":  "--sms +4930444",
	} {
		m.souk(append([]string{"customer", "register", "--customer", id, "--name", "A B"}, strings.Fields(contact)...)...)
	}
	testmall.AskStandIn(t, http.MethodPut, url+"/faults", key, `{"drop_percent":100,"reject":["+4930444"]}`, nil)
	for _, id := range []string{"texter", "writer", "phone", "silent", "nobody", "wrong"} {
		m.must(202, "POST", "/order", order("TELL_"+id, id, item{"PRODUCT_002", 5, 1}))
	}
	var texts smsstandin.Report
	await(t, "the provider has taken two messages without saying so", func() bool {
		testmall.AskStandIn(t, http.MethodGet, url+"/messages", key, "", &texts)
		return len(texts.Copies) == 2
	})
	testmall.AskStandIn(t, http.MethodPut, url+"/faults", key, `{"reject":["+4930444"]}`, nil)
	m.settle()
	testmall.AskStandIn(t, http.MethodGet, url+"/messages", key, "", &texts)
	told := map[string]string{}
	for _, s := range texts.Messages {
		told[s.To] = s.Text
	}
	if len(texts.Messages) != 2 || len(texts.Copies) != 2 || told["+4930111"] != "Your order TELL_texter is confirmed" || told["+4930333"] != "Your order TELL_phone is confirmed" {
		t.Errorf("text messages %+v", texts)
	}
	for id, copies := range texts.Copies {
		if copies < 2 {
			t.Errorf("%s was not sent again under its id: %+v", id, texts.Copies)
		}
	}
	letters := out.letters(t)
	if len(letters.Messages) != 1 || letters.Messages[0].To[0] != "writer@shop.example" {
		t.Errorf("letters %+v", letters)
	}
	var failed []struct{ Stream, Data json.RawMessage }
	if err := json.Unmarshal([]byte(m.souk("-o", "json", "event", "tail", "--service", "notifications", "--type", event.NotificationFailedV1)), &failed); err != nil {
		t.Fatal(err)
	}
	reasons := ""
	for _, f := range failed {
		reasons += string(f.Data)
	}
	if len(failed) != 2 || !strings.Contains(reasons, "neither address nor number") || !strings.Contains(reasons, "status 422") || strings.Contains(reasons, "+49") {
		t.Errorf("given up: %s", reasons)
	}
}
