package partner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// The streams that keep what is published on the two subjects, where no other stream does, and the durable consumer by
	// which the server knows what we have read.
	natsOrders, natsPlaced, natsReader = "souk_partner_orders", "souk_partner_placed", "souk_partner_orders"
	// natsKept is how long the streams keep a message, so also how long a mall may be away.
	natsKept = 30 * 24 * time.Hour
	// natsBatch is how many messages are handed out before the first of them is acknowledged.
	natsBatch = 256
	// natsWithin bounds one step. A message that is held for so long without a word is handed out again.
	natsWithin = 5 * time.Second
)

// natsServer is a NATS server, or a cluster of them, with JetStream.
type natsServer struct {
	url   string
	login Login // nil: the address holds it

	mu     sync.Mutex
	conn   *nats.Conn
	there  bool // the streams are, as far as we know
	closed bool
	held   map[jetstream.Msg]bool // handed out and not settled
}

func newNATS(url string, login Login) *natsServer {
	return &natsServer{url: url, login: login, held: map[jetstream.Msg]bool{}}
}

// open returns the connection, which makes itself again when it is lost, with the streams there: a server that has no
// stream for a subject confirms nothing, and says so only where nobody else listens.
func (n *natsServer) open(ctx context.Context) (jetstream.JetStream, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errClosed
	}
	if n.conn == nil || n.conn.IsClosed() { // a server may send a client away for good
		options := []nats.Option{
			nats.Name("souk partner"), nats.Timeout(natsWithin), nats.MaxReconnects(-1),
			nats.ReconnectWait(firstWait), nats.ReconnectBufSize(-1), nats.PingInterval(natsWithin), nats.IgnoreAuthErrorAbort(),
		}
		if n.login != nil {
			options = append(options, nats.UserInfoHandler(n.now))
		}
		conn, err := nats.Connect(n.url, options...)
		if err != nil {
			return nil, err
		}
		n.conn = conn
	}
	js, err := jetstream.New(n.conn)
	if err != nil || n.there {
		return js, err
	}
	ctx, cancel := context.WithTimeout(ctx, natsWithin)
	defer cancel()
	for subject, ours := range map[string]string{ordersName: natsOrders, placedName: natsPlaced} {
		if _, err := natsStream(ctx, js, subject, ours); err != nil {
			return nil, err
		}
	}
	n.there = true
	return js, nil
}

// now is the login of each connection; without one the server refuses it, and it is tried again.
func (n *natsServer) now() (user, password string) {
	user, password, err := n.login()
	if err != nil {
		return "", ""
	}
	return user, password
}

// doubt has the streams looked for again.
func (n *natsServer) doubt() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.there = false
}

// natsStream returns the name of the stream that keeps a subject: somebody's who has made one, or ours.
func natsStream(ctx context.Context, js jetstream.JetStream, subject, ours string) (string, error) {
	name, err := js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		name = ours
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: ours, Description: "what partners and malls publish on " + subject, Subjects: []string{subject}, MaxAge: natsKept,
		})
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "", errors.New("the NATS server has no JetStream, without which it keeps nothing that partners send: start it with -js")
	case err != nil:
		return "", fmt.Errorf("stream of %s: %w", subject, err)
	}
	return name, nil
}

// receive implements broker.
func (n *natsServer) receive(ctx context.Context, up func(), give func(message) bool) error {
	js, err := n.open(ctx)
	if err != nil {
		return err
	}
	reader, err := natsConsumer(ctx, js)
	if err != nil {
		n.doubt()
		return err
	}
	up()
	minded, stop := context.WithCancel(ctx)
	var minding sync.WaitGroup
	defer minding.Wait()
	defer stop()
	minding.Go(func() { n.mind(minded) })
	for ctx.Err() == nil {
		batch, err := reader.Fetch(natsBatch, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			n.doubt()
			return err
		}
		taking := true
		for msg := range batch.Messages() {
			if taking = taking && n.give(msg, give); !taking {
				_ = msg.Nak() // so that whoever comes next has it at once
			}
		}
		if err := batch.Error(); err != nil && ctx.Err() == nil {
			n.doubt()
			return err
		}
	}
	return nil
}

func natsConsumer(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, natsWithin)
	defer cancel()
	stream, err := natsStream(ctx, js, ordersName, natsOrders)
	if err != nil {
		return nil, err
	}
	return js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: natsReader, FilterSubject: ordersName, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: natsWithin, MaxAckPending: natsBatch, MaxDeliver: -1,
	})
}

func (n *natsServer) give(msg jetstream.Msg, give func(message) bool) bool {
	meta, err := msg.Metadata()
	if err != nil {
		return true // it is none of the stream's
	}
	n.mu.Lock()
	n.held[msg] = true
	n.mu.Unlock()
	_, own := msg.Headers()[markName]
	m := message{
		body: msg.Data(), own: own, redelivered: meta.NumDelivered > 1,
		// Numbers begin anew in a stream that was deleted and made again.
		receipt: fmt.Sprintf("%s/%d/%d", meta.Stream, meta.Sequence.Stream, meta.Timestamp.UnixNano()),
		done: func() {
			n.let(msg)
			_ = msg.Ack() // without it the message comes again and is known as settled
		},
	}
	if !give(m) {
		n.let(msg)
		return false
	}
	return true
}

func (n *natsServer) let(msg jetstream.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.held, msg)
}

// mind tells the server of what is held that it is being worked on.
func (n *natsServer) mind(ctx context.Context) {
	for pause(ctx, natsWithin/3) {
		n.mu.Lock()
		held := make([]jetstream.Msg, 0, len(n.held))
		for msg := range n.held {
			held = append(held, msg)
		}
		n.mu.Unlock()
		for _, msg := range held {
			_ = msg.InProgress() // if it does not arrive, the message comes again
		}
	}
}

// publish implements broker.
func (n *natsServer) publish(ctx context.Context, list []outgoing) error {
	js, err := n.open(ctx)
	if err != nil {
		return err
	}
	for _, m := range list {
		msg := nats.NewMsg(m.Name)
		msg.Data = m.Body
		msg.Header.Set(markName, m.Order)
		if _, err := js.PublishMsg(ctx, msg, jetstream.WithMsgID(m.ID)); err != nil {
			n.doubt()
			return fmt.Errorf("publish on %s: %w", m.Name, err)
		}
	}
	return nil
}

// close implements broker.
func (n *natsServer) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.conn == nil {
		return
	}
	for msg := range n.held {
		_ = msg.Nak() // it was not begun
	}
	_ = n.conn.FlushTimeout(natsWithin) // where it fails, messages come again
	n.conn.Close()
	n.conn = nil
}
