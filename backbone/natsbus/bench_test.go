package natsbus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

// Each benchmark does the same with the library itself first, in turns, and reports how much of its rate is left.

// sample is n messages with the attributes of a usual event and 256 bytes.
func sample(n int) []broker.Outgoing {
	ms := series("orders", 4, 0, n)
	for i := range ms {
		ms[i].Attributes = append(ms[i].Attributes,
			broker.Attribute{Name: "subject", Value: "order/12345"}, broker.Attribute{Name: "partitionkey", Value: "order/12345"},
			broker.Attribute{Name: "time", Value: "2026-01-02T03:04:05.678901Z"}, broker.Attribute{Name: "sequence", Value: "0000000000000000001"},
			broker.Attribute{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
		ms[i].Body = make([]byte, 256)
	}
	return ms
}

// rawMessage is the same message as the library takes it.
func rawMessage(subject string, m *broker.Outgoing) *nats.Msg {
	h := nats.Header{"ce-datacontenttype": {"application/json"}}
	for _, a := range m.Attributes {
		h["ce-"+a.Name] = []string{a.Value}
	}
	return &nats.Msg{Subject: subject, Header: h, Data: m.Body}
}

func benchmark(b *testing.B, each int, own, library func(ms []broker.Outgoing) error, ms []broker.Outgoing) {
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		for took, f := range map[*time.Duration]func([]broker.Outgoing) error{&ours: own, &theirs: library} {
			begun := time.Now()
			if err := f(ms); err != nil {
				b.Fatal(err)
			}
			*took += time.Since(begun)
		}
		n += each
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(n)/ours.Seconds(), "msg/s")
	b.ReportMetric(float64(n)/theirs.Seconds(), "raw-msg/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-raw")
}

func benchStream(b *testing.B, server *testserver.NATSServer, flushed bool) (*natsbus.Client, jetstream.JetStream, string) {
	c := openWith(b, natsbus.ClientConfig{URL: server.URL(), Flushed: flushed})
	declare(b, c, "orders", 4)
	js := raw(b, server.URL())
	name := server.Name()
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Storage: jetstream.FileStorage}); err != nil {
		b.Fatal(err)
	}
	return c, js, name
}

func BenchmarkSend(b *testing.B) {
	for _, settings := range [][]string{nil, {"jetstream sync_interval: always"}} {
		name := "lazy"
		if settings != nil {
			name = "always"
		}
		b.Run(name+"/batches of 500", func(b *testing.B) {
			c, js, stream := benchStream(b, testserver.NATSOwn(b, settings...), settings != nil)
			benchmark(b, 500, func(ms []broker.Outgoing) error {
				_, err := c.Send(b.Context(), ms)
				return err
			}, func(ms []broker.Outgoing) error {
				futures := make([]jetstream.PubAckFuture, len(ms))
				for i := range ms {
					var err error
					if futures[i], err = js.PublishMsgAsync(rawMessage(fmt.Sprintf("%s.%d.thing", stream, ms[i].Partition), &ms[i])); err != nil {
						return err
					}
				}
				for _, f := range futures {
					select {
					case <-f.Ok():
					case err := <-f.Err():
						return err
					}
				}
				return nil
			}, sample(500))
		})
		b.Run(name+"/64 callers", func(b *testing.B) {
			c, js, stream := benchStream(b, testserver.NATSOwn(b, settings...), settings != nil)
			const callers, rounds = 64, 20
			concurrently := func(ms []broker.Outgoing, f func(m *broker.Outgoing) error) error {
				errs := make([]error, callers)
				var all sync.WaitGroup
				for i := range callers {
					all.Go(func() {
						for range rounds {
							if err := f(&ms[i]); err != nil {
								errs[i] = err
								return
							}
						}
					})
				}
				all.Wait()
				for _, err := range errs {
					if err != nil {
						return err
					}
				}
				return nil
			}
			benchmark(b, callers*rounds, func(ms []broker.Outgoing) error {
				return concurrently(ms, func(m *broker.Outgoing) error {
					_, err := c.Send(b.Context(), []broker.Outgoing{*m})
					return err
				})
			}, func(ms []broker.Outgoing) error {
				return concurrently(ms, func(m *broker.Outgoing) error {
					_, err := js.PublishMsg(b.Context(), rawMessage(fmt.Sprintf("%s.%d.thing", stream, m.Partition), m))
					return err
				})
			}, sample(callers))
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	const n = 20_000
	server := testserver.NATSOwn(b)
	c := open(b, server)
	declare(b, c, "orders", 1)
	ms := sample(n)
	for i := range ms {
		ms[i].Partition = 0
	}
	send(b, c, ms...)
	js := raw(b, server.URL())
	var stream string
	for info := range js.ListStreams(b.Context()).Info() {
		stream = info.Config.Name
	}
	rounds := 0
	benchmark(b, n, func([]broker.Outgoing) error {
		rounds++
		g := group(fmt.Sprintf("g.n%d", rounds), 1, "orders")
		if err := c.Join(b.Context(), g); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		got := 0
		return c.Receive(ctx, g, 0, func(ms []broker.Incoming) error {
			for _, m := range ms {
				m.Done()
			}
			if got += len(ms); got == n {
				cancel()
			}
			return nil
		})
	}, func([]broker.Outgoing) error {
		consumer, err := js.CreateConsumer(b.Context(), stream, jetstream.ConsumerConfig{
			Durable: fmt.Sprintf("d%d", rounds), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: broker.Window,
		})
		if err != nil {
			return err
		}
		messages, err := consumer.Messages()
		if err != nil {
			return err
		}
		defer messages.Stop()
		for range n {
			m, err := messages.Next()
			if err != nil {
				return err
			}
			if err := m.Ack(); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
