package bench

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

var (
	isQuick = flag.Bool("quick", true, "small sizes and one round: that everything works, in seconds")
	rounds  = flag.Int("rounds", 5, "how often everything is measured")
	large   = flag.Int("large-rounds", 5, "how often a large backlog is measured")
	systems = flag.String("systems", "nats,rabbitmq,kafka,relay", "what is measured")
	only    = flag.String("measures", "publish,consume,lanes,latency,backlog", "what is measured of a broker")
	whose   = flag.String("contenders", "", "of whom, such as souk;raw; default all")
	output  = flag.String("json", "", "a file that the figures are written to as JSON; without it they follow the table")
)

// TestFigures measures everything, prints a table, and fails where something was lost, not where it is slow.
func TestFigures(t *testing.T) {
	figures := &Figures{say: io.Discard}
	if testing.Verbose() {
		figures.say = os.Stderr
	}
	for _, s := range []struct {
		name string
		run  func(*testing.T, *Figures)
	}{{"nats", onNATS}, {"rabbitmq", onRabbit}, {"kafka", onKafka}, {"relay", onRelay}} {
		if slices.Contains(strings.Split(*systems, ","), s.name) {
			t.Run(s.name, func(t *testing.T) { s.run(t, figures) })
		}
	}
	if t.Failed() {
		return
	}
	var table, text bytes.Buffer
	if err := errors.Join(figures.Table(&table), figures.JSON(&text)); err != nil {
		t.Fatal(err)
	}
	if *output == "" {
		table.Write(text.Bytes())
	} else if err := os.WriteFile(*output, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		if _, err := table.WriteTo(os.Stdout); err != nil {
			t.Fatal(err)
		}
	}
}

// sizes returns those for a broker that carries about so many messages a second.
func sizes(perSecond int) plan {
	if *isQuick {
		return quick()
	}
	p := full(*rounds, perSecond)
	p.largeRounds = *large
	return p
}

// readerStore returns the database of the service that subscribes; others have none here.
func readerStore(t *testing.T) func(string) driver.Store {
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "reader.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: reader}}); err != nil {
		t.Fatal(err)
	}
	return func(service string) driver.Store {
		if service == reader {
			return store
		}
		return nil
	}
}

func quiet(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// leftOut reports whether a contender was not asked for.
func leftOut(name string) bool {
	return *whose != "" && !slices.Contains(strings.Split(*whose, ";"), name)
}

// compare measures what was asked for.
func compare(t *testing.T, system string, p plan, figures *Figures, candidates ...candidate) {
	candidates = slices.DeleteFunc(candidates, func(c candidate) bool { return leftOut(c.name) })
	b := must[*broker](t)(newBroker(system, p, figures, candidates))
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{{"publish", b.publish}, {"consume", b.consume}, {"lanes", b.slowly}, {"latency", b.latency}, {"backlog", b.backlog}} {
		if slices.Contains(strings.Split(*only, ","), m.name) {
			if err := m.run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func onNATS(t *testing.T, figures *Figures) {
	url := testserver.NATSOwn(t).URL()
	bus := must[*natsbus.Bus](t)(natsbus.New(natsbus.Config{
		Client: natsbus.ClientConfig{URL: url}, Store: readerStore(t), Partitions: partitions, Logger: quiet(t),
	}))
	raw := must[*rawNATS](t)
	mill := must[*millNATS](t)
	compare(t, "NATS JetStream", sizes(50_000), figures,
		candidate{nameRaw, raw(newRawNATS(url, 1))}, candidate{nameSouk, souk{bus}}, candidate{nameMill, mill(newMillNATS(url, false))},
		candidate{nameDivided, raw(newRawNATS(url, partitions))}, candidate{nameBare, raw(newRawNATS(url, 1))},
		candidate{nameTuned, mill(newMillNATS(url, true))})
}

func onRabbit(t *testing.T, figures *Figures) {
	url := testserver.RabbitOwn(t).URL()
	bus := must[*rabbitbus.Bus](t)(rabbitbus.New(rabbitbus.Config{
		Client: rabbitbus.ClientConfig{URL: url}, Store: readerStore(t), Partitions: partitions, Logger: quiet(t),
	}))
	raw := must[*rawRabbit](t)
	mill := must[*millRabbit](t)
	compare(t, "RabbitMQ", sizes(15_000), figures,
		candidate{nameRaw, raw(newRawRabbit(url, 1))}, candidate{nameSouk, souk{bus}}, candidate{nameMill, mill(newMillRabbit(url, false))},
		candidate{nameDivided, raw(newRawRabbit(url, partitions))}, candidate{nameBare, raw(newRawRabbit(url, 1))},
		candidate{nameTuned, mill(newMillRabbit(url, true))})
}

func onKafka(t *testing.T, figures *Figures) {
	addresses := testserver.KafkaOwn(t, 1).Addresses()
	bus := must[*kafkabus.Bus](t)(kafkabus.New(kafkabus.Config{
		Client: kafkabus.ClientConfig{Brokers: addresses}, Store: readerStore(t), Partitions: kafkaPartitions, Logger: quiet(t),
	}))
	raw := must[*rawKafka](t)
	compare(t, "Kafka protocol (kfake)", sizes(50_000), figures,
		candidate{nameRaw, raw(newRawKafka(addresses))}, candidate{nameSouk, souk{bus}},
		candidate{nameMill, must[*millKafka](t)(newMillKafka(addresses))}, candidate{nameBare, raw(newRawKafka(addresses))})
}

// onRelay measures the relays on one PostgreSQL server and one NATS server; each round has a database of its own.
func onRelay(t *testing.T, figures *Figures) {
	rows, few, turns, span := 50_000, 5_000, *rounds, 2*time.Second
	if *isQuick {
		rows, few, turns, span = 2_000, 500, 1, 500*time.Millisecond
	}
	pg, url := testserver.PostgresOwn(t), testserver.NATSOwn(t).URL()
	raw := must[*rawNATS](t)(newRawNATS(url, 1))
	defer func() {
		if err := raw.close(); err != nil {
			t.Error(err)
		}
	}()
	names := slices.DeleteFunc([]string{nameHand, nameSouk, nameMill}, leftOut)
	made := 0
	open := func(name string) relay {
		made++
		at := fmt.Sprintf("r%d", made)
		switch database := pg.Database(t); name {
		case nameHand:
			return must[*relayByHand](t)(newRelayByHand(t.Context(), at, database, raw))
		case nameSouk:
			return must[*soukRelay](t)(newSoukRelay(t.Context(), at, database, url, quiet(t)))
		default:
			return must[*millRelay](t)(newMillRelay(t.Context(), at, database, url, raw))
		}
	}
	const system = "PostgreSQL to NATS"
	for round := range turns {
		for i := range names {
			name := names[(round+i)%len(names)]
			n := rows
			if name == nameMill {
				n = few
			}
			r := open(name)
			spent, err := relaying(t.Context(), r, raw, n)
			if err = errors.Join(err, r.close()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			figures.add(system, relayAll, name, "rows/s", spent.rate(), &spent)
			r = open(name)
			taken, err := relayLatencies(t.Context(), r, raw, perSecond, span)
			if err = errors.Join(err, r.close()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			figures.add(system, relay50, name, "ms", quantile(taken, 0.50).Seconds()*1000, nil)
			figures.add(system, relay99, name, "ms", quantile(taken, 0.99).Seconds()*1000, nil)
		}
	}
}
