package rabbitbus_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// ofTypes is a group that takes these types of two topics, in two partitions.
func ofTypes(name string, topics []string, types ...string) broker.Group {
	g := broker.Group{Name: name, Partitions: 2}
	for _, topic := range topics {
		g.Inputs = append(g.Inputs, broker.Input{Topic: topic, Types: types})
	}
	return g
}

// twoTopics returns a client that has declared two topics of two partitions, and the name of a group of the test's own.
func twoTopics(t testing.TB, url string) (c *rabbitbus.Client, topics []string, group string) {
	t.Helper()
	own := names(t, url, 3)
	c, topics = connect(t, url), own[:2]
	for _, topic := range topics {
		declare(t, c, topic, 2)
	}
	return c, topics, own[2]
}

// reaches sends a message of each type to each partition of each topic, and returns those that come to the group's queues.
func reaches(t testing.TB, c *rabbitbus.Client, url, group string, topics []string, types ...string) (got []string) {
	t.Helper()
	ch := raw(t, url)
	var ms []broker.Outgoing
	for p := range 2 {
		for _, topic := range topics {
			for _, typ := range types {
				m := outgoing(topic, p, 0)
				m.Type = typ
				ms = append(ms, m)
			}
		}
	}
	send(t, c, ms)
	for p := range 2 {
		queue := group + "." + strconv.Itoa(p)
		// Straight to the queue, behind all that were sent.
		if err := ch.PublishWithContext(t.Context(), "", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent}); err != nil {
			t.Fatal(err)
		}
		all, err := ch.Consume(queue, queue, true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		for d := range all {
			if d.Exchange == "" {
				break
			}
			got = append(got, d.Exchange+" "+d.RoutingKey)
		}
		if err := ch.Cancel(queue, false); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	return got
}

// all is what reaches returns of a group that takes these types of these topics.
func all(topics []string, types ...string) (want []string) {
	for _, topic := range topics {
		for p := range 2 {
			for _, typ := range types {
				want = append(want, topic+" "+strconv.Itoa(p)+"."+typ)
			}
		}
	}
	slices.Sort(want)
	return want
}

const (
	typeA = "souk.test.A.v1"
	typeB = "souk.test.B.v1"
)

// Whoever joins what is there changes nothing at the server and takes no lock: it asks.
func TestJoiningWhatIsThereOnlyAsks(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	url := server.URL()
	counter := count(t, server)
	c, topics, name := twoTopics(t, url)
	g := ofTypes(name, topics, typeA)
	join(t, c, g)
	whole := groupOf(name+"-whole", 1, topics...)
	whole.Whole = true
	join(t, c, whole)
	for range 3 {
		other := connect(t, counter.url)
		declare(t, other, topics[0], 2)
		declare(t, other, topics[1], 2)
		// That a topic is there is read in its marker; both are declared as they are, so that other settings are found out.
		if got, _ := counter.taken(); got["basic.get"] != 2 || got["basic.nack"] != 2 || got["queue.declare"] != 2 || got["exchange.declare"] != 2 || len(got) != 4 {
			t.Errorf("to declare two topics that are there: %v", got)
		}
		join(t, other, g)
		join(t, other, whole)
		if got, bytes := counter.taken(); len(got) > 0 || bytes == 0 {
			t.Errorf("to join what is there, in %d bytes: %v", bytes, got)
		}
	}
	if got := reaches(t, c, url, g.Name, topics, typeA, typeB); !slices.Equal(got, all(topics, typeA)) {
		t.Errorf("reached it: %v", got)
	}
}

// Of many who join a new group at once one makes it; the others see that it is made.
func TestGroupIsMadeOnce(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	url := server.URL()
	counter := count(t, server)
	c, topics, name := twoTopics(t, url)
	g := ofTypes(name, topics, typeA, typeB)
	var joining sync.WaitGroup
	for range 12 {
		other := connect(t, counter.url)
		joining.Go(func() {
			if err := other.Join(t.Context(), g); err != nil {
				t.Error(err)
			}
		})
	}
	joining.Wait()
	// One each: of two types, in two partitions, of two topics; of the marks of two queues; and of the seals of two topics.
	if got, _ := counter.taken(); got["queue.bind"] != 8+1+2 || got["exchange.bind"] != 2 {
		t.Errorf("twelve made a group: %v", got)
	}
	if got := reaches(t, c, url, g.Name, topics, typeA, typeB); !slices.Equal(got, all(topics, typeA, typeB)) {
		t.Errorf("reached it: %v", got)
	}
}

// Whoever has found that something is missing may get the lock after somebody else has made it: it is not made again then.
func TestMadeBeforeTheLockIsHad(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	own := names(t, server.URL(), 2)
	counter := count(t, server)
	c, late := connect(t, server.URL()), connect(t, counter.url)
	before := func(f func()) {
		counter.mu.Lock()
		defer counter.mu.Unlock()
		counter.before = f
	}
	var sent []broker.Anchor
	before(func() {
		if n, err := c.DeclareTopic(t.Context(), own[0], 2); err != nil || n != 2 {
			t.Errorf("declared first: %d partitions, %v", n, err)
		}
		var err error
		if sent, err = c.Send(t.Context(), numbered(own[0], 0, 0, 1)); err != nil {
			t.Error(err)
		}
	})
	if n, err := late.DeclareTopic(t.Context(), own[0], 5); err != nil || n != 2 {
		t.Errorf("declared late: %d partitions, %v", n, err)
	}
	if len(sent) != 1 {
		t.Fatalf("anchors: %v", sent)
	}
	if holds, err := late.Holds(t.Context(), sent[0]); err != nil || !holds {
		t.Errorf("the topic is another one: %v", err)
	}
	g := ofTypes(own[1], own[:1], typeA)
	before(func() {
		if err := c.Join(t.Context(), g); err != nil {
			t.Error(err)
		}
	})
	counter.taken()
	join(t, late, g)
	if got, _ := counter.taken(); got["queue.declare"] != 1 || got["queue.delete"] != 1 || len(got) != 2 {
		t.Errorf("who joined late did more than take the lock and give it back: %v", got)
	}
}

// What a group is bound to is what the last who joined wants, however often that changes to and fro: more types, fewer, a
// topic less.
func TestGroupChangesToAndFro(t *testing.T) {
	t.Parallel()
	url := server(t)
	c, topics, name := twoTopics(t, url)
	other := connect(t, url)
	for i := range 2 {
		for _, want := range []struct {
			topics, types []string
		}{
			{topics, []string{typeA}},
			{topics, []string{typeA, typeB}},
			{topics[:1], []string{typeA, typeB}},
			{topics[1:], []string{typeB}},
			{topics[:1], []string{typeA}},
			{topics, []string{typeA}},
		} {
			join(t, other, ofTypes(name, want.topics, want.types...))
			if got := reaches(t, c, url, name, topics, typeA, typeB); !slices.Equal(got, all(want.topics, want.types...)) {
				t.Errorf("round %d: of %v of %v came %v", i, want.types, want.topics, got)
			}
		}
	}
}

// What somebody has deleted is bound again by the next who joins, also by one who has known the topic all along.
func TestJoinMendsWhatIsGone(t *testing.T) {
	t.Parallel()
	url := server(t)
	c, topics, name := twoTopics(t, url)
	other := connect(t, url)
	g := ofTypes(name, topics, typeA, typeB)
	join(t, c, g)
	ch := raw(t, url)
	for what, gone := range map[string]func() error{
		"the exchange": func() error { return ch.ExchangeDelete(topics[1], false, false) },
		"a queue":      func() error { _, err := ch.QueueDelete(g.Name+".1", false, false, false); return err },
		"the marker":   func() error { _, err := ch.QueueDelete("group:"+g.Name, false, false, false); return err },
	} {
		if err := gone(); err != nil {
			t.Fatal(err)
		}
		declare(t, other, topics[1], 2)
		if _, err := connect(t, url).DeclareTopic(t.Context(), topics[1], 2); err != nil {
			t.Fatal(err)
		}
		join(t, c, g)
		if got := reaches(t, c, url, g.Name, topics, typeA, typeB); !slices.Equal(got, all(topics, typeA, typeB)) {
			t.Errorf("%s was deleted; reached it: %v", what, got)
		}
	}
}

// Somebody deletes queues of a group that is sealed and makes others of their names, to which nothing comes and of which nobody is told: whoever joins binds
// them, and whoever publishes is told that what was in them is lost. A second who joins finds all in order. Red when it is asked whether queues of these
// names are there, and not whether they are the group's.
func TestJoinFindsQueuesThatSomebodyMadeAgain(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	url := server.URL()
	c, topics, name := twoTopics(t, url)
	other := connect(t, url)
	g := ofTypes(name, topics, typeA, typeB)
	join(t, c, g)
	anchor := send(t, c, numbered(topics[0], 0, 0, 1))[0]
	ch := raw(t, url)
	queue := name + ".1"
	if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{
		"x-queue-type": "quorum", "x-single-active-consumer": true, "x-overflow": "reject-publish", "x-delivery-limit": int32(1_000_000_000),
		"x-dead-letter-exchange": "souk.dead", "x-dead-letter-strategy": "at-least-once",
	}); err != nil {
		t.Fatal(err)
	}
	join(t, other, g)
	if holds, err := other.Holds(t.Context(), anchor); err != nil || holds {
		t.Errorf("who publishes is not told that a queue was lost: %v", err)
	}
	anchor = send(t, connect(t, url), numbered(topics[0], 0, 1, 2))[0]
	counter := count(t, server)
	join(t, connect(t, counter.url), g)
	if got, _ := counter.taken(); got["queue.bind"] != 0 || got["queue.declare"] != 0 {
		t.Errorf("a second who joins makes it once more: %v", got)
	}
	if holds, err := other.Holds(t.Context(), anchor); err != nil || !holds {
		t.Errorf("a second who joins tells of another loss: %v", err)
	}
	if got := reaches(t, c, url, name, topics, typeA, typeB); !slices.Equal(got, all(topics, typeA, typeB)) {
		t.Errorf("reached it: %v", got)
	}
}

// A program of version 0.1.0 changes what is bound and knows nothing of seals: whoever joins after it finds that out.
func TestJoinAfterAnOlderProgram(t *testing.T) {
	t.Parallel()
	url := server(t)
	c, topics, name := twoTopics(t, url)
	g := ofTypes(name, topics, typeA, typeB)
	join(t, c, g)
	for _, dies := range []bool{false, true} { // in the middle
		older(t, url, g.Name, topics, dies)
		join(t, connect(t, url), g)
		if got := reaches(t, c, url, g.Name, topics, typeA, typeB); !slices.Equal(got, all(topics, typeA, typeB)) {
			t.Errorf("an older program, which died in the middle: %v; reached it: %v", dies, got)
		}
	}
}

// Whoever joins is cut off at any point while the queues of a group of an older program get their marks: nothing was lost, and nobody who publishes is
// told so. Red when it is noted that there are marks before there are any.
func TestMarksOfAnOlderGroupAreCutAnywhere(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	url := server.URL()
	c, topics, name := twoTopics(t, url)
	g := ofTypes(name, topics, typeA, typeB)
	join(t, c, g)
	anchor := send(t, c, numbered(topics[0], 0, 0, 1))[0]
	ch := raw(t, url)
	begin := func() {
		t.Helper()
		older(t, url, name, topics, false)
		for p := range 2 {
			if err := ch.ExchangeDelete("queue:"+name+"."+strconv.Itoa(p), false, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	cutAnywhere(t, server, g, 20, begin, func(at string) {
		other := connect(t, url)
		join(t, other, g)
		if holds, err := other.Holds(t.Context(), anchor); err != nil || !holds {
			t.Fatalf("%s; who publishes is told of a loss that is none: %v", at, err)
		}
	})
}

// cutAnywhere has somebody join a group who is cut off, as often as cuts says, each time a little later in what a whole Join sends. Before each it
// begins, and then looks at what the one left, who was cut off at a place.
func cutAnywhere(t *testing.T, server *testserver.RabbitServer, g broker.Group, cuts int64, begin func(), look func(at string)) {
	t.Helper()
	counter := count(t, server)
	begin()
	join(t, connect(t, counter.url), g)
	_, bytes := counter.taken()
	proxy := testserver.NewProxy(t, server.Addr())
	failed := int64(0)
	for i := range cuts {
		begin()
		proxy.CutAfter(testserver.Upstream, 1+i*bytes/cuts)
		cut, err := rabbitbus.NewClient(rabbitbus.ClientConfig{URL: proxy.Through(server.URL())})
		if err != nil {
			t.Fatal(err)
		}
		if err := cut.Join(t.Context(), g); err != nil {
			failed++
		}
		_ = cut.Close() // it has lost its connection
		look(fmt.Sprintf("cut after %d of %d bytes", 1+i*bytes/cuts, bytes))
	}
	if failed < cuts*3/4 {
		t.Errorf("%d of %d were cut off", failed, cuts)
	}
}

// older does what Join of version 0.1.0 does to take one type less.
func older(t testing.TB, url, group string, topics []string, dies bool) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	type binding struct{ Queue, Key, Topic string }
	note := struct {
		Partitions int       `json:"partitions"`
		Bindings   []binding `json:"bindings"`
	}{Partitions: 2}
	for _, topic := range topics {
		for p := range 2 {
			queue := group + "." + strconv.Itoa(p)
			note.Bindings = append(note.Bindings, binding{queue, strconv.Itoa(p) + "." + typeA, topic})
		}
	}
	text, err := json.Marshal(note)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for {
		d, ok, err := ch.Get("group:"+group, false)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		last = d.DeliveryTag
	}
	if err := ch.PublishWithContext(t.Context(), "", "group:"+group, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: text}); err != nil {
		t.Fatal(err)
	}
	for _, b := range note.Bindings {
		if err := ch.QueueUnbind(b.Queue, b.Key[:2]+typeB, b.Topic, nil); err != nil {
			t.Fatal(err)
		}
	}
	if dies {
		return
	}
	if err := ch.Ack(last, true); err != nil {
		t.Fatal(err)
	}
	// What is answered behind an acknowledgement comes after it in the queue's log.
	if _, _, err := ch.Get("group:"+group, false); err != nil {
		t.Fatal(err)
	}
}

// Whoever joins is cut off at any point, while a group is changed and one of its queues is gone: for the next who joins all
// is as it should be, and whoever publishes is told of the loss.
func TestJoinIsCutAnywhere(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	url := server.URL()
	c, topics, name := twoTopics(t, url)
	was, is := ofTypes(name, topics, typeA), ofTypes(name, topics[:1], typeA, typeB)
	ch := raw(t, url)
	var anchor broker.Anchor
	begin := func() {
		t.Helper()
		join(t, c, was)
		if _, err := ch.QueueDelete(name+".1", false, false, false); err != nil {
			t.Fatal(err)
		}
		anchor = send(t, connect(t, url), numbered(topics[0], 0, 0, 1))[0]
	}
	cutAnywhere(t, server, is, 30, begin, func(at string) {
		other := connect(t, url)
		declare(t, other, topics[0], 2)
		declare(t, other, topics[1], 2)
		join(t, other, is)
		if holds, err := other.Holds(t.Context(), anchor); err != nil || holds {
			t.Errorf("%s; who publishes is not told that a queue was lost: %v", at, err)
		}
		if got := reaches(t, other, url, name, topics, typeA, typeB); !slices.Equal(got, all(topics[:1], typeA, typeB)) {
			t.Fatalf("%s; reached it: %v", at, got)
		}
	})
}
