package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// scenario is a run of a scenario file.
type scenario struct {
	*mall
	posted map[string]string  // bodies, by order
	people map[string]*person // who shops at the kiosk
	called map[string]string  // the ids that the mall gave, by what the scenario calls them
	asked  int                // of the kiosk
	edge   *edge              // nil: nobody of the scenario speaks of gates or suppliers
}

// sentence is a form that a line of a scenario file may have, and what it does.
type sentence struct {
	form *regexp.Regexp
	do   func(s *scenario, words []string)
}

// sentences are all that can be said. In a form ID stands for a name, NUMBER for a whole number, and ... for anything.
var sentences = []sentence{
	say(`post order ID for ID: ...`, func(s *scenario, w []string) {
		rest, refused, isRefused := strings.Cut(w[2], " and be refused with ")
		body := s.order(w[0], w[1], rest)
		if isRefused {
			if got, answer := s.call("POST", "/order", body); strconv.Itoa(got) != refused {
				s.t.Errorf("%d %s, want %s", got, answer, refused)
			}
			return
		}
		s.posted[w[0]] = body
		s.must(202, "POST", "/order", body)
	}),
	say(`post order ID again NUMBER times`, func(s *scenario, w []string) {
		for range number(s.t, w[1]) {
			s.must(200, "POST", "/order", s.posted[w[0]])
		}
	}),
	say(`cancel order ID`, func(s *scenario, w []string) {
		if status, answer := s.call("POST", "/order/"+w[0]+"/cancel", `{}`); status != 202 && status != 200 {
			s.t.Errorf("%d %s", status, answer)
		}
	}),
	say(`receive NUMBER ID`, func(s *scenario, w []string) { s.souk("stock", "receive", w[1], w[0]) }),
	say(`authorize payment ID of ID: ...`, func(s *scenario, w []string) { s.authorize(w[0], w[1], w[2]) }),
	say(`payment ID becomes ID`, func(s *scenario, w []string) {
		await(s.t, w[0]+" "+w[1], func() bool { return s.payment(w[0]) == w[1] })
	}),
	say(`order ID becomes ID`, func(s *scenario, w []string) { s.awaitStatus(w[0], w[1]) }),
	say(`order ID is short of ID: wanted NUMBER, available NUMBER`, func(s *scenario, w []string) {
		var told struct {
			Rejection struct {
				Reason, ProductID string
				Wanted, Available int
			}
		}
		if err := json.Unmarshal([]byte(s.must(200, "GET", "/order/"+w[0], "")), &told); err != nil {
			s.t.Fatal(err)
		}
		if got, want := fmt.Sprint(told.Rejection), "{out_of_stock "+strings.Join(w[1:], " ")+"}"; got != want {
			s.t.Errorf("it says %s, want %s", got, want)
		}
	}),
	say(`stock ID shows available NUMBER`, func(s *scenario, w []string) {
		if got := s.available(w[0]); got != number(s.t, w[1]) {
			s.t.Errorf("available %d", got)
		}
	}),
	say(`events of ID ID are ...`, func(s *scenario, w []string) {
		var got []string
		for _, row := range s.told("event replay", control.Args{"stream": w[0] + "/" + w[1]}) {
			got = append(got, strings.Split(fmt.Sprint(row["type"]), ".")[2])
		}
		if !slices.Equal(got, strings.Split(w[2], ", ")) {
			s.t.Errorf("they are %s", strings.Join(got, ", "))
		}
	}),
	say(`... gets the mail "..."`, func(s *scenario, w []string) {
		await(s.t, "the mail "+w[1], func() bool { l := letter(s.t, s.out, w[1]); return slices.Equal(l.To, []string{w[0]}) })
	}),
	say(`the watcher joins`, func(s *scenario, _ []string) {
		s.stop()
		s.binary = testserver.Build(s.t, "example.org/souk/test/store/watched")
		s.begin()
	}),
	say(`the watcher was told that order ID was placed and approved`, func(s *scenario, w []string) {
		await(s.t, "the watcher is told", func() bool {
			seen := s.seen(w[0])
			return len(seen) == 2 && strings.HasPrefix(seen[0], "placed|") && strings.HasPrefix(seen[1], "approved|")
		})
	}),
	say(`ID is paused`, func(s *scenario, w []string) { s.souk("service", "pause", w[0]) }),
	say(`ID goes on`, func(s *scenario, w []string) { s.souk("service", "resume", w[0]) }),
}

func say(form string, do func(*scenario, []string)) sentence {
	pattern := regexp.QuoteMeta(form)
	for word, means := range map[string]string{"ID": `([A-Za-z0-9_-]+)`, "NUMBER": `([0-9]+)`, `\.\.\.`: `(.+)`} {
		pattern = strings.ReplaceAll(pattern, word, means)
	}
	return sentence{regexp.MustCompile(`^` + pattern + `$`), do}
}

// understand returns what a line asks for, and whether that needs what stands at the edge. Empty lines and those that
// begin with # ask for nothing; any other that has none of the forms is an error.
func understand(line string) (do func(*scenario), edge bool, err error) {
	if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
		return func(*scenario) {}, false, nil
	}
	for i, list := range [][]sentence{sentences, depotSentences, edgeSentences} {
		for _, s := range list {
			if words := s.form.FindStringSubmatch(line); words != nil {
				return func(run *scenario) { run.t.Helper(); s.do(run, run.ids(words[1:])) }, i == 2, nil
			}
		}
	}
	return nil, false, fmt.Errorf("nobody understands %q", line)
}

// told runs an operation of the command line without a process of its own, and returns what it tells.
func (m *mall) told(operation string, args control.Args) (list []map[string]any) {
	m.t.Helper()
	err := control.Call(m.t.Context(), control.Mall{Data: m.dir, DB: m.db}, operation, args, func(text json.RawMessage) error {
		var row map[string]any
		err := json.Unmarshal(text, &row)
		list = append(list, row)
		return err
	})
	if err != nil {
		m.t.Fatalf("%s: %v", operation, err)
	}
	return list
}

// ids puts into words the ids of what the scenario has another name for.
func (s *scenario) ids(words []string) []string {
	words = slices.Clone(words)
	for i := range words {
		for name, id := range s.called {
			words[i] = strings.ReplaceAll(words[i], name, id)
		}
	}
	return words
}

// order makes the body of an order from "3 PRODUCT_001, 2 PRODUCT_002, paid by PAY_1, and wait for stock".
func (s *scenario) order(id, customer, wanted string) string {
	s.t.Helper()
	prices := map[string]int{"PRODUCT_001": 10, "PRODUCT_002": 5, "Laptop": 1200}
	var items []item
	var payment string
	wait := false
	for _, part := range strings.Split(wanted, ", ") {
		quantity, product, _ := strings.Cut(part, " ")
		switch paid, isPaid := strings.CutPrefix(part, "paid by "); {
		case isPaid:
			payment = paid
		case part == "and wait for stock":
			wait = true
		case prices[product] > 0:
			items = append(items, item{product, prices[product], number(s.t, quantity)})
		default:
			s.t.Fatalf("nobody understands %q", part)
		}
	}
	body := order(id, customer, items...)
	if payment != "" {
		body = paidBy(payment, body)
	}
	if wait {
		body = strings.Replace(body, `"orderId"`, `"waitForStock":true,"orderId"`, 1)
	}
	return body
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The flows of the mall, each told in a text file that needs no programmer to read, run as it stands there. B3 is kiosk-order, and of the supermarket
// walk-in and restock: the whole flow, and all that was told of it, in each stream and from one stream to the next. Red when a service leaves out what
// caused its message; walk-in also when a product counts once however often it is in the bag, restock when each departure below the threshold asks.
func TestB3_Scenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(text), "\n")
			steps := make([]func(*scenario), len(lines))
			binary := program(t)
			s := &scenario{posted: map[string]string{}, people: map[string]*person{}, called: map[string]string{}}
			var flags []string
			for n, line := range lines {
				var needs bool
				if steps[n], needs, err = understand(line); err != nil {
					t.Fatalf("%s:%d: %v", file, n+1, err)
				}
				if needs && s.edge == nil {
					s.edge, flags = startEdge(t, binary)
				}
			}
			s.mall = startWith(t, startOutside(t, binary), binary, t.TempDir(), nil, flags...)
			s.seed()
			for n, step := range steps {
				step(s)
				if t.Failed() {
					t.Fatalf("%s:%d: %s", file, n+1, lines[n])
				}
			}
			s.holdsRebuilt()
		})
	}
}

// A line that is misspelt is not passed over.
func TestScenarioLines(t *testing.T) {
	t.Parallel()
	for line, understood := range map[string]bool{
		"": true, "# a remark": true, "order A becomes APPROVED": true, "  cancel order A ": true,
		"order A become APPROVED": false, "order A becomes APPROVED soon": false, "cancel": false, "stock A shows available many": false,
	} {
		if _, _, err := understand(line); (err == nil) != understood {
			t.Errorf("%q: %v", line, err)
		}
	}
}
