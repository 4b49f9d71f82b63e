package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

// childEnv makes the test binary a process that receives: address, group and topic. It settles the first fifty and holds
// the others until SIGUSR1.
const childEnv = "SOUK_TEST_KAFKABUS_CHILD"

const childSettles = 50

func child() {
	var address, group, topic string
	if _, err := fmt.Sscan(os.Getenv(childEnv), &address, &group, &topic); err != nil {
		panic(err)
	}
	c, err := kafkabus.NewClient(kafkabus.ClientConfig{Brokers: []string{address}})
	if err != nil {
		panic(err)
	}
	settle := make(chan os.Signal, 1)
	signal.Notify(settle, syscall.SIGUSR1)
	var mu sync.Mutex
	var held []broker.Incoming
	go func() {
		<-settle
		mu.Lock()
		defer mu.Unlock()
		for _, in := range held {
			in.Done()
		}
	}()
	g := broker.Group{Name: group, Inputs: []broker.Input{{Topic: topic}}, Partitions: 1}
	err = c.Receive(context.Background(), g, 0, func(ins []broker.Incoming) error {
		mu.Lock()
		defer mu.Unlock()
		for _, in := range ins {
			if in.Sequence <= childSettles {
				in.Done()
			} else {
				held = append(held, in)
			}
		}
		fmt.Printf("holds %d.\n", len(held))
		return nil
	})
	fmt.Printf("taken %v: %v\n", errors.Is(err, kafkabus.ErrTaken), err)
}

func startChild(t *testing.T, server *testserver.KafkaServer, g broker.Group) *testserver.Process {
	return testserver.Command{
		Args: []string{os.Args[0]},
		Env:  []string{childEnv + "=" + strings.Join([]string{server.Addresses()[0], g.Name, g.Inputs[0].Topic}, " ")},
	}.Start(t)
}

func TestKilledReceiverLosesNothing(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 100)...)
	p := startChild(t, server, g)
	p.WaitLine("holds 50.")
	eventually(t, "what it has settled is stored", func() bool {
		backlog, err := c.Backlog(t.Context(), g)
		return err == nil && backlog[0] == 50
	})
	p.Kill9()
	send(t, c, messages(topic, 0, 100, 120)...)
	r := receive(t, c, g, 0, all)
	ordered(t, r.wait(70), topic, 0, 50, 120)
	r.stop()
}

func TestPausedReceiverDoesNoHarm(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 100)...)
	p := startChild(t, server, g)
	p.WaitLine("holds 50.")
	eventually(t, "what it has settled is stored", func() bool {
		backlog, err := c.Backlog(t.Context(), g)
		return err == nil && backlog[0] == 50
	})
	p.Pause()
	r := receive(t, c, g, 0, all)
	ordered(t, r.wait(50), topic, 0, 50, 100)
	send(t, c, messages(topic, 0, 100, 200)...)
	r.wait(150)
	r.stop()
	p.Resume()
	p.Signal(syscall.SIGUSR1)
	p.WaitLine("taken true")
	if backlog, err := c.Backlog(t.Context(), g); err != nil || backlog[0] != 0 {
		t.Errorf("backlog %v, %v", backlog, err)
	}
}

// Under load, whatever was confirmed is received, the first of each in order, and what was settled before a clean end
// does not come again.
func TestServerKilledAndPausedUnderLoad(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	c := connect(t, server.Addresses(), func(c *kafkabus.ClientConfig) { c.Patience = 4 * time.Second })
	const partitions, batch = 2, 20
	topic := declared(t, c, partitions)
	g := group(topic, partitions)
	join(t, c, g)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopSending := make(chan struct{})
	var senders, receivers sync.WaitGroup
	var mu sync.Mutex
	sent, failures := make([]int, partitions), 0
	got := make([][]broker.Incoming, partitions)
	for p := range partitions {
		senders.Go(func() {
			for n := 0; ; n += batch {
				select {
				case <-stopSending:
					return
				default:
				}
				if err := insist(ctx, c, messages(topic, p, n, n+batch)); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				mu.Lock()
				sent[p] = n + batch
				mu.Unlock()
			}
		})
		receivers.Go(func() {
			for ctx.Err() == nil {
				err := c.Receive(ctx, g, p, func(ins []broker.Incoming) error {
					mu.Lock()
					got[p] = append(got[p], ins...)
					mu.Unlock()
					for _, in := range ins {
						in.Done()
					}
					return nil
				})
				if err != nil {
					mu.Lock()
					failures++
					mu.Unlock()
				}
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		mu.Lock()
		before := slices.Clone(sent)
		mu.Unlock()
		begun := time.Now()
		eventually(t, what, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for p := range partitions {
				if sent[p] < before[p]+10*batch || len(firsts(got[p])) < before[p] {
					return false
				}
			}
			return true
		})
		t.Logf("%s after %v", what, time.Since(begun).Round(time.Millisecond))
	}
	progress("the load runs")
	for range 3 {
		server.Restart()
		progress("the load runs behind a kill -9 and a restart")
	}
	server.Kill()
	eventually(t, "receivers notice that the server is gone", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failures >= partitions
	})
	server.Restart()
	progress("the load runs behind a longer absence")
	server.Pause()
	mu.Lock()
	failed := failures
	mu.Unlock()
	eventually(t, "receivers notice that the server does not answer", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failures > failed
	})
	server.Resume()
	progress("the load runs behind a pause")
	close(stopSending)
	senders.Wait()
	eventually(t, "all is received", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for p := range partitions {
			if len(firsts(got[p])) < sent[p] {
				return false
			}
		}
		return true
	})
	cancel()
	receivers.Wait()
	for p := range partitions {
		ordered(t, firsts(got[p]), topic, p, 0, sent[p])
		t.Logf("partition %d: %d messages, %d copies", p, sent[p], len(got[p])-sent[p])
	}
	server.Restart()
	for p := range partitions {
		r := receive(t, c, g, p, all)
		send(t, c, message(topic, p, 1e6))
		ordered(t, r.wait(1), topic, p, 1e6, 1e6+1)
		r.stop()
	}
}

// A partition that loses its tail while somebody receives it is an error; the next receiving gets what takes its place.
func TestTailLostWhileItIsReceived(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	c := connect(t, server.Addresses())
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 10)...)
	anchor := send(t, c, messages(topic, 0, 10, 15)...)[0]
	r := receive(t, c, g, 0, all)
	r.wait(15)
	server.Kill()
	server.LoseTail(topic, 0)
	server.Restart()
	if err := r.end(); !errors.Is(err, kafkabus.ErrLost) {
		t.Errorf("receive ended with %v", err)
	}
	if held, err := c.Holds(t.Context(), anchor); held || err != nil {
		t.Errorf("held: %v, %v", held, err)
	}
	// Whoever publishes finds out too, before anything is published in the place of what is missing, and once.
	if _, err := c.Send(t.Context(), messages(topic, 0, 15, 16)); !errors.Is(err, kafkabus.ErrLost) {
		t.Errorf("sent behind what was lost: %v", err)
	}
	must(t, insist(t.Context(), c, messages(topic, 0, 10, 20)))
	r = receive(t, c, g, 0, all)
	r.until("the last", func(got []broker.Incoming) bool {
		return len(got) > 0 && attribute(got[len(got)-1], "id") == topic+"/0/19"
	})
	r.stop()
}
