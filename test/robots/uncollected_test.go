package robots

import (
	"io"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/mall/event"
)

// Whose order is ready is told until when it is kept. It expires then and not before, and by nobody's doing but the mall's own.
func TestUncollected(t *testing.T) {
	t.Parallel()
	const collection = 2 * time.Second
	f := open(t, "--collection", collection.String())
	f.do("customer register", control.Args{"customer": "bea", "name": "Bea", "email": "bea@souk.example"})
	f.robots("robot", 1)
	f.do("order place", control.Args{"customer": "bea", "order": "left", "items": `[{"product":"` + thing(0, 0) + `","quantity":1}]`})
	f.until("nobody came for the order", time.Minute, func() bool { return len(f.Log("orders", event.OrderExpiredV1)) == 1 })

	until := time.UnixMicro(testmall.Read[event.OrderReadied](f.Mall, f.Log("orders", event.OrderReadiedV1)[0]).Until).UTC()
	type record struct {
		Actor string
		Time  time.Time
	}
	expired := testmall.Rows[record](f.Mall, "event tail", control.Args{"service": "orders", "last": "1000", "type": event.OrderExpiredV1})[0]
	if expired.Actor != "service:orders" {
		t.Errorf("it expired by %q", expired.Actor)
	}
	if expired.Time.Before(until) {
		t.Errorf("it expired at %v, and was kept until %v", expired.Time, until)
	}
	f.Idle()
	sent, err := os.Open(filepath.Join(f.DirOf("notifications"), "mail.mbox"))
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Close()
	letters, err := io.ReadAll(quotedprintable.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	if says := "It is kept for you until " + until.Format("Monday, 2 January 2006, 15:04 MST"); !strings.Contains(strings.ReplaceAll(string(letters), "\r", ""), says) {
		t.Errorf("no letter says %q:\n%s", says, letters)
	}
}
