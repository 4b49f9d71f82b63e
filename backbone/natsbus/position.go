package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

// position is how far a group is in one partition of a topic. It lives as the newest message of a subject of its own in
// the stream of positions, and is written only by who has read the one before (compare and swap).
type position struct {
	// Identity is that of the topic's storage to which the numbers belong.
	Identity string `json:"identity"`
	// Marks are events up to which everything is settled, the newest first, the one at which the group began last. Each
	// carries the event's id: a server that has lost the end of a topic gives its numbers again, to other events.
	Marks []mark `json:"marks"`
	// Seen is the highest number that was handed out.
	Seen uint64 `json:"seen,omitempty"`
	// Receiver is the consumer at the server of whoever receives. Each receiver has one of its own.
	Receiver string `json:"receiver,omitempty"`

	revision uint64 // the message in which it stands
}

// mark is an event of a topic.
type mark struct {
	Seq   uint64 `json:"seq"`
	ID    string `json:"id,omitempty"`
	Since int64  `json:"since,omitempty"` // in seconds of the Unix epoch, when the mark began to move
}

const (
	// apart is how far marks are apart in time, and marks how many there are: the end of a topic that a server loses is
	// what it has not flushed, two minutes on its defaults.
	apart = 30 * time.Second
	marks = 8
)

var (
	// errTaken ends a receiver whose partition somebody else receives.
	errTaken = errors.New("another receiver has taken the partition over")
	// errNoGroup is returned where a group has no position.
	errNoGroup = fmt.Errorf("%w; Join makes it", broker.ErrNoGroup)
	// errRevision is the server's refusal of a position that was written meanwhile.
	errRevision = errors.New("the position was written by somebody else")
)

// moved returns the position after everything up to the mark is settled.
func (p position) moved(to mark, now time.Time) position {
	to.Since = now.Unix()
	list := []mark{to}
	if rest := p.Marks; len(rest) > 0 {
		if len(rest) > 1 && now.Unix()-rest[0].Since < int64(apart/time.Second) {
			list[0].Since = rest[0].Since
			rest = rest[1:]
		}
		list = append(list, rest...)
	}
	if len(list) > marks {
		list[marks-1] = list[len(list)-1]
		list = list[:marks]
	}
	p.Marks = list
	return p
}

// start returns the number up to which everything is settled, by the newest mark that the topic still holds. Where it
// holds none, the topic was made again, or has lost more than the group has been there for: everything comes.
func (p *position) start(ctx context.Context, stream jetstream.Stream, info *jetstream.StreamInfo) (mark, error) {
	if p.Identity != identityOf(info) {
		return mark{}, nil
	}
	for _, m := range p.Marks {
		holds, err := has(ctx, stream, &info.State, m.Seq, m.ID)
		if err != nil {
			return mark{}, err
		}
		if holds {
			return m, nil
		}
	}
	return mark{}, nil
}

func (s *session) positionsName() string { return s.config.Prefix + "=positions" }

// place is the subject of a group's position in a topic's partition.
func (s *session) place(g *broker.Group, partition int, topic string) string {
	at := fmt.Sprint(partition)
	if g.Whole {
		at = "all"
	}
	return strings.Join([]string{s.positionsName(), token(g.Name), at, token(topic)}, ".")
}

// judgePositions is judge for the stream of positions.
func judgePositions(c *jetstream.StreamConfig) error {
	var found []error
	unsafe := func(ok bool, text string) {
		if !ok {
			found = append(found, fmt.Errorf("%w: stream %s: %s", broker.ErrUnsafe, c.Name, text))
		}
	}
	unsafe(c.Storage == jetstream.FileStorage, "storage should be file")
	unsafe(c.Retention == jetstream.LimitsPolicy, "retention should be limits")
	unsafe(c.MaxAge == 0, "max_age should be unlimited")
	unsafe(c.MaxMsgs <= 0 && c.MaxBytes <= 0, "max_msgs and max_bytes should be unlimited")
	unsafe(c.MaxMsgsPerSubject == 1, "max_msgs_per_subject should be 1")
	unsafe(c.PersistMode == jetstream.DefaultPersistMode, "persist_mode should be default")
	unsafe(!c.NoAck && !c.Sealed, "no_ack and sealed should not be set")
	unsafe(c.DenyDelete && c.DenyPurge, "deny_delete and deny_purge should be set")
	return errors.Join(found...)
}

// checkPositions looks at the stream of positions where it exists.
func (s *session) checkPositions(ctx context.Context) error {
	stream, err := s.js.Stream(ctx, s.positionsName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return judgePositions(&stream.CachedInfo().Config)
}

// book returns the stream of positions, and makes it where it does not exist.
func (s *session) book(ctx context.Context) (jetstream.Stream, error) {
	s.mu.Lock()
	stream := s.positions
	s.mu.Unlock()
	if stream != nil {
		return stream, nil
	}
	name := s.positionsName()
	stream, err := s.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "how far the groups are", Subjects: []string{name + ".>"},
			Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: s.config.Replicas,
			MaxMsgs: -1, MaxBytes: -1, MaxConsumers: -1, MaxMsgsPerSubject: 1,
			DenyDelete: true, DenyPurge: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster
			stream, err = s.js.Stream(ctx, name)
		}
	}
	if err == nil {
		err = judgePositions(&stream.CachedInfo().Config)
	}
	if err != nil {
		return nil, fmt.Errorf("the stream of positions: %w", err)
	}
	s.mu.Lock()
	s.positions = stream
	s.mu.Unlock()
	return stream, nil
}

// read returns the position at a place.
func (s *session) read(ctx context.Context, place string) (position, error) {
	book, err := s.book(ctx)
	if err != nil {
		return position{}, err
	}
	m, err := book.GetLastMsgForSubject(ctx, place)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return position{}, fmt.Errorf("%s: %w", place, errNoGroup)
	}
	if err != nil {
		return position{}, fmt.Errorf("position %s: %w", place, err)
	}
	p := position{revision: m.Sequence}
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return position{}, fmt.Errorf("position %s: %w", place, err)
	}
	return p, nil
}

// write puts a position in the place of the one with its revision, or at a new place where that is 0. It returns
// errRevision where there is another one now.
func (s *session) write(ctx context.Context, place string, p position) (position, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: place, Data: data},
		jetstream.WithExpectStream(s.positionsName()), jetstream.WithExpectLastSequencePerSubject(p.revision),
		jetstream.WithRetryAttempts(0))
	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return p, errRevision
	}
	if err != nil {
		return p, fmt.Errorf("position %s: %w", place, err)
	}
	p.revision = ack.Sequence
	return p, nil
}
