package bench

import (
	"context"
	"errors"
	"sync"

	wmessage "github.com/ThreeDotsLabs/watermill/message"
)

// millMessage is a message as Watermill takes it.
func millMessage(m *message) *wmessage.Message {
	msg := wmessage.NewMessage(m.record.ID, m.record.Data)
	for _, a := range m.attributes {
		msg.Metadata[a.name] = a.value
	}
	return msg
}

// millTopic publishes through Watermill.
type millTopic struct {
	publisher wmessage.Publisher
	name      string
}

func (t millTopic) publish(ctx context.Context, ms []message) error {
	list := make([]*wmessage.Message, len(ms))
	for i := range ms {
		list[i] = millMessage(&ms[i])
		list[i].SetContext(ctx)
	}
	return t.publisher.Publish(t.name, list...)
}

// millConsume handles, in lanes, what so many subscriptions of a subscriber give, and closes it when ctx ends.
func millConsume(ctx context.Context, subscriber wmessage.Subscriber, name string, subscriptions, lanes int, handle func([]byte)) error {
	var all sync.WaitGroup
	var failure error
	for range subscriptions {
		messages, err := subscriber.Subscribe(ctx, name)
		if err != nil {
			failure = errors.Join(failure, err)
			break
		}
		for range max(1, lanes/subscriptions) {
			all.Go(func() {
				for m := range messages {
					handle(m.Payload)
					m.Ack()
				}
			})
		}
	}
	if failure == nil {
		<-ctx.Done()
	}
	err := subscriber.Close()
	all.Wait()
	return errors.Join(failure, err)
}
