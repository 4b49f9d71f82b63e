// Package display is a display to try a shop with: it shows who is welcome, in a terminal, and on a page for a screen. It knows only the wire.
package display

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"example.org/souk/device/internal/link"
)

// Config says what a display shows and where. All but CAFile, Version and Page are required.
type Config struct {
	Server, CAFile   string
	Store            string
	Device, Password string
	Version          int // of MQTT: 3 for 3.1.1, or 5; default 5
	Out              io.Writer
	// Page is the loopback address of a page that shows the same; where it is stands on Out. Default none.
	Page string
}

// Run shows what there is to be shown until ctx ends. A connection that is lost is made again.
func Run(ctx context.Context, c Config) error {
	if c.Version == 0 {
		c.Version = 5
	}
	if err := link.Check(c.Server, c.Password); err != nil {
		return err
	}
	p := &page{}
	if c.Page != "" {
		stop, err := p.serve(ctx, c.Page, c.Out)
		if err != nil {
			return err
		}
		defer stop()
	}
	own := "souk/v1/" + c.Store + "/display/" + c.Device + "/"
	said := ""
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		l, err := link.Dial(ctx, link.Config{
			URL: c.Server, CAFile: c.CAFile, Device: c.Device, Password: c.Password, Version: c.Version, Connection: own + "connection",
			Subscribe: []string{own + "content"}, Heard: func(_ string, payload []byte) { show(c.Out, p, payload) },
		})
		if err != nil {
			if why := link.Why(err); why != said && ctx.Err() == nil {
				said = why
				fmt.Fprintln(c.Out, "(not connected: "+said+")")
			}
		} else {
			wait, said = 100*time.Millisecond, ""
			fmt.Fprintln(c.Out, "(connected)")
			select {
			case <-l.Lost():
			case <-ctx.Done():
			}
			l.Close()
		}
		pause(ctx, wait)
	}
	return nil
}

// screen is what is shown, until it expires.
type screen struct {
	Lines   []string  `json:"lines"`
	Expires time.Time `json:"expires_at"`
}

func (s screen) over() bool { return !s.Expires.IsZero() && time.Now().After(s.Expires) }

// show shows a screen. One that is over shows nothing: it greets somebody who is gone.
func show(w io.Writer, p *page, payload []byte) {
	var s screen
	if json.Unmarshal(payload, &s) != nil || s.over() {
		return
	}
	p.set(s)
	fmt.Fprintln(w, "| "+strings.Join(s.Lines, " | ")+" |")
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
