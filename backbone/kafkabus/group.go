package kafkabus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.org/souk/backbone/internal/broker"
)

// part is a partition of a topic.
type part struct {
	topic     string
	partition int32
}

// place is where a group stands in a partition.
type place struct {
	next  int64 // the offset of the oldest message that is not settled
	epoch int32 // of the leader that wrote the message before it; -1 where that is not known
	id    [16]byte
	seen  int64 // behind the newest record that was handed over, as far as it was told
}

// A group's places are committed under its name without a membership. What stands in the commit's metadata tells by whom
// it was made, for which topic, which may have been made again under its name, and up to where messages were handed over.
const (
	mark   = "souk"
	joined = "join"
)

func metadataOf(owner string, at place) string {
	return fmt.Sprintf("%s %s %x %d", mark, owner, at.id, at.seen)
}

// ownerOf returns who made a commit and for which topic; both are empty where it was not made by this package.
func ownerOf(metadata string) (owner, id string) {
	fields := strings.Fields(metadata)
	if len(fields) < 3 || fields[0] != mark {
		return "", ""
	}
	return fields[1], fields[2]
}

// seenOf returns up to where a commit says that messages were handed over; 0 where it does not say so.
func seenOf(metadata string) int64 {
	fields := strings.Fields(metadata)
	if len(fields) < 4 || fields[0] != mark {
		return 0
	}
	seen, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return 0
	}
	return seen
}

func topicsOf(g *broker.Group) []string {
	var topics []string
	seen := map[string]bool{}
	for _, in := range g.Inputs {
		if !seen[in.Topic] {
			seen[in.Topic] = true
			topics = append(topics, in.Topic)
		}
	}
	return topics
}

// typesOf returns what a group takes from each topic; nil is everything.
func typesOf(g *broker.Group) map[string][]string {
	types := map[string][]string{}
	for _, in := range g.Inputs {
		have, ok := types[in.Topic]
		switch {
		case ok && have == nil || in.Types == nil:
			types[in.Topic] = nil
		default: // not nil, even where both are empty
			types[in.Topic] = append(append([]string{}, have...), in.Types...)
		}
	}
	return types
}

// Join commits a place in every partition in which the group has none.
func (c *Client) Join(ctx context.Context, g broker.Group) error {
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.join(ctx, &g); err != nil {
		return failed(ctx, err, "join group %s", g.Name)
	}
	return nil
}

func (c *Client) join(ctx context.Context, g *broker.Group) error {
	topics := topicsOf(g)
	if len(topics) == 0 {
		return nil
	}
	infos, err := c.current(ctx, topics)
	if err != nil {
		return err
	}
	for topic, info := range infos {
		if !g.Whole && info.partitions > g.Partitions {
			return fmt.Errorf("topic %s has %d partitions and the group %d: nobody would receive the others", topic, info.partitions, g.Partitions)
		}
	}
	// The ends are asked for before it is looked whether there is a place: then one that another process commits
	// meanwhile may be replaced by an older one, but never by one behind what was published after its Join.
	first, next, err := c.bounds(ctx, topics)
	if err != nil {
		return err
	}
	committed, err := c.committed(ctx, g.Name)
	if err != nil {
		return err
	}
	places := map[part]place{}
	for topic, info := range infos {
		missing, known := []int32{}, c.madeAgain(g.Name, topic, info.id)
		for p := range int32(info.partitions) {
			o, ok := committed.Lookup(topic, p)
			_, id := ownerOf(o.Metadata)
			switch {
			case !ok || o.At < 0:
				missing = append(missing, p)
			case id != "" && id != hex.EncodeToString(info.id[:]):
				// The topic was made again: all that is in it came after the group's place in the old one.
				places[part{topic, p}] = place{next: first[topic][p].Offset, epoch: -1, id: info.id}
				known = true
			default:
				known = true
			}
		}
		for _, p := range missing {
			// A partition that was added to a topic of the group holds nothing from before.
			from := next[topic][p]
			if g.FromFirst || known {
				from = first[topic][p]
			}
			places[part{topic, p}] = place{next: from.Offset, epoch: from.LeaderEpoch, id: info.id}
		}
	}
	if len(places) > 0 {
		if err := c.commit(ctx, g.Name, joined, places); err != nil {
			return err
		}
	}
	for topic, info := range infos {
		c.remember(g.Name, topic, info.id)
	}
	return nil
}

// A cluster deletes the places of groups together with a topic. That a group had joined one that was made again since is
// known only as long as this client lives; it then begins with the first message, as all of them are new to it.

type groupTopic struct{ group, topic string }

func (c *Client) remember(group, topic string, id [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joins[groupTopic{group, topic}] = id
}

func (c *Client) madeAgain(group, topic string, id [16]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, ok := c.joins[groupTopic{group, topic}]
	return ok && before != id
}

// committed returns the group's places, trying again while its coordinator moves.
func (c *Client) committed(ctx context.Context, group string) (kadm.OffsetResponses, error) {
	for {
		offsets, err := c.adm.FetchOffsets(ctx, group)
		if err == nil {
			err = offsets.Error()
		}
		if errors.Is(err, kerr.GroupIDNotFound) { // some versions say so of a group without places, others say nothing
			return nil, nil
		}
		if !kerr.IsRetriable(err) {
			return offsets, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// commit stores places of a group, trying again while its coordinator moves.
func (c *Client) commit(ctx context.Context, group, owner string, places map[part]place) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	index := map[string]int{}
	for p, at := range places {
		i, ok := index[p.topic]
		if !ok {
			i = len(req.Topics)
			index[p.topic] = i
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = p.topic, at.id
			req.Topics = append(req.Topics, topic)
		}
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch = p.partition, at.next, at.epoch
		one.Metadata = kmsg.StringPtr(metadataOf(owner, at))
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, one)
	}
	for {
		resp, err := req.RequestWith(ctx, c.admin)
		if err == nil {
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					if e := kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode); e != nil {
						err = e
					}
				}
			}
		}
		if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) {
			return fmt.Errorf("group %s has members: a consumer of another kind uses its name: %w", group, err)
		}
		if !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// begin returns where the group goes on in each of the partitions.
func (c *Client) begin(ctx context.Context, group string, parts []part, infos map[string]topicInfo) (map[part]place, error) {
	topics := make([]string, 0, len(infos))
	for topic := range infos {
		topics = append(topics, topic)
	}
	first, next, err := c.bounds(ctx, topics)
	if err != nil {
		return nil, err
	}
	committed, err := c.committed(ctx, group)
	if err != nil {
		return nil, err
	}
	places := make(map[part]place, len(parts))
	var epochs kadm.OffsetForLeaderEpochRequest
	for _, p := range parts {
		info := infos[p.topic]
		o, ok := committed.Lookup(p.topic, p.partition)
		if c.madeAgain(group, p.topic, info.id) && (!ok || o.At < 0) {
			places[p] = place{next: first[p.topic][p.partition].Offset, epoch: -1, id: info.id}
			continue
		}
		if !ok || o.At < 0 {
			return nil, fmt.Errorf("group %s, topic %s, partition %d: %w", group, p.topic, p.partition, ErrNoPlace)
		}
		at := place{o.At, o.LeaderEpoch, info.id, seenOf(o.Metadata)}
		if _, id := ownerOf(o.Metadata); id != "" && id != hex.EncodeToString(info.id[:]) {
			at.next, at.epoch, at.seen = first[p.topic][p.partition].Offset, -1, 0
		}
		if at.epoch >= 0 {
			epochs.Add(p.topic, p.partition, at.epoch)
		}
		places[p] = at
	}
	// Where a leader without them took over, messages that the group has settled are gone at the end, and others follow in
	// their places, which must not be passed over.
	var ends kadm.OffsetsForLeaderEpochs
	if len(epochs) > 0 {
		if ends, err = c.adm.OffsetForLeaderEpoch(ctx, epochs); err != nil {
			return nil, err
		}
	}
	for p, at := range places {
		if end, ok := ends[p.topic][p.partition]; ok && end.Err == nil && end.EndOffset >= 0 {
			at.next = min(at.next, end.EndOffset)
		}
		at.next = min(at.next, next[p.topic][p.partition].Offset)
		if f := first[p.topic][p.partition].Offset; at.next < f {
			return nil, fmt.Errorf("group %s, topic %s, partition %d: the group's place is offset %d, and the first that is there is %d: %w",
				group, p.topic, p.partition, at.next, f, ErrGap)
		}
		places[p] = at
	}
	return places, nil
}

// Backlog returns how many records stand behind the group's places, those that its types leave out included.
func (c *Client) Backlog(ctx context.Context, g broker.Group) ([]int64, error) {
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	topics := topicsOf(&g)
	_, next, err := c.bounds(ctx, topics)
	if err != nil {
		return nil, failed(ctx, err, "ask for the backlog of group %s", g.Name)
	}
	committed, err := c.committed(ctx, g.Name)
	if err != nil {
		return nil, failed(ctx, err, "ask for the backlog of group %s", g.Name)
	}
	backlog := make([]int64, g.Partitions)
	if g.Whole {
		backlog = make([]int64, 1)
	}
	for _, topic := range topics {
		for p, end := range next[topic] {
			i := int(p)
			if g.Whole {
				i = 0
			}
			if i >= len(backlog) || backlog[i] < 0 {
				continue
			}
			if o, ok := committed.Lookup(topic, p); !ok || o.At < 0 {
				backlog[i] = -1
			} else {
				backlog[i] += max(0, end.Offset-o.At)
			}
		}
	}
	return backlog, nil
}
