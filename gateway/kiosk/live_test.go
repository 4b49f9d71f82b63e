package kiosk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/kiosk"
)

// feed is a stream of server-sent events, as a stock client reads it.
type feed struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

type happening struct{ id, name, data, comment string }

func (w *world) follow(token, path, last string) *feed {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", w.url+"/kiosk/v1"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r) //nolint:bodyclose // it is closed with the feed
	if err != nil {
		w.t.Fatal(err)
	}
	f := &feed{w.t, resp, bufio.NewScanner(resp.Body), cancel}
	w.t.Cleanup(f.close)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return f
}

func (f *feed) close() {
	f.cancel()
	_ = f.resp.Body.Close() // it was cut
}

// next returns what comes next; false at the end.
func (f *feed) next() (h happening, ok bool) {
	for f.lines.Scan() {
		line := f.lines.Text()
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && (h.data != "" || h.comment != ""):
			return h, true
		case line == "":
			h = happening{}
		case name == "":
			h.comment = value
		case name == "id":
			h.id = value
		case name == "event":
			h.name = value
		case name == "data":
			h.data = value
		}
	}
	return h, false
}

// event returns the next event that is no comment.
func (f *feed) event(into any) happening {
	f.t.Helper()
	for {
		h, ok := f.next()
		if !ok {
			f.t.Fatalf("the stream ended: %v", f.lines.Err())
		}
		if h.data != "" {
			if err := json.Unmarshal([]byte(h.data), into); err != nil {
				f.t.Fatal(err)
			}
			return h
		}
	}
}

// A basket and an order are followed live; who comes back hears at once what changed meanwhile, and nothing where nothing did.
func TestStreamsAreLiveAndResume(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *kiosk.Config, _ *door.Config) { c.LookEvery, c.BeatEvery = time.Hour, 50*time.Millisecond })
	w.listen()
	amina := w.token(door.Customer, "amina")
	var b basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &b)
	at := "/baskets/" + b.Basket
	f := w.follow(amina, at+"/events", "")
	if h := f.event(&b); h.name != "basket" || h.id == "" || b.Version != 1 {
		t.Fatalf("%+v %+v", h, b)
	}
	w.must(200, w.call(amina, "POST", at+"/items", `{"product":"lamp","quantity":2}`, key("1")...), nil)
	last := f.event(&b)
	if b.Version != 2 || b.Total.Amount != 9800 {
		t.Fatalf("%+v", b)
	}
	w.shop.costs("lamp", 5000)
	if changed := f.event(&b); !b.PricesChanged || changed.id == last.id {
		t.Fatalf("%+v %+v", changed, b)
	} else {
		last = changed
	}
	f.close()

	back := w.follow(amina, at+"/events", last.id)
	if h, ok := back.next(); !ok || h.comment == "" {
		t.Errorf("nothing changed, and yet %+v", h)
	}
	back.close()
	w.must(200, w.call(amina, "POST", at+"/prices", `{"prices":[{"product":"lamp","price":{"amount":5000,"currency":"EUR"},"priceVersion":2}]}`), nil)
	back = w.follow(amina, at+"/events", last.id)
	if h := back.event(&b); h.id == last.id || b.PricesChanged {
		t.Errorf("%+v %+v", h, b)
	}

	var o order
	w.must(202, w.call(amina, "POST", at+"/checkout", "", key("c")...), &o)
	live := w.follow(amina, "/orders/"+o.Order+"/events", "")
	live.event(&o)
	for _, status := range []string{"reserved", "approved", "picking", "ready"} {
		w.shop.becomes(o.Order, status, nil)
		if live.event(&o); o.Status != status || o.History[len(o.History)-1].Status != status {
			t.Fatalf("%+v, want %s", o, status)
		}
	}
	w.refused(w.call(amina, "GET", "/orders/nothing/events", ""), 404, "not_found")
}

// A pulse that is lost only delays.
func TestStreamsLookByThemselves(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *kiosk.Config, _ *door.Config) { c.LookEvery, c.Pulses = 10*time.Millisecond, &door.Hub{} })
	w.listen()
	amina := w.token(door.Customer, "amina")
	var b basket
	w.must(201, w.call(amina, "POST", "/baskets", "", key("b")...), &b)
	f := w.follow(amina, "/baskets/"+b.Basket+"/events", "")
	f.event(&b)
	w.must(200, w.call(amina, "POST", "/baskets/"+b.Basket+"/items", `{"product":"lamp","quantity":2}`, key("1")...), nil)
	if f.event(&b); b.Version != 2 {
		t.Errorf("%+v", b)
	}
}

// A stream ends with the session that it is for, and with the server.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.listen()
	customer, session := w.visit()
	staff := w.token(door.Staff, "s")
	var b basket
	w.must(201, w.call(session, "POST", "/baskets", "", key("b")...), &b)
	mine, theirs := w.follow(session, "/baskets/"+b.Basket+"/events", ""), w.follow(staff, "/baskets/"+b.Basket+"/events", "")
	mine.event(&b)
	theirs.event(&b)
	w.must(204, w.call(session, "POST", "/sessions/end", ""), nil)
	if h, ok := mine.next(); ok {
		t.Errorf("%s is told %+v after the session", customer, h)
	}
	close(w.closing)
	if h, ok := theirs.next(); ok {
		t.Errorf("the server stops, and there is %+v", h)
	}
}
