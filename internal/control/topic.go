package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/telemetry"
	"example.org/souk/internal/house"
)

// topicRow is a topic of a broker or a log, as it is listed.
type topicRow struct {
	Topic   string `json:"topic"`
	Carrier string `json:"carrier"`
	// Head is the position of a log's last record.
	Head       *int64 `json:"head,omitempty"`
	Partitions int    `json:"partitions,omitempty"`
	// Messages is how many a topic holds; nil where the broker keeps them for the groups only.
	Messages *int64 `json:"messages,omitempty"`
	Groups   int    `json:"groups"`
	// Lag is the most that one of the groups has not settled.
	Lag int64 `json:"lag"`
}

// topics are what carries a mall's messages.
type topics struct {
	system string         // of the broker; "": the log carries them
	broker []driver.Topic // at the broker
	logs   []topicRow
	lags   []telemetry.Lag // behind logs
}

func readTopics(ctx context.Context, h *house.House) (t topics, err error) {
	if t.system, t.broker, err = h.Runtime.Topics(ctx); t.system != "" || err != nil {
		return t, err
	}
	for _, s := range h.Services() {
		head, err := h.Store(s).Head(ctx, s)
		if err != nil {
			return t, err
		}
		over, err := backbone.OverBroker(ctx, h.Store(s), s)
		if err != nil {
			return t, err
		}
		if over {
			return t, errors.New("a broker carries the messages of this mall: name it with --broker")
		}
		t.logs = append(t.logs, topicRow{Topic: "souk." + s, Carrier: "log", Head: &head})
	}
	c, err := telemetry.NewCollector(telemetry.CollectorConfig{
		Parts: h.Runtime.Parts(), Source: func(service string) telemetry.Source { return h.Store(service) },
	})
	if err != nil {
		return t, err
	}
	if t.lags, err = c.Lags(ctx); err != nil {
		return t, err
	}
	for i := range t.logs {
		for _, l := range t.lags {
			if "souk."+l.Source == t.logs[i].Topic {
				t.logs[i].Groups++
				t.logs[i].Lag = max(t.logs[i].Lag, int64(l.Messages))
			}
		}
	}
	return t, nil
}

func listTopics(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	t, err := readTopics(ctx, h)
	if err != nil {
		return err
	}
	rows := t.logs
	for _, topic := range t.broker {
		row := topicRow{Topic: topic.Name, Carrier: t.system, Partitions: len(topic.Partitions), Groups: len(topic.Groups)}
		for _, p := range topic.Partitions {
			if p.Next > 0 {
				row.Messages = new(deref(row.Messages) + p.Messages)
			}
		}
		for _, g := range topic.Groups {
			all := int64(0)
			for _, n := range g.Lag {
				all += max(n, 0)
			}
			row.Lag = max(row.Lag, all)
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		if err := emit(row); err != nil {
			return err
		}
	}
	return nil
}

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// showTopic prints the partitions of a topic, and what each group has not settled.
func showTopic(ctx context.Context, h *house.House, a Args, emit Emit) error {
	t, err := readTopics(ctx, h)
	if err != nil {
		return err
	}
	for _, row := range t.logs {
		if row.Topic == a["topic"] {
			return t.showLog(&row, emit)
		}
	}
	for i := range t.broker {
		if t.broker[i].Name == a["topic"] {
			if err := showPartitions(&t.broker[i], emit); err != nil {
				return err
			}
			return showHeld(ctx, h, &t.broker[i], emit)
		}
	}
	return fmt.Errorf("there is no topic %q; souk topic list names those that there are", a["topic"])
}

func (t *topics) showLog(row *topicRow, emit Emit) error {
	if err := emit(struct {
		Topic string `json:"topic"`
		Head  int64  `json:"head"`
	}{row.Topic, *row.Head}); err != nil {
		return err
	}
	for _, l := range t.lags {
		if "souk."+l.Source != row.Topic {
			continue
		}
		if err := emit(struct {
			Topic   string  `json:"topic"`
			Group   string  `json:"group"`
			Lag     int64   `json:"lag"`
			Seconds float64 `json:"seconds"` // the age of the oldest
		}{row.Topic, "souk." + l.Service + "." + l.Subscription, int64(l.Messages), l.Oldest.Seconds()}); err != nil {
			return err
		}
	}
	return nil
}

// partitionRow is a partition of a topic. Where the broker keeps messages for the groups only, it has no numbers.
type partitionRow struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	First     *int64 `json:"first,omitempty"`
	Next      *int64 `json:"next,omitempty"`
	Messages  *int64 `json:"messages,omitempty"`
}

// groupRow is what a group has not settled of a partition.
type groupRow struct {
	Topic     string `json:"topic"`
	Group     string `json:"group"`
	Partition string `json:"partition"` // "all" where the group reads them as one
	Lag       *int64 `json:"lag"`       // nil: the broker does not know the group, or does not tell
	Covers    string `json:"covers"`
}

// heldRow is a stream that the relay of the topic's service holds back, since the broker does not take one of its records.
type heldRow struct {
	Topic string `json:"topic"`
	backbone.HeldBack
}

// showHeld prints what the relay holds back of what a topic is for: its service's events and what that service addresses to others.
func showHeld(ctx context.Context, h *house.House, topic *driver.Topic, emit Emit) error {
	for _, s := range h.Services() {
		if "souk."+s != topic.Name {
			continue
		}
		held, err := backbone.HeldByRelay(ctx, h.Store(s), s)
		if err != nil {
			return err
		}
		for _, b := range held {
			if err := emit(heldRow{topic.Name, b}); err != nil {
				return err
			}
		}
	}
	return nil
}

func showPartitions(topic *driver.Topic, emit Emit) error {
	for i, p := range topic.Partitions {
		row := partitionRow{Topic: topic.Name, Partition: i}
		if p.Next > 0 {
			row.First, row.Next, row.Messages = &p.First, &p.Next, &p.Messages
		}
		if err := emit(row); err != nil {
			return err
		}
	}
	for _, g := range topic.Groups {
		row := groupRow{Topic: topic.Name, Group: g.Name, Partition: "all", Covers: "this topic"}
		if g.Pooled {
			row.Covers = "all topics of the group"
		}
		if g.Lag == nil {
			if err := emit(row); err != nil {
				return err
			}
		}
		for i, n := range g.Lag {
			if row.Lag = &n; n < 0 {
				row.Lag = nil
			}
			if !g.Whole {
				row.Partition = strconv.Itoa(i)
			}
			if err := emit(row); err != nil {
				return err
			}
		}
	}
	return nil
}
