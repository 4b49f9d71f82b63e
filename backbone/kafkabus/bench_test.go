package kafkabus_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/kafkabus"
)

// Each benchmark runs the raw library beside the client, in turns in one run, and reports both took and their ratio.

const benchPartitions = 4

func benchMessages(topic string, n int) []broker.Outgoing {
	ms := make([]broker.Outgoing, n)
	for i := range ms {
		ms[i] = message(topic, i%benchPartitions, i)
		ms[i].Body = make([]byte, 256)
	}
	return ms
}

func rawProducer(b *testing.B, addresses []string) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.Close)
	return cl
}

func rawRecord(m *broker.Outgoing) *kgo.Record {
	r := &kgo.Record{Topic: m.Topic, Partition: int32(m.Partition), Key: []byte(m.Key), Value: m.Body}
	for _, a := range m.Attributes {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + a.Name, Value: []byte(a.Value)})
	}
	return r
}

// inTurns runs two ways of doing the same and reports the took of n things each.
func inTurns(b *testing.B, n int, raw, ours func()) {
	b.Helper()
	var took [2]time.Duration
	for i := range b.N {
		for turn := range 2 {
			which := (i + turn) % 2
			begun := time.Now()
			if which == 0 {
				raw()
			} else {
				ours()
			}
			took[which] += time.Since(begun)
		}
	}
	count := float64(n * b.N)
	b.ReportMetric(count/took[0].Seconds(), "raw/s")
	b.ReportMetric(count/took[1].Seconds(), "ours/s")
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "ours/raw")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkSendBatches(b *testing.B) {
	server, c := shared(b)
	topic := declared(b, c, benchPartitions)
	raw := rawProducer(b, server.Addresses())
	ms := benchMessages(topic, 500)
	inTurns(b, len(ms), func() {
		rs := make([]*kgo.Record, len(ms))
		for i := range ms {
			rs[i] = rawRecord(&ms[i])
		}
		if err := raw.ProduceSync(b.Context(), rs...).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if _, err := c.Send(b.Context(), ms); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkSendSingly(b *testing.B) {
	server, c := shared(b)
	topic := declared(b, c, benchPartitions)
	raw := rawProducer(b, server.Addresses())
	const callers, each = 64, 20
	ms := benchMessages(topic, callers)
	concurrently := func(do func(m broker.Outgoing) error) {
		var all sync.WaitGroup
		for k := range callers {
			all.Go(func() {
				for range each {
					if err := do(ms[k]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	inTurns(b, callers*each, func() {
		concurrently(func(m broker.Outgoing) error { return raw.ProduceSync(b.Context(), rawRecord(&m)).FirstErr() })
	}, func() {
		concurrently(func(m broker.Outgoing) error { _, err := c.Send(b.Context(), []broker.Outgoing{m}); return err })
	})
}

// The time is that of everything: connecting, and for ours the Join, the places and the last commit. What passes until
// the first message is told apart too.
func BenchmarkReceive(b *testing.B) {
	server, c := shared(b)
	topic := declared(b, c, benchPartitions)
	const many = 100_000
	ms := benchMessages(topic, 2000)
	for range many / len(ms) {
		send(b, c, ms...)
	}
	var took [2]time.Duration
	var start time.Duration
	for i := range b.N {
		for turn := range 2 {
			begun := time.Now()
			if which := (i + turn) % 2; which == 0 {
				rawReceive(b, server.Addresses(), topic, many)
				took[0] += time.Since(begun)
			} else {
				start += receiveAll(b, c, topic, many).Sub(begun)
				took[1] += time.Since(begun)
			}
		}
	}
	count := float64(many * b.N)
	b.ReportMetric(count/took[0].Seconds(), "raw/s")
	b.ReportMetric(count/took[1].Seconds(), "ours/s")
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "ours/raw")
	b.ReportMetric(float64(start.Milliseconds())/float64(b.N), "ms-to-first")
	b.ReportMetric(0, "ns/op")
}

// rawReceive reads everything with the raw library.
func rawReceive(b *testing.B, addresses []string, topic string, many int) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.ConsumeTopics(topic))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for n := 0; n < many; {
		n += cl.PollFetches(b.Context()).NumRecords()
	}
}

// receiveAll receives everything in a new group, settles it, and returns when the first message came.
func receiveAll(b *testing.B, c *kafkabus.Client, topic string, many int64) time.Time {
	g := group(topic, benchPartitions)
	g.FromFirst = true
	join(b, c, g)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var n, first atomic.Int64
	var all sync.WaitGroup
	for p := range benchPartitions {
		all.Go(func() {
			err := c.Receive(ctx, g, p, func(ins []broker.Incoming) error {
				first.CompareAndSwap(0, time.Now().UnixNano())
				for _, in := range ins {
					in.Done()
				}
				if n.Add(int64(len(ins))) == many {
					cancel()
				}
				return nil
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return time.Unix(0, first.Load())
}
