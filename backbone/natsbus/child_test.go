package natsbus_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

// childEnv has the test binary receive instead, in a process that can be killed and paused:
// MODE URL PREFIX GROUP TOPIC N.
const childEnv = "SOUK_NATSBUS_CHILD"

// The modes of a child: it receives partition 0 and prints what it gets.
const (
	settles = "settles" // the first n messages, and no more
	gated   = "gated"   // everything, but stays within take after n messages until it is sent SIGUSR1
	churns  = "churns"  // everything, and begins to receive anew whenever it has got n messages
)

func startChild(t *testing.T, mode string, server *testserver.NATSServer, prefix string, g broker.Group, n int) *testserver.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := fmt.Sprintf("%s %s %s %s %s %d", mode, server.URL(), prefix, g.Name, g.Inputs[0].Topic, n)
	return testserver.Command{Args: []string{self}, Env: []string{childEnv + "=" + args}}.Start(t)
}

func child(args []string) error {
	mode, url, prefix, g := args[0], args[1], args[2], group(args[3], 1, args[4])
	n, err := strconv.Atoi(args[5])
	if err != nil {
		return err
	}
	c, err := natsbus.NewClient(natsbus.ClientConfig{URL: url, Prefix: prefix})
	if err != nil {
		return err
	}
	gate := make(chan os.Signal, 1)
	signal.Notify(gate, syscall.SIGUSR1)
	for {
		ctx, cancel := context.WithCancel(context.Background())
		got := 0
		err := c.Receive(ctx, g, 0, func(ms []broker.Incoming) error {
			for _, m := range ms {
				fmt.Println("got", idOf(m), ".")
				got++
				switch {
				case mode != settles || got <= n:
					m.Done()
				}
				switch {
				case mode == gated && got == n:
					fmt.Println("waiting")
					<-gate
				case mode == churns && got == n:
					cancel()
				}
			}
			return nil
		})
		cancel()
		fmt.Println("ended:", err)
		if mode != churns || err != nil {
			return c.Close()
		}
	}
}
