package rabbitbus_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
)

// The benchmarks do the same through the client and with the client library alone, turn by turn so that both meet the
// same machine, and report the first's share of the second's rate.

// turns runs both sides n/chunk times each.
func turns(b *testing.B, chunk int, ours, theirs func(n int)) {
	b.Helper()
	var own, raw time.Duration
	b.ResetTimer()
	total := 0
	for total < b.N {
		n := chunk
		began := time.Now()
		theirs(n)
		middle := time.Now()
		ours(n)
		raw += middle.Sub(began)
		own += time.Since(middle)
		total += n
	}
	b.ReportMetric(float64(total)/own.Seconds(), "msg/s")
	b.ReportMetric(float64(total)/raw.Seconds(), "raw-msg/s")
	b.ReportMetric(raw.Seconds()/own.Seconds(), "of-raw")
}

// sized returns messages of 256 bytes with the attributes of an event.
func sized(topic string, n int) []broker.Outgoing {
	ms := numbered(topic, 0, 0, n)
	for i := range ms {
		ms[i].Body = make([]byte, 256)
		for _, name := range []string{"source", "time", "subject", "correlationid", "causationid", "partitionkey", "sequence"} {
			ms[i].Attributes = append(ms[i].Attributes, broker.Attribute{Name: name, Value: "0123456789abcdef0123456789"})
		}
	}
	return ms
}

func publishing(m broker.Outgoing) amqp.Publishing {
	headers := amqp.Table{}
	for _, a := range m.Attributes {
		headers["cloudEvents_"+a.Name] = a.Value
	}
	return amqp.Publishing{Headers: headers, ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: m.Body}
}

// bench makes two topics with a queue each, one for the client and one for the library alone.
func bench(b *testing.B) (c *rabbitbus.Client, url, ours, theirs string, g, h broker.Group) {
	b.Helper()
	url = server(b)
	c = connect(b, url)
	ours, g = one(b, c, url)
	theirs, h = one(b, c, url)
	return c, url, ours, theirs, g, h
}

func BenchmarkSendBatches(b *testing.B) {
	c, url, ours, theirs, _, _ := bench(b)
	ch := raw(b, url)
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	const batch = 500
	ms, others := sized(ours, batch), sized(theirs, batch)
	turns(b, batch, func(int) { send(b, c, ms) }, func(int) {
		var confirms []*amqp.DeferredConfirmation
		for _, m := range others {
			confirm, err := ch.PublishWithDeferredConfirm(theirs, "0."+m.Type, true, false, publishing(m))
			if err != nil {
				b.Fatal(err)
			}
			confirms = append(confirms, confirm)
		}
		for _, confirm := range confirms {
			confirm.Wait()
		}
	})
}

func BenchmarkSendFromManyCallers(b *testing.B) {
	c, url, ours, theirs, _, _ := bench(b)
	const callers, each = 64, 8
	var channels [callers]*amqp.Channel
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	for i := range channels {
		if channels[i], err = conn.Channel(); err != nil {
			b.Fatal(err)
		}
		if err := channels[i].Confirm(false); err != nil {
			b.Fatal(err)
		}
	}
	ms, others := sized(ours, 1), sized(theirs, 1)
	together := func(f func(caller int) error) {
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				for range each {
					if err := f(caller); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	turns(b, callers*each, func(int) {
		together(func(int) error { _, err := c.Send(context.Background(), ms); return err })
	}, func(int) {
		together(func(caller int) error {
			confirm, err := channels[caller].PublishWithDeferredConfirm(theirs, "0.x", true, false, publishing(others[0]))
			if err == nil {
				confirm.Wait()
			}
			return err
		})
	})
}

func BenchmarkReceive(b *testing.B) {
	c, url, ours, theirs, g, h := bench(b)
	const chunk = 20_000
	ms, others := sized(ours, 1000), sized(theirs, 1000)
	ch := raw(b, url)
	if err := ch.Qos(broker.Window, 0, false); err != nil {
		b.Fatal(err)
	}
	fill := func(ms []broker.Outgoing) {
		for range chunk / len(ms) {
			send(b, c, ms)
		}
	}
	var own, alone time.Duration
	total := 0
	for total < b.N {
		fill(ms)
		fill(others)
		began := time.Now()
		deliveries, err := ch.Consume(h.Name+".0", "raw", false, false, false, false, nil)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for d := range deliveries {
			if n++; n%100 == 0 {
				if err := d.Ack(true); err != nil {
					b.Fatal(err)
				}
			}
			if n == chunk {
				break
			}
		}
		if err := ch.Cancel("raw", false); err != nil {
			b.Fatal(err)
		}
		alone += time.Since(began)

		began = time.Now()
		ctx, cancel := context.WithCancel(b.Context())
		var got atomic.Int64
		err = c.Receive(ctx, g, 0, func(ms []broker.Incoming) error {
			for _, m := range ms {
				m.Done()
			}
			if got.Add(int64(len(ms))) == chunk {
				cancel()
			}
			return nil
		})
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		own += time.Since(began)
		total += chunk
	}
	b.ReportMetric(float64(total)/own.Seconds(), "msg/s")
	b.ReportMetric(float64(total)/alone.Seconds(), "raw-msg/s")
	b.ReportMetric(alone.Seconds()/own.Seconds(), "of-raw")
}
