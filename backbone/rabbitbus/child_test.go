package rabbitbus_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// The environment of a child: this test program, which then only receives.
const childEnv = "SOUK_RABBITBUS_CHILD"

// child receives partition 0 of a group and says what comes. It settles the messages whose numbers the last part of
// its orders names, and the others never.
func child() int {
	parts := strings.Split(os.Getenv(childEnv), " ")
	settle := map[string]bool{}
	for _, n := range strings.Split(parts[2], ",") {
		settle[n] = true
	}
	c, err := rabbitbus.NewClient(rabbitbus.ClientConfig{URL: parts[0]})
	if err == nil {
		fmt.Println("ready")
		err = c.Receive(context.Background(), groupOf(parts[1], 1), 0, func(ms []broker.Incoming) error {
			for _, m := range ms {
				if settle[string(m.Body)] {
					m.Done()
				}
				fmt.Println("got " + string(m.Body) + " again " + strconv.FormatBool(m.Redelivered))
			}
			return nil
		})
	}
	fmt.Println("ended:", err)
	return 0
}

func startChild(t testing.TB, url, group, settle string) *testserver.Process {
	t.Helper()
	p := testserver.Command{
		Args: []string{os.Args[0]},
		Env:  []string{childEnv + "=" + url + " " + group + " " + settle},
	}.Start(t)
	p.WaitLine("ready")
	return p
}
