package console

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
)

// Gate is the gateway's name at the door.
const Gate = "staff"

//go:embed page.html page.css page.js
var files embed.FS

// Source says how the mall is now.
type Source interface {
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Snapshot is what the page shows.
type Snapshot struct {
	Stock    []Stock   `json:"stock"`
	Orders   []Order   `json:"orders"` // newest first
	Services []Service `json:"services"`
	Flows    []Flow    `json:"flows"`
}

// Stock is the level of a SKU.
type Stock struct {
	SKU       string `json:"sku"`
	OnHand    int64  `json:"onHand"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
	Available int64  `json:"available"`
}

// Order is a line of the list of orders.
type Order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Status   string    `json:"status"`
	Total    string    `json:"total"`
	Placed   time.Time `json:"placed"`
}

// Service is a service with the number of records in its log.
type Service struct {
	Name    string `json:"name"`
	Records int64  `json:"records"`
}

// Flow is what one service takes from another.
type Flow struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Kind  string `json:"kind"` // command or event
	Types int    `json:"types"`
}

const (
	every      = 250 * time.Millisecond // between two pictures
	slowAfter  = 5 * time.Second
	pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

// Register adds the page's routes to a door. Streams end when closing is closed: a
// server that stops waits for them.
func Register(d *door.Door, source Source, closing <-chan struct{}) error {
	b := &board{source: source, closing: closing}
	all := door.Access{door.Staff: door.All, door.Engineer: door.All}
	return d.Gate(Gate).Add(
		door.Route{Pattern: "GET /{$}", Public: true, Handle: toConsole},
		door.Route{Pattern: "GET /console", Access: all, Handle: file("page.html", "text/html; charset=utf-8")},
		door.Route{Pattern: "GET /console/page.css", Access: all, Handle: file("page.css", "text/css; charset=utf-8")},
		door.Route{Pattern: "GET /console/page.js", Access: all, Handle: file("page.js", "text/javascript; charset=utf-8")},
		door.Route{Pattern: "GET /console/events", Access: all, Stream: true, Handle: b.events},
	)
}

func toConsole(w http.ResponseWriter, _ *door.Request) error {
	w.Header().Set("Location", "/console")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func file(name, contentType string) door.Handler {
	return func(w http.ResponseWriter, _ *door.Request) error {
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", pagePolicy)
		_, err = w.Write(data)
		return err
	}
}

// board makes one picture for everybody who looks, and none when nobody does.
type board struct {
	source  Source
	closing <-chan struct{}
	mu      sync.Mutex
	at      time.Time
	body    []byte
}

func (b *board) picture(ctx context.Context) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.body == nil || now.Sub(b.at) >= every-10*time.Millisecond {
		s, err := b.source.Snapshot(ctx)
		if err != nil {
			return nil, errors.Join(backbone.ErrUnavailable, err)
		}
		body, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		b.at, b.body = now, body
	}
	return b.body, nil
}

// events sends a picture whenever there is another one, and a comment to those who
// would otherwise take the silence for an end.
func (b *board) events(w http.ResponseWriter, r *door.Request) error {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	var last []byte
	quiet := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		body, err := b.picture(r.Context())
		if err != nil && last == nil {
			return err
		}
		if err := out.SetWriteDeadline(time.Now().Add(slowAfter)); err != nil {
			return err
		}
		switch {
		case err == nil && !bytes.Equal(body, last):
			if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil {
				return nil // whoever looked is gone
			}
			last, quiet = body, time.Now()
		case time.Since(quiet) > 10*time.Second:
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil {
				return nil // likewise
			}
			quiet = time.Now()
		}
		if err := out.Flush(); err != nil {
			return nil // likewise
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-b.closing:
			return nil
		case <-tick.C:
		}
	}
}
