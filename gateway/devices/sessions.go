package devices

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
)

// sessions keeps in a file what the MQTT server has promised to devices that are away: that they are subscribed, what waits for them, and what
// is kept on a topic. So it survives the death of the process. The file is a journal, which is written anew when most of it is over. What is
// settled may be told of again after a power cut, as QoS 1 allows; what was promised is on the disk when sync returns.
//
// Without a path it keeps this in memory alone. Its methods may be called from several goroutines.
type sessions struct {
	path string

	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	lines int   // in the file
	dirty bool  // something is not on the disk
	err   error // the journal could not be written, and is to be written anew
	held
}

// held is what the journal comes to.
type held struct {
	clients map[string]storage.Client // by session
	filters map[string]map[string]filter
	waiting map[string]map[uint16]storage.Message
	kept    map[string]storage.Message // by topic
}

// filter is a subscription. Bare says that what matches goes out under the bare name.
type filter struct {
	storage.Subscription
	Bare bool `json:"bare,omitempty"`
}

// line is a line of the journal: what it sets, or what is over.
type line struct {
	Session string           `json:"session,omitempty"`
	Client  *storage.Client  `json:"client,omitempty"`
	Filter  *filter          `json:"filter,omitempty"`
	Message *storage.Message `json:"message,omitempty"`
	Kept    *storage.Message `json:"kept,omitempty"`
	// What is over: the session, its subscription to a filter, its message, what was kept on a topic.
	Ended        bool   `json:"ended,omitempty"`
	Unsubscribed string `json:"unsubscribed,omitempty"`
	Settled      uint16 `json:"settled,omitempty"`
	Cleared      string `json:"cleared,omitempty"`
}

// slack is how many lines that are over a journal may have before it is written anew, beside as many as are not.
const slack = 10_000

func newHeld() held {
	return held{map[string]storage.Client{}, map[string]map[string]filter{}, map[string]map[uint16]storage.Message{}, map[string]storage.Message{}}
}

// openSessions reads a journal, and begins it where there is none. The end of a line that was being written when the process died was
// promised to nobody, and is dropped.
func openSessions(path string) (_ *sessions, err error) {
	s := &sessions{path: path, held: newHeld()}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for n, one := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if len(one) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(one, &l); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n+1, err)
		}
		s.apply(l)
	}
	return s, s.rewrite()
}

func (h *held) apply(l line) {
	switch {
	case l.Client != nil:
		h.clients[l.Session] = *l.Client
	case l.Filter != nil:
		set(h.filters, l.Session, l.Filter.Filter, *l.Filter)
	case l.Message != nil:
		set(h.waiting, l.Session, l.Message.PacketID, *l.Message)
	case l.Kept != nil:
		h.kept[l.Kept.TopicName] = *l.Kept
	case l.Ended:
		delete(h.clients, l.Session)
		delete(h.filters, l.Session)
		delete(h.waiting, l.Session)
	case l.Unsubscribed != "":
		delete(h.filters[l.Session], l.Unsubscribed)
	case l.Settled != 0:
		delete(h.waiting[l.Session], l.Settled)
	case l.Cleared != "":
		delete(h.kept, l.Cleared)
	}
}

func set[K comparable, V any](all map[string]map[K]V, session string, key K, value V) {
	if all[session] == nil {
		all[session] = map[K]V{}
	}
	all[session][key] = value
}

// now returns the lines that say what is held now.
func (h *held) now() (list []line) {
	for _, id := range slices.Sorted(maps.Keys(h.clients)) {
		c := h.clients[id]
		list = append(list, line{Session: id, Client: &c})
		for _, f := range h.filters[id] {
			list = append(list, line{Session: id, Filter: &f})
		}
		for _, m := range ordered(h.waiting[id]) {
			list = append(list, line{Session: id, Message: &m})
		}
	}
	for _, m := range h.kept {
		list = append(list, line{Kept: &m})
	}
	return list
}

// ordered returns messages in the order in which they came.
func ordered(waiting map[uint16]storage.Message) []storage.Message {
	return slices.SortedFunc(maps.Values(waiting), func(a, b storage.Message) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.PacketID, b.PacketID))
	})
}

// rewrite puts what is held into a file of its own, which then takes the place of the journal.
func (s *sessions) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	next, err := os.OpenFile(s.path+".next", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if s.file != nil {
		_ = s.file.Close() // another one takes its place
	}
	s.file, s.out, s.lines = next, bufio.NewWriter(next), 0
	for _, l := range s.now() {
		err = errors.Join(err, s.write(l))
	}
	err = errors.Join(err, s.out.Flush(), next.Sync())
	if err == nil {
		backbone.CrashPoint("sessions.written")
		err = os.Rename(s.path+".next", s.path)
		backbone.CrashPoint("sessions.renamed")
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *sessions) write(l line) error {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = s.out.Write(append(text, '\n'))
	}
	s.lines++
	return err
}

// add writes a line to the journal. It is not on the disk before sync.
func (s *sessions) add(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.clients[l.Session]; l.Session != "" && l.Client == nil && !known {
		return // nothing is promised to one that ends with its connection
	}
	s.apply(l)
	if s.file == nil {
		return
	}
	err := s.write(l)
	if err == nil && s.lines > slack+2*s.size() {
		err = s.rewrite()
	}
	s.dirty = true
	s.err = errors.Join(s.err, err)
}

// waits returns what waits in a session.
func (s *sessions) waits(session string) []storage.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ordered(s.waiting[session])
}

func (h *held) size() (n int) {
	for id := range h.clients {
		n += 1 + len(h.filters[id]) + len(h.waiting[id])
	}
	return n + len(h.kept)
}

// sync returns when everything that was added is on the disk. A journal that could not be written is written anew as soon as it can be.
func (s *sessions) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file == nil:
		return nil
	case s.err != nil:
		s.err = s.rewrite()
	case s.dirty:
		s.err = errors.Join(s.out.Flush(), s.file.Sync())
	}
	s.dirty = s.err != nil
	return s.err
}

// Close writes what was added, and ends the journal.
func (s *sessions) Close() error {
	err := s.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return err
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

// keepable tells whether what is on a topic may be in a file: what displays show names people in the clear, and is over in seconds.
func keepable(topic string) bool {
	return !strings.HasSuffix(topic, "/"+nameContent) && !strings.HasSuffix(topic, "/"+nameWelcome)
}

// messageOf is a packet as it is stored.
func messageOf(pk packets.Packet) *storage.Message {
	p := pk.Properties.Copy(false)
	return &storage.Message{
		PacketID: pk.PacketID, FixedHeader: pk.FixedHeader, TopicName: pk.TopicName, Payload: pk.Payload, Origin: pk.Origin, Created: pk.Created,
		Properties: storage.MessageProperties{
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, MessageExpiryInterval: p.MessageExpiryInterval, ContentType: p.ContentType,
			ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, SubscriptionIdentifier: p.SubscriptionIdentifier, User: p.User,
		},
	}
}
