package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// person is who shops at the kiosk.
type person struct{ session, basket string }

// kiosk asks the kiosk's terminal for something, under a key of its own, so that it is done once.
func (s *scenario) kiosk(want int, bearer, method, path, body string) (answer map[string]any) {
	s.t.Helper()
	s.asked++
	status, text := s.call(method, "/kiosk/v1"+path, body, "Authorization", "Bearer "+bearer, "Idempotency-Key", fmt.Sprint("asked-", s.asked))
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != want {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	return answer
}

// robot lets a robot come to work, and waits until it has nothing to do.
func (m *mall) robot(id string) {
	m.t.Helper()
	password := m.told("device add", control.Args{"device": id, "kind": "robot"})[0]["password"]
	p := testserver.Command{
		Args: []string{m.binary, "device", "robot", id, "--server", m.url, "--speed", "10000"},
		Env:  []string{fmt.Sprint("SOUK_DEVICE_PASSWORD=", password)},
	}.Start(m.t)
	p.WaitLine(`"connected"`)
	await(m.t, id+" waits for something to do", func() bool {
		return len(m.rows("depot", `SELECT 1 FROM {bb_log} WHERE stream = 'floor/main' AND type = 'souk.depot.RobotOffered.v1'`)) > 0
	})
}

// depotSentences are what can be said of an order from the kiosk to the depot.
var depotSentences = []sentence{
	say(`the robot ID comes to work`, func(s *scenario, w []string) { s.robot(w[0]) }),
	say(`ID registers at the kiosk as ..., who has the address ...`, func(s *scenario, w []string) {
		login := strings.TrimSpace(s.souk("token", "--role", "device", "--subject", "kiosk-1"))
		customer := s.kiosk(201, login, "POST", "/customers", fmt.Sprintf(`{"name":%q,"email":%q}`, w[1], w[2]))["customer"]
		s.people[w[0]] = &person{session: fmt.Sprint(s.kiosk(201, login, "POST", "/sessions", fmt.Sprintf(`{"customer":%q}`, customer))["token"])}
	}),
	say(`ID sees the shop "...", which sells ...`, func(s *scenario, w []string) {
		var shops, goods []string
		who := s.people[w[0]]
		for _, shop := range s.kiosk(200, who.session, "GET", "/stores", "")["stores"].([]any) {
			shops = append(shops, fmt.Sprint(shop.(map[string]any)["name"]))
		}
		for _, p := range s.kiosk(200, who.session, "GET", "/products", "")["products"].([]any) {
			goods = append(goods, fmt.Sprint(p.(map[string]any)["product"]))
		}
		slices.Sort(goods)
		if !slices.Equal(shops, w[1:2]) || strings.Join(goods, ", ") != w[2] {
			s.t.Errorf("%s is shown %v, which sell %v", w[0], shops, goods)
		}
	}),
	say(`ID puts NUMBER ID into the basket`, func(s *scenario, w []string) {
		who := s.people[w[0]]
		if who.basket == "" {
			who.basket = fmt.Sprint(s.kiosk(201, who.session, "POST", "/baskets", "")["basket"])
		}
		s.kiosk(200, who.session, "POST", "/baskets/"+who.basket+"/items", fmt.Sprintf(`{"product":%q,"quantity":%s}`, w[2], w[1]))
	}),
	say(`the basket of ID comes to NUMBER cents`, func(s *scenario, w []string) {
		who := s.people[w[0]]
		total := s.kiosk(200, who.session, "GET", "/baskets/"+who.basket, "")["total"].(map[string]any)["amount"]
		if total != float64(number(s.t, w[1])) {
			s.t.Errorf("it comes to %v", total)
		}
	}),
	say(`ID checks out, which is order ID`, func(s *scenario, w []string) {
		who := s.people[w[0]]
		s.called[w[1]] = fmt.Sprint(s.kiosk(202, who.session, "POST", "/baskets/"+who.basket+"/checkout", "")["order"])
	}),
	say(`ID sees that order ID is ...`, func(s *scenario, w []string) {
		who := s.people[w[0]]
		await(s.t, w[1]+" is "+w[2], func() bool {
			o := s.kiosk(200, who.session, "GET", "/orders/"+w[1], "")
			paid := map[any]string{false: "not paid", true: "paid"}[o["paid"]]
			return fmt.Sprint(o["status"], " and ", paid) == w[2]
		})
	}),
	say(`order ID is paid at the depot`, func(s *scenario, w []string) { s.must(200, "POST", "/staff/orders/"+w[0]+"/pay", `{}`) }),
	say(`order ID is handed over`, func(s *scenario, w []string) { s.must(200, "POST", "/staff/orders/"+w[0]+"/hand-over", `{}`) }),
	say(`everything has been done`, func(s *scenario, _ []string) { s.idle() }),
	// Exactly these, of all that is told in the whole mall.
	say(`ID of ID ID led to ...`, func(s *scenario, w []string) {
		if got, want := s.ledTo(w[0], w[1]+"/"+w[2]), strings.TrimPrefix(w[3], "nothing"); strings.Join(got, ", ") != want {
			s.t.Errorf("it led to %s", strings.Join(got, ", "))
		}
	}),
}

// happened is a record of a log.
type happened struct{ id, ref, kind, kindOf, stream, cause, told string }

// ledTo returns the names of the events that an event led to, over all logs, in alphabetical order: what was told next, after any number of
// commands, answers, and notes that a service makes for itself.
func (s *scenario) ledTo(name, stream string) (list []string) {
	s.t.Helper()
	records := map[string]*happened{}
	for _, service := range []string{
		"baskets", "customers", "depot", "entrance", "exitgate", "fastlane", "greeter", "inventory", "logistics", "notifications", "orders", "payments", "stores",
	} {
		calls := map[string]string{} // the ids of their records, by their own: a call may have that of the event that it is made for
		told := map[string]string{}  // the first event that an answer tells of
		for _, row := range s.rows(service, `SELECT id, text(data) FROM {bb_log} WHERE kind = 4`) {
			id, data, _ := strings.Cut(row, "|")
			var answer struct{ Refs []struct{ ID string } }
			if err := json.Unmarshal([]byte(data), &answer); err != nil {
				s.t.Fatalf("%v: %s", err, data)
			}
			if len(answer.Refs) > 0 {
				told[id] = answer.Refs[0].ID
			}
		}
		for _, row := range s.rows(service, `SELECT id, ref, kind, type, stream, text(meta) FROM {bb_log} ORDER BY position`) {
			f := strings.SplitN(row, "|", 6)
			h := &happened{id: f[0], ref: f[1], kind: f[2], kindOf: f[3], stream: f[4]}
			var meta struct{ CausationID string }
			if err := json.Unmarshal([]byte(f[5]), &meta); err != nil {
				s.t.Fatal(err)
			}
			h.cause, h.told = cmp.Or(calls[meta.CausationID], meta.CausationID), told[h.id]
			records[h.id] = h
			switch h.kind { // commands and calls have an id of their own beside that of their record, since they may be made again
			case "3":
				records[h.ref] = h
			case "5":
				calls[h.ref] = h.id
			}
		}
	}
	short := func(h *happened) string { return strings.Split(h.kindOf, ".")[2] }
	found := false
	for _, id := range slices.Sorted(maps.Keys(records)) {
		h := records[id]
		if h.kind != "1" {
			continue
		}
		found = found || short(h) == name && h.stream == stream
		at := records[h.cause]
		for at != nil && at.kind != "1" {
			at = records[at.before(records)]
		}
		if at != nil && short(at) == name && at.stream == stream {
			list = append(list, short(h))
		}
	}
	if !found {
		s.t.Fatalf("%s has no %s", stream, name)
	}
	slices.Sort(list)
	return list
}

// before is the id of what a record came of: an answer of the event that it tells of, where it tells of one.
func (h *happened) before(records map[string]*happened) string {
	if records[h.told] != nil {
		return h.told
	}
	return h.cause
}
