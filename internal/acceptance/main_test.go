package main

import (
	"slices"
	"strings"
	"testing"
)

// Red when a part of a name is taken for an id, or an id is passed over.
func TestIDsOfNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"TestA1_StockClients":                              "A1",
		"TestA6A7_Processes":                               "A6 A7",
		"TestPartnersAtNATS/C5_D8_WhatPartnersAreTold":     "C5 D8",
		"TestC4_AcceptedIsDurable/F1_CrashWalk/some_thing": "C4 F1",
		"TestPayment/B9_too_small":                         "B9",
		"TestF1OfThem":                                     "",
		"TestB5":                                           "",
		"TestX/B12":                                        "",
	} {
		if got := strings.Join(ids(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A statement that nothing shows in some way says so; what failed or was skipped shows nothing. Red when a skipped test counts.
func TestNoBlankIsSilent(t *testing.T) {
	t.Parallel()
	results, err := read(strings.NewReader(`go: building
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestE2_PostedAHundredTimes"}
{"Action":"skip","Package":"example.org/souk/test/store","Test":"TestE3_OtherContent"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestF17_ThroughputRises"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestF17_ThroughputRises/nats"}
{"Action":"pass","Package":"example.org/souk/test/store"}
`))
	if err != nil {
		t.Fatal(err)
	}
	text := page(results, map[string][]string{"E2": {"when copies count"}})
	for _, want := range []string{
		"- one process, SQLite: `test/store` E2_PostedAHundredTimes\n- PostgreSQL: not run\n- NATS: not run\n- RabbitMQ: not run\n- Kafka's protocol: not run\n- *Red* when copies count.\n",
		"**E3** The same order id with other content: 409, nothing changes.\n\nNo test carries this id.\n",
		"- PostgreSQL: `test/store` F17_ThroughputRises\n- NATS: `test/store` F17_ThroughputRises/nats\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("misses %q", want)
		}
	}
	for line := range strings.Lines(statements) {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(text, "\n**"+name+"** ") && !strings.Contains(text, "\n## "+name+". ") {
			t.Errorf("%s is not told of", name)
		}
	}
}

// Red when what failed is written down as shown.
func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	_, err := read(strings.NewReader(`{"Action":"fail","Package":"example.org/souk/test/store","Test":"TestE2_PostedAHundredTimes"}`))
	if err == nil || !strings.Contains(err.Error(), "TestE2_PostedAHundredTimes failed") {
		t.Error(err)
	}
	if _, err := read(strings.NewReader("nothing\n")); err == nil {
		t.Error("nothing is a result")
	}
}

// Every statement that no test can carry has a reason, and no other has. Red when a test is written for one and the reason stays.
func TestReasonsAreNeeded(t *testing.T) {
	t.Parallel()
	reds, err := defects("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name := range none {
		if len(reds[name]) > 0 {
			t.Errorf("%s has a test: %v", name, reds[name])
		}
		if !slices.ContainsFunc(strings.Split(statements, "\n"), func(line string) bool { return strings.HasPrefix(line, name+" ") }) {
			t.Errorf("%s is no statement", name)
		}
	}
}
