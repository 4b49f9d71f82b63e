package devices

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// A journal that is read again, also after the process died within a line, comes to what it came to before.
// Red where a line that is over is kept, or where the rest of a torn line is read.
func TestSessionsComeBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(dir, "sessions", string(rune('a'+runs%26)))
		_ = os.Remove(path) // of a run before
		s, err := openSessions(path)
		if err != nil {
			rt.Fatal(err)
		}
		want := newHeld()
		session := rapid.SampledFrom([]string{"till-1/a", "till-1/b", "gate-1/"})
		topic := rapid.SampledFrom([]string{"souk/v1/s/till/till-1/state", "souk/v1/s/gate/gate-1/connection"})
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			id := session.Draw(rt, "session")
			var l line
			switch rapid.IntRange(0, 8).Draw(rt, "step") {
			case 0, 1:
				l = line{Session: id, Client: &storage.Client{ID: id, Username: []byte("till-1"), ProtocolVersion: 5}}
			case 2, 3:
				l = line{Session: id, Filter: &filter{Bare: rapid.Bool().Draw(rt, "bare"), Subscription: storage.Subscription{Client: id, Filter: topic.Draw(rt, "filter"), Qos: 1}}}
			case 4, 5:
				l = line{Session: id, Message: messageOf(packets.Packet{
					PacketID: rapid.Uint16Range(1, 4).Draw(rt, "id"), TopicName: topic.Draw(rt, "topic"), Payload: []byte(rapid.String().Draw(rt, "payload")),
				})}
			case 6:
				l = line{Kept: messageOf(packets.Packet{TopicName: topic.Draw(rt, "topic"), Payload: []byte{1}})}
			case 7:
				l = line{Session: id, Settled: rapid.Uint16Range(1, 4).Draw(rt, "id")}
			case 8:
				l = rapid.SampledFrom([]line{{Session: id, Ended: true}, {Session: id, Unsubscribed: topic.Draw(rt, "filter")}, {Cleared: topic.Draw(rt, "topic")}}).Draw(rt, "over")
			}
			s.add(l)
			if _, known := want.clients[l.Session]; known || l.Session == "" || l.Client != nil {
				want.apply(l)
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = torn.WriteString(`{"session":"till-1/a","ended":tr`)
		}
		if err != nil || torn.Close() != nil {
			rt.Fatal(err)
		}
		back, err := openSessions(path)
		if err != nil {
			rt.Fatal(err)
		}
		if got, want := back.now(), want.now(); !reflect.DeepEqual(counted(rt, got), counted(rt, want)) {
			rt.Errorf("it comes back as %+v, want %+v", got, want)
		}
		if err := back.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// counted counts lines, whose order says nothing.
func counted(t rapid.TB, list []line) map[string]int {
	n := map[string]int{}
	for _, l := range list {
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		n[string(text)]++
	}
	return n
}
