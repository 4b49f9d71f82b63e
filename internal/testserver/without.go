package testserver

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The names that SOUK_WITHOUT knows; scripts/servers knows the same ones.
const (
	postgresName  = "postgres"
	pgbouncerName = "pgbouncer"
	chromiumName  = "chromium"
	natsName      = "nats"
	kafkaName     = "kafka"
	rabbitName    = "rabbitmq"
	mosquittoName = "mosquitto"
)

var known = []string{postgresName, pgbouncerName, chromiumName, natsName, kafkaName, rabbitName, mosquittoName}

// need leaves the test out when SOUK_WITHOUT names server. This is the one place where a test may be skipped: by
// someone's decision, in words, never because something happened to be missing.
func need(t testing.TB, server string) {
	t.Helper()
	without, err := parseWithout(os.Getenv("SOUK_WITHOUT"))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(without, server) {
		t.Skipf("NOT TESTED: %s needs %s, and SOUK_WITHOUT=%s leaves it out", t.Name(), server, os.Getenv("SOUK_WITHOUT"))
	}
}

// parseWithout reads a list of servers and complains about a name that it does not know: a misspelt one would
// otherwise leave nothing out and be taken for a missing server.
func parseWithout(list string) (names []string, err error) {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("SOUK_WITHOUT names %q, which is none of %s", name, strings.Join(known, ", "))
		}
		names = append(names, name)
	}
	return names, nil
}
