package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/internal/testserver"
)

// What the tests below look at: the commands that wait for the stockroom.
const waitingTopic, waitingGroup = "souk.inventory.commands", "souk.inventory.inventory"

// outlook is what a client that is not souk's says of that topic and that group. Where the broker numbers nothing, only the lag is told.
type outlook struct {
	First, Next, Messages []int64
	Lag                   []int64
}

// overseer is a broker with such a client.
type overseer struct {
	name string
	// open starts a server and returns its URL for --broker.
	open func(t *testing.T) (url string, look func(t *testing.T) outlook)
}

var overseers = []overseer{
	{"nats", func(t *testing.T) (string, func(t *testing.T) outlook) {
		server := testserver.NATSOwn(t)
		return server.URL(), func(t *testing.T) outlook { return atNATS(t, server.URL()) }
	}},
	{"rabbitmq", func(t *testing.T) (string, func(t *testing.T) outlook) {
		server := testserver.RabbitOwn(t)
		return server.URL(), func(t *testing.T) outlook { return atRabbit(t, server) }
	}},
	{"kafka", func(t *testing.T) (string, func(t *testing.T) outlook) {
		server := testserver.KafkaOwn(t, 1)
		return "kafka://" + strings.Join(server.Addresses(), ","), func(t *testing.T) outlook { return atKafka(t, server) }
	}},
}

// atNATS reads every message of the topic, and the places of the group, by the plain client.
func atNATS(t *testing.T, url string) outlook {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "souk_inventory_commands")
	if err != nil {
		t.Fatal(err)
	}
	places, err := js.Stream(t.Context(), "=positions")
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	n, err := strconv.Atoi(info.Config.Metadata["souk.partitions"])
	if err != nil {
		t.Fatal(err)
	}
	is := outlook{make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)}
	next := int64(info.State.LastSeq) + 1
	settled := make([]uint64, n)
	for p := range n {
		is.First[p], is.Next[p] = next, next
		m, err := places.GetLastMsgForSubject(t.Context(), fmt.Sprintf("=positions.souk_inventory_inventory.%d.souk_inventory_commands", p))
		if err != nil {
			t.Fatal(err)
		}
		var place struct{ Marks []struct{ Seq uint64 } }
		if err := json.Unmarshal(m.Data, &place); err != nil || len(place.Marks) == 0 {
			t.Fatalf("a place of the group is %s: %v", m.Data, err)
		}
		settled[p] = place.Marks[0].Seq
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && seq > 0; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		p, err := strconv.Atoi(strings.Split(m.Subject, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		is.First[p] = min(is.First[p], int64(seq))
		is.Messages[p]++
		if seq > settled[p] {
			is.Lag[p]++
		}
	}
	return is
}

// atRabbit asks the server's own tool.
func atRabbit(t *testing.T, server *testserver.RabbitServer) outlook {
	t.Helper()
	var is outlook
	for line := range strings.Lines(server.Control("list_queues", "--silent", "name", "messages")) {
		name, messages, _ := strings.Cut(strings.TrimSpace(line), "\t")
		partition, ours := strings.CutPrefix(name, waitingGroup+".")
		p, err := strconv.Atoi(partition)
		if !ours || err != nil {
			continue
		}
		for len(is.Lag) <= p {
			is.Lag = append(is.Lag, 0)
		}
		if is.Lag[p], err = strconv.ParseInt(messages, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return is
}

// atKafka reads every record with kcat, and the places of the group with the administrator's client.
func atKafka(t *testing.T, server *testserver.KafkaServer) outlook {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(server.Addresses()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(t.Context(), waitingTopic)
	if err != nil {
		t.Fatal(err)
	}
	places, err := admin.FetchOffsets(t.Context(), waitingGroup)
	if err != nil {
		t.Fatal(err)
	}
	n := len(details[waitingTopic].Partitions)
	is := outlook{make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)}
	for p := range n {
		is.First[p], is.Next[p] = 1, 1
		for line := range strings.Lines(server.Kcat(t, "", "-C", "-q", "-e", "-t", waitingTopic, "-p", strconv.Itoa(p), "-o", "beginning", "-f", `%o\n`)) {
			offset, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			is.Messages[p]++
			is.Next[p] = offset + 2
		}
		place, found := places.Lookup(waitingTopic, int32(p))
		if !found {
			t.Fatalf("the group has no place in partition %d", p)
		}
		is.Lag[p] = is.Next[p] - 1 - place.At
	}
	return is
}

// shown asks souk.
func shown(m *mall, flags ...string) (is outlook) {
	m.t.Helper()
	for _, r := range parsed(m, append([]string{"topic", "show", waitingTopic}, flags...)...) {
		if r["group"] == nil {
			if r["next"] != nil {
				is.First, is.Next = append(is.First, figure(r["first"])), append(is.Next, figure(r["next"]))
				is.Messages = append(is.Messages, figure(r["messages"]))
			}
			continue
		}
		if r["group"] == waitingGroup {
			if r["partition"] != strconv.Itoa(len(is.Lag)) {
				m.t.Errorf("partition %v comes as number %d", r["partition"], len(is.Lag))
			}
			is.Lag = append(is.Lag, figure(r["lag"]))
		}
	}
	return is
}

// listed returns what topic list says of that topic.
func listed(m *mall, flags ...string) map[string]any {
	m.t.Helper()
	for _, r := range parsed(m, append([]string{"topic", "list"}, flags...)...) {
		if r["topic"] == waitingTopic {
			return r
		}
	}
	m.t.Fatalf("souk topic list does not name %s", waitingTopic)
	return nil
}

func parsed(m *mall, args ...string) (list []map[string]any) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.souk(append(args, "-o", "json")...)), &list); err != nil {
		m.t.Fatal(err)
	}
	return list
}

func figure(v any) int64 {
	n, ok := v.(float64)
	if !ok {
		return -1
	}
	return int64(n)
}

func sum(list []int64) (all int64) {
	for _, n := range list {
		all += n
	}
	return all
}

// What souk says of a topic of each broker is what another client finds there: the numbers of each partition, and what the group of an
// absent service has not settled of it; as long as the mall runs, when it has ended, and when the service has come and settled all.
// Red when a lag is taken for another partition's, or from a topic that the group does not take from.
func TestTopicsAtBrokers(t *testing.T) {
	t.Parallel()
	binary := program(t)
	for _, b := range overseers {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			url, look := b.open(t)
			whole := []string{"--broker", url, "--step-patience", "10m"}
			m := start(t, binary, t.TempDir(), nil, whole...)
			m.seed()
			m.settle()
			m.stop()
			m.flags = append(slices.Clone(whole), "--without", "inventory")
			m.begin()
			const orders = 7
			for n := range orders {
				id := fmt.Sprintf("T%d", n)
				m.must(202, "POST", "/order", order(id, customerOf(n), item{"PRODUCT_002", 5, 1}))
			}
			same := func(when string, lag int64, flags ...string) {
				t.Helper()
				var want, got outlook
				await(t, when, func() bool { want = look(t); return sum(want.Lag) == lag })
				await(t, when+" by souk", func() bool { got = shown(m, flags...); return sum(got.Lag) == lag })
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s souk shows %+v, and %s has %+v", when, got, b.name, want)
				}
				row := listed(m, flags...)
				if figure(row["lag"]) != lag || row["carrier"] != b.name || figure(row["partitions"]) != int64(len(want.Lag)) {
					t.Errorf("%s souk lists %v; %s has %+v", when, row, b.name, want)
				}
				if want.Messages != nil && figure(row["messages"]) != sum(want.Messages) {
					t.Errorf("%s souk lists %v; %s has %d messages", when, row, b.name, sum(want.Messages))
				}
			}
			same("while the mall runs", orders)
			m.stop()
			refused(t, binary, m.dir, 1, "name it with --broker", "topic", "list")
			same("when the mall has ended", orders, "--broker", url)
			refused(t, binary, m.dir, 1, "there is no topic", "topic", "show", "souk.nothing", "--broker", url)
			m.flags = whole
			m.begin()
			m.settle()
			same("when the service has come", 0)
			m.stop()
		})
	}
}
