package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

const (
	// An atomic batch is at most this many messages, which is what the server allows, and an ordered one has at most as many that the server has
	// not confirmed, so that it is never sent more than it has room for.
	batchMessages = 1000
	// A batch is at most this many bytes; the next one begins when the server has confirmed it.
	batchBytes = 8 << 20
	// After so many messages of an ordered batch, and again after as many, the server says what it has stored.
	batchSigns = 500

	// Operations of a message in an ordered batch, as its reply subject tells them to the server:
	// PREFIX.BATCH.FLOW.GAPS.NUMBER.OPERATION.$FI.
	opStart  = 0
	opAppend = 1
	opCommit = 2

	expectedStream = "Nats-Expected-Stream"
	batchID        = "Nats-Batch-Id"
	batchSequence  = "Nats-Batch-Sequence"
	batchCommit    = "Nats-Batch-Commit"
	headerLine     = len("NATS/1.0\r\n\r\n")
)

// Send publishes the messages of each topic in ordered batches. In such a batch the server stores one message after the
// other, and nothing behind the first one that it refuses, so an error never leaves a hole that later messages have
// jumped over. Nothing is tried again here: after an error the caller sends everything from the first message on that
// was not confirmed, and copies follow what they are copies of in order. Calls for one topic at the same time share
// batches; of such calls the anchor may name another's message, which was sent later. When ctx ends, ms may still be read.
func (c *Client) Send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	for i := range ms {
		if ms[i].Topic != ms[0].Topic {
			return c.send(ctx, ms)
		}
	}
	return c.gather.share(ctx, ms)
}

// send is Send for one caller.
func (c *Client) send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	var anchors []broker.Anchor
	err := c.do(ctx, "publish", func(ctx context.Context, s *session) error {
		for i := range ms {
			if err := s.fits(&ms[i]); err != nil {
				return err
			}
		}
		topics, parts := byTopic(ms)
		anchors = make([]broker.Anchor, len(topics))
		if len(topics) == 1 {
			return s.publish(ctx, parts[0], &anchors[0])
		}
		errs := make([]error, len(topics))
		var all sync.WaitGroup
		for i := range topics {
			all.Go(func() { errs[i] = s.publish(ctx, parts[i], &anchors[i]) })
		}
		all.Wait()
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, err
	}
	return anchors, nil
}

// byTopic returns the topics of messages, in the order in which they come, and the messages of each.
func byTopic(ms []broker.Outgoing) (topics []string, parts [][]*broker.Outgoing) {
	at := 0
	for i := range ms {
		if m := &ms[i]; len(topics) == 0 || topics[at] != m.Topic {
			if at = slices.Index(topics, m.Topic); at < 0 {
				at = len(topics)
				topics, parts = append(topics, m.Topic), append(parts, make([]*broker.Outgoing, 0, len(ms)-i))
			}
		}
		parts[at] = append(parts[at], &ms[i])
	}
	return topics, parts
}

// fits tells before anything is published whether the server will take a message of this size.
func (s *session) fits(m *broker.Outgoing) error {
	most := s.nc.MaxPayload()
	// Every byte of an attribute takes three at most.
	header := 256 + 3*(len(m.ID)+len(m.Type))
	for _, a := range m.Attributes {
		header += len(a.Name) + 3*len(a.Value) + 8
	}
	if header <= math.MaxUint16 && int64(header+len(m.Body)) <= most {
		return nil
	}
	header = headerLine + len(expectedStream) + len(s.streamName(m.Topic)) + 4
	for name, values := range new(envelope).of(m) {
		header += len(name) + len(values[0]) + 4
	}
	if int64(header+len(m.Body)) > most || header > math.MaxUint16 {
		return fmt.Errorf("%w: message %s has %d bytes of headers and %d of data; the server takes %d together, and %d of headers",
			broker.ErrTooLarge, m.ID, header, len(m.Body), most, math.MaxUint16)
	}
	return nil
}

// publish publishes messages of one topic in their order.
func (s *session) publish(ctx context.Context, ms []*broker.Outgoing, anchor *broker.Anchor) error {
	t, err := s.topic(ctx, ms[0].Topic)
	if err != nil {
		return err
	}
	for _, m := range ms {
		if t.largest > 0 && len(m.Body) > t.largest {
			return fmt.Errorf("%w: message %s has %d bytes of data, and topic %s takes %d", broker.ErrTooLarge, m.ID, len(m.Body), t.name, t.largest)
		}
		if m.Partition < 0 || m.Partition >= t.partitions {
			return fmt.Errorf("message %s is for partition %d, and topic %s has %d", m.ID, m.Partition, t.name, t.partitions)
		}
	}
	for len(ms) > 0 {
		n, bytes := 0, 0
		for n < len(ms) && (n < batchMessages || !s.config.Flushed) && (n == 0 || bytes+len(ms[n].Body) <= batchBytes) {
			bytes += len(ms[n].Body)
			n++
		}
		seq, err := s.batch(ctx, t, ms[:n])
		if err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
		last := ms[n-1]
		*anchor = broker.Anchor{Topic: t.name, Identity: t.identity, Partition: last.Partition, Sequence: int64(seq), ID: last.ID}
		ms = ms[n:]
	}
	return nil
}

// batch publishes one batch and waits for its confirmation, which tells the number of the last message. A single
// message needs no batch to be in order.
func (s *session) batch(ctx context.Context, t *topic, ms []*broker.Outgoing) (uint64, error) {
	c := s.begin()
	defer s.forget(c)
	whole := s.config.Flushed && len(ms) > 1
	if whole {
		select {
		case t.atomic <- struct{}{}:
			defer func() { <-t.atomic }()
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	b := letters{topic: t, reply: s.inbox + "." + c.name, whole: whole, of: len(ms), id: c.name}
	stored := 0
	for i, m := range ms {
		if !whole && i >= stored+batchMessages {
			var err error
			if stored, err = s.progress(ctx, c, i-batchMessages+1); err != nil {
				return 0, err
			}
		}
		if err := s.nc.PublishMsg(b.next(m)); err != nil {
			return 0, err
		}
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.stream != t.stream:
		return 0, fmt.Errorf("stream %s has answered for %s", c.stream, t.stream)
	case len(ms) > 1 && c.count != uint64(len(ms)):
		return 0, fmt.Errorf("only the first %d of %d messages are stored", c.count, len(ms))
	}
	return c.seq, nil
}

// letters makes messages of the events of a batch, or of a single one. One stands until the next one is asked for.
type letters struct {
	topic *topic
	reply string // where the answers to the batch go
	whole bool   // it is stored as a whole or not at all
	of    int    // how many it has
	id    string

	made     int
	message  nats.Msg
	envelope envelope
	subjects map[place]string
	buffer   []byte
}

// place is what a subject is made up of.
type place struct {
	partition int
	wire      string
}

// next makes the next event's message.
func (l *letters) next(m *broker.Outgoing) *nats.Msg {
	l.made++
	msg := &l.message
	msg.Subject, msg.Header, msg.Data, msg.Reply = l.subject(m), l.envelope.of(m), m.Body, l.reply
	if l.made == 1 {
		// No other stream may take it; the others of the batch share its fate.
		msg.Header[expectedStream] = []string{l.topic.stream}
	} else {
		delete(msg.Header, expectedStream)
	}
	op := opAppend
	switch l.made {
	case 1:
		op = opStart
	case l.of:
		op = opCommit
	}
	switch {
	case l.of == 1:
	case l.whole:
		msg.Header[batchID] = []string{l.id}
		msg.Header[batchSequence] = []string{strconv.Itoa(l.made)}
		switch op {
		case opAppend:
			msg.Reply = "" // the server says nothing of it, and refuses the batch in the end if it is not there
		case opCommit:
			msg.Header[batchCommit] = []string{"1"}
		}
	default:
		msg.Reply = l.signs(op)
	}
	return msg
}

// signs is the reply subject of a message of an ordered batch: it asks for signs of progress, and a gap ends the batch.
func (l *letters) signs(op int) string {
	b := append(l.buffer[:0], l.reply...)
	b = append(b, '.')
	b = strconv.AppendInt(b, batchSigns, 10)
	b = append(b, ".fail."...)
	b = strconv.AppendInt(b, int64(l.made), 10)
	b = append(b, '.', byte('0'+op))
	l.buffer = append(b, ".$FI"...)
	return string(l.buffer)
}

// subject is where an event is published. Those of a batch have few.
func (l *letters) subject(m *broker.Outgoing) string {
	if l.of == 1 {
		return l.topic.subject(m.Partition, m.Type)
	}
	of := place{m.Partition, m.Type}
	s, known := l.subjects[of]
	if !known {
		s = l.topic.subject(m.Partition, m.Type)
		if l.subjects == nil {
			l.subjects = map[place]string{}
		}
		l.subjects[of] = s
	}
	return s
}

// call is a message or batch that waits for its confirmation. What the server says is in it once done is closed.
type call struct {
	name   string
	done   chan struct{}
	ended  bool
	err    error
	stream string
	seq    uint64
	count  uint64
	stored int           // of the messages of a batch that goes on
	signs  chan struct{} // holds a token when stored or err has changed
}

// begin registers a call under a name that no other connection uses at the server.
func (s *session) begin() *call {
	c := &call{done: make(chan struct{}), signs: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	c.name = s.id + strconv.FormatUint(s.serial, 36)
	s.calls[c.name] = c
	return c
}

func (s *session) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.name)
}

// progress waits until the server has stored n messages of a batch, and returns how many it has. After an error it waits for nothing: what is
// left of the batch is sent all the same, since the server ends it with the first message that it misses one before.
func (s *session) progress(ctx context.Context, c *call, n int) (int, error) {
	for {
		s.mu.Lock()
		stored, over := c.stored, c.err != nil || c.ended
		s.mu.Unlock()
		switch {
		case over:
			return math.MaxInt / 2, nil
		case stored >= n:
			return stored, nil
		}
		select {
		case <-c.signs:
		case <-c.done:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// confirmation is what the server answers: to a message or a finished batch without a type, and on the way of a batch
// with one: ack for progress, gap, or err for the message that ends it.
type confirmation struct {
	Type   string              `json:"type"`
	Error  *jetstream.APIError `json:"error"`
	Stream string              `json:"stream"`
	Seq    uint64              `json:"seq"`
	Count  uint64              `json:"count"`
}

// confirmed takes the server's answers.
func (s *session) confirmed(m *nats.Msg) {
	name, _, _ := strings.Cut(m.Subject[len(s.inbox)+1:], ".")
	var said confirmation
	var err error
	if len(m.Data) == 0 {
		if m.Header.Get("Status") != "503" {
			return // an atomic batch has begun
		}
		err = nats.ErrNoResponders
	} else if err = json.Unmarshal(m.Data, &said); err != nil {
		err = fmt.Errorf("the server's answer cannot be read: %w", err)
	} else if said.Error != nil {
		err = said.Error
		if said.Error.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum {
			err = fmt.Errorf("%w: %w", broker.ErrTooLarge, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[name]
	if c == nil || c.ended {
		return
	}
	if c.err == nil {
		c.err = err
	}
	if said.Type != "" {
		// Of a batch that has met an error the confirmation of what was stored before is still to come.
		if said.Type == "ack" {
			c.stored = max(c.stored, int(said.Seq))
		}
		select {
		case c.signs <- struct{}{}:
		default:
		}
		return
	}
	c.ended = true
	c.stream, c.seq, c.count = said.Stream, said.Seq, said.Count
	close(c.done)
}
