package kiosk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/gateway/door"
)

type followBasketIn struct {
	BasketPath
	Last string `header:"Last-Event-ID" maxLength:"64"`
}

type followOrderIn struct {
	OrderPath
	Last string `header:"Last-Event-ID" maxLength:"64"`
}

// streamOf describes a stream of events that have a body each.
func streamOf(a *api, body any, name string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "Events named " + name + ", and a comment now and then in between.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
			Type: huma.TypeString, Description: "Each event's data is a JSON object.",
			Extensions: map[string]any{"contentMediaType": "application/json", "contentSchema": a.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(body), true, name)},
		}}},
	}}
}

// follow answers with a stream of what look returns, whenever that is another way than before. What it returns first was looked at before the
// stream begins, so that what is not there is answered with a status.
func (g *gateway) follow(r *door.Request, name, last string, topics []string, look func(context.Context) (body any, version int64, err error)) (*huma.StreamResponse, error) {
	written := func(ctx context.Context) ([]byte, int64, error) {
		body, version, err := look(ctx)
		if err != nil {
			return nil, 0, err
		}
		data, err := json.Marshal(body)
		return data, version, err
	}
	first, err := frameOf(r.Context(), name, written)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		for {
			if x, ok := ctx.(*exchange); ok {
				g.stream(r.Context(), x.w, r, name, last, first, topics, written)
				return
			}
			ctx = ctx.(interface{ Unwrap() huma.Context }).Unwrap()
		}
	}}, nil
}

// frame is one event as it travels.
type frame struct {
	id   string
	text []byte
}

// look sees how something is: as text, with the version of it.
type look func(context.Context) (data []byte, version int64, err error)

// frameOf looks, and writes what it sees as an event. Its id has the version, and what tells two texts of one version apart: a basket
// is another one when the catalogue changes.
func frameOf(ctx context.Context, name string, see look) (frame, error) {
	data, version, err := see(ctx)
	if err != nil {
		return frame{}, err
	}
	sum := sha256.Sum256(data)
	f := frame{id: strconv.FormatInt(version, 10) + "-" + hex.EncodeToString(sum[:6])}
	f.text = append(f.text, "id: "+f.id+"\nevent: "+name+"\n"...)
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		f.text = append(append(append(f.text, "data: "...), line...), '\n')
	}
	f.text = append(f.text, '\n')
	return f, nil
}

// stream sends events until the reader leaves, its token ends, or the server stops.
func (g *gateway) stream(ctx context.Context, w http.ResponseWriter, r *door.Request, name, last string, now frame, topics []string, see look) {
	pulse, stop := g.Pulses.Watch(topics...)
	defer stop()
	out := http.NewResponseController(w)
	send := func(text []byte) bool {
		if out.SetWriteDeadline(time.Now().Add(g.SlowAfter)) != nil {
			return false
		}
		if _, err := w.Write(text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that collects answers would hold events back
	if !send([]byte("retry: 2000\n\n")) {
		return
	}
	again := time.NewTicker(g.LookEvery)
	defer again.Stop()
	beat := time.NewTicker(g.BeatEvery)
	defer beat.Stop()
	for {
		if now.id != last {
			if g.door.Expired(&r.Caller) || !send(now.text) {
				return
			}
			last = now.id
			beat.Reset(g.BeatEvery)
		}
		select {
		case <-pulse:
		case <-again.C:
		case <-beat.C:
			if g.door.Expired(&r.Caller) || !send([]byte(": still here\n\n")) {
				return
			}
			continue
		case <-ctx.Done():
			return
		case <-g.Closing:
			return
		}
		f, err := frameOf(ctx, name, see)
		if err == nil {
			now = f
		} // else it cannot be seen now; the next look may
	}
}
