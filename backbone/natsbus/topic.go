package natsbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

// partitionsKey is where a stream's metadata says how many partitions it has.
const partitionsKey = "souk.partitions"

// minAge is the least that the server takes as a stream's window of duplicates, which must not exceed its age.
const minAge = 100 * time.Millisecond

// topic is what is known of a topic's stream. It does not change as long as the stream is the same one.
type topic struct {
	name       string
	stream     string
	partitions int
	identity   string
	largest    int           // of its messages, headers and all; -1 or 0 for what the server takes
	atomic     chan struct{} // holds a token while an atomic batch is published, of which the server allows few at once
}

// identityOf names a stream's storage: one that is made again has another time.
func identityOf(info *jetstream.StreamInfo) string {
	return info.Created.UTC().Format(time.RFC3339Nano)
}

func (s *session) streamName(topic string) string { return s.config.Prefix + token(topic) }

// wanted is how a topic's stream is made.
func (s *session) wanted(name string, partitions int) jetstream.StreamConfig {
	stream := s.streamName(name)
	return jetstream.StreamConfig{
		Name:        stream,
		Description: "topic " + name,
		Subjects:    []string{stream + ".>"},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		// A full stream refuses; the other way it would drop what somebody has not read.
		Discard:  jetstream.DiscardNew,
		MaxAge:   s.config.MaxAge,
		MaxBytes: s.config.MaxBytes,
		MaxMsgs:  -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
		Replicas:   s.config.Replicas,
		DenyDelete: true,
		DenyPurge:  true,
		// The inbox is what drops copies. Here they must be stored: one may be published again because its first is lost.
		Duplicates: min(time.Second, s.config.MaxAge),
		// Ordered batches that end at the first message that is refused, and such as are stored as a whole or not at all.
		AllowBatchPublish: true, AllowAtomicPublish: true,
		Metadata: map[string]string{partitionsKey: strconv.Itoa(partitions)},
	}
}

// judge returns an error that names each setting of a topic's stream with which it may lose messages, or with which this
// client does not work.
func (s *session) judge(name string, c *jetstream.StreamConfig) error {
	var found []error
	unsafe := func(ok bool, format string, args ...any) {
		if !ok {
			text := fmt.Sprintf(format, args...)
			found = append(found, fmt.Errorf("%w: topic %s (stream %s): %s", broker.ErrUnsafe, name, c.Name, text))
		}
	}
	want := s.wanted(name, 1)
	unsafe(c.Storage == jetstream.FileStorage, "storage is %v, and should be file", c.Storage)
	unsafe(c.Retention == jetstream.LimitsPolicy, "retention is %v, and should be limits", c.Retention)
	unsafe(c.Discard == jetstream.DiscardNew, "discard is %v, and should be new", c.Discard)
	unsafe(c.MaxMsgsPerSubject <= 0 || c.DiscardNewPerSubject,
		"max_msgs_per_subject is %d, and should be unlimited", c.MaxMsgsPerSubject)
	unsafe(c.MaxAge == want.MaxAge, "max_age is %v, and should be %v as configured, below the window of the inboxes", c.MaxAge, want.MaxAge)
	unsafe(c.PersistMode == jetstream.DefaultPersistMode, "persist_mode is async, and should be default")
	unsafe(!c.NoAck, "no_ack is set, and should not be")
	unsafe(!c.Sealed, "sealed is set, and should not be")
	unsafe(c.DenyDelete, "deny_delete should be set")
	unsafe(c.DenyPurge, "deny_purge should be set")
	unsafe(c.AllowBatchPublish, "allow_batched should be set")
	unsafe(c.AllowAtomicPublish || c.PersistMode != jetstream.DefaultPersistMode, "allow_atomic should be set")
	unsafe(c.Mirror == nil && len(c.Sources) == 0, "mirror or sources are set, and should not be")
	unsafe(c.SubjectTransform == nil, "subject_transform is set, and should not be")
	unsafe(slices.Equal(c.Subjects, want.Subjects), "subjects are %v, and should be %v", c.Subjects, want.Subjects)
	_, err := strconv.Atoi(c.Metadata[partitionsKey])
	unsafe(err == nil, "metadata lacks %s", partitionsKey)
	return errors.Join(found...)
}

// known returns a topic that this connection has seen.
func (s *session) known(name string) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[name]
}

// learn keeps what a stream's description says.
func (s *session) learn(name string, info *jetstream.StreamInfo) (*topic, error) {
	if err := s.judge(name, &info.Config); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(info.Config.Metadata[partitionsKey])
	if err != nil || n < 1 {
		return nil, fmt.Errorf("topic %s: its stream says that it has %q partitions", name, info.Config.Metadata[partitionsKey])
	}
	t := &topic{
		name: name, stream: info.Config.Name, partitions: n, identity: identityOf(info),
		largest: int(info.Config.MaxMsgSize), atomic: make(chan struct{}, 1),
	}
	s.mu.Lock()
	s.topics[name] = t
	s.mu.Unlock()
	return t, nil
}

// topic returns a topic that exists.
func (s *session) topic(ctx context.Context, name string) (*topic, error) {
	if t := s.known(name); t != nil {
		return t, nil
	}
	stream, err := s.js.Stream(ctx, s.streamName(name))
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", name, err)
	}
	return s.learn(name, stream.CachedInfo())
}

// look asks for a topic's stream as it is now.
func (s *session) look(ctx context.Context, name string, options ...jetstream.StreamInfoOpt) (jetstream.Stream, *jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, s.streamName(name))
	if err != nil {
		return nil, nil, fmt.Errorf("topic %s: %w", name, err)
	}
	info := stream.CachedInfo()
	if len(options) > 0 {
		info, err = stream.Info(ctx, options...)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("topic %s: %w", name, err)
	}
	return stream, info, nil
}

// DeclareTopic makes a stream with one subject a partition and type, or takes the one that exists if it is safe.
func (c *Client) DeclareTopic(ctx context.Context, name string, partitions int) (int, error) {
	n := 0
	err := c.do(ctx, "declare topic "+name, func(ctx context.Context, s *session) error {
		t, err := s.topic(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if partitions < 1 {
				return fmt.Errorf("a topic of %d partitions", partitions)
			}
			var stream jetstream.Stream
			stream, err = s.js.CreateStream(ctx, s.wanted(name, partitions))
			switch {
			case err == nil:
				t, err = s.learn(name, stream.CachedInfo())
			case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // somebody was faster
				t, err = s.topic(ctx, name)
			}
		}
		if err == nil {
			n = t.partitions
		}
		return err
	})
	return n, err
}

// Holds looks at the message with the anchor's number. One that is no longer kept because of its age counts as held.
func (c *Client) Holds(ctx context.Context, a broker.Anchor) (bool, error) {
	holds := false
	err := c.do(ctx, "look for an anchor in topic "+a.Topic, func(ctx context.Context, s *session) error {
		stream, info, err := s.look(ctx, a.Topic)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if t := s.known(a.Topic); t != nil && t.identity != identityOf(info) {
			s.mu.Lock()
			delete(s.topics, a.Topic)
			s.mu.Unlock()
		}
		if identityOf(info) == a.Identity {
			holds, err = has(ctx, stream, &info.State, uint64(max(a.Sequence, 0)), a.ID)
		}
		return err
	})
	return holds, err
}

// has tells whether a stream still has the event under this number, or had it and let it go because of its age. An
// empty id stands for any event.
func has(ctx context.Context, stream jetstream.Stream, state *jetstream.StreamState, seq uint64, id string) (bool, error) {
	switch {
	case seq == 0:
		return true, nil
	case seq > state.LastSeq:
		return false, nil
	case seq < state.FirstSeq || id == "":
		return true, nil
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		// Either it has just become too old, or it never was: the number is one that the server has skipped.
		info, err := stream.Info(ctx)
		return err == nil && seq < info.State.FirstSeq, err
	}
	if err != nil {
		return false, err
	}
	return idOf(m.Header) == id, nil
}

// Describe counts a topic's messages by their subjects. All partitions share the stream's numbers.
func (c *Client) Describe(ctx context.Context, name string) ([]broker.PartitionInfo, error) {
	var list []broker.PartitionInfo
	err := c.do(ctx, "describe topic "+name, func(ctx context.Context, s *session) error {
		t, err := s.topic(ctx, name)
		if err != nil {
			return missing(err)
		}
		stream, info, err := s.look(ctx, name, jetstream.WithSubjectFilter(t.stream+".>"))
		if err != nil {
			return missing(err)
		}
		list = make([]broker.PartitionInfo, t.partitions)
		next := int64(info.State.LastSeq) + 1
		for p := range list {
			list[p] = broker.PartitionInfo{Partition: p, First: next, Next: next}
		}
		for subject, n := range maps.All(info.State.Subjects) {
			if p, ok := partitionOf(subject); ok && p < len(list) {
				list[p].Messages += int64(n)
			}
		}
		for p := range list {
			if list[p].Messages == 0 {
				continue
			}
			m, err := stream.GetMsg(ctx, info.State.FirstSeq, jetstream.WithGetMsgSubject(fmt.Sprintf("%s.%d.>", t.stream, p)))
			switch {
			case err == nil:
				list[p].First = int64(m.Sequence)
			case !errors.Is(err, jetstream.ErrMsgNotFound): // it has become too old meanwhile
				return err
			}
		}
		return nil
	})
	return list, err
}

// missing says of a stream that is not there that there is no such topic.
func missing(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %w", broker.ErrNoTopic, err)
	}
	return err
}

// partitionOf reads the partition out of a subject.
func partitionOf(subject string) (int, bool) {
	parts := strings.SplitN(subject, ".", 3)
	if len(parts) < 3 {
		return 0, false
	}
	n, err := strconv.Atoi(parts[1])
	return n, err == nil && n >= 0
}
