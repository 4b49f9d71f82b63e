package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
		"TestB20_InProcesses/A3A5_Departure":               "A3 A5 B20",
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

// A statement that nothing shows in some way says so; what was skipped, or left to a longer run, shows nothing. Red when either counts.
func TestNoBlankIsSilent(t *testing.T) {
	t.Parallel()
	results, err := read(strings.NewReader(`go: building
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestE2_PostedAHundredTimes"}
{"Action":"skip","Package":"example.org/souk/test/store","Test":"TestE3_OtherContent"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestF17_ThroughputRises"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestF17_ThroughputRises/nats"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestB20_PartnersOfProcesses/NATS/C1_StockFalls"}
{"Action":"output","Package":"example.org/souk/test/store","Test":"TestE7B8_CancelAtAnyMoment","Output":"    x_test.go:1: this takes minutes: make prove-short runs it\n"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestE7B8_CancelAtAnyMoment"}
{"Action":"output","Package":"example.org/souk/test/store","Test":"TestE8_SameIdsAfterKill","Output":"    x_test.go:1: this takes minutes: make prove-short runs it\n"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestE8_SameIdsAfterKill"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestE8_SameIdsAfterKill"}
{"Action":"pass","Package":"example.org/souk/backbone","Test":"TestE2_Twice"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestB20_InProcesses/A1_StockClients"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestB20_InProcesses/A1_StockClients/mqttv5"}
{"Action":"pass","Package":"example.org/souk/test/store","Test":"TestB20_InProcesses/A1_Acknowledged"}
{"Action":"pass","Package":"example.org/souk/test/store"}
`))
	if err != nil {
		t.Fatal(err)
	}
	text := page(results, map[string][]string{"E2": {"when copies count"}})
	for _, want := range []string{
		"- one process, SQLite: `backbone` E2_Twice; `test/store` E2_PostedAHundredTimes\n- PostgreSQL: not run\n- NATS: not run\n- RabbitMQ: not run\n- Kafka's protocol: not run\n- *Red* when copies count.\n",
		"**E3** The same order id with other content: 409, nothing changes.\n\nNo test carries this id.\n",
		"**E7** Cancel returns the stock once.\n\n- one process, SQLite: not run\n",
		"- left to `make prove`, which takes hours: `test/store` E7B8_CancelAtAnyMoment\n",
		"- one process, SQLite: `test/store` E8_SameIdsAfterKill\n",
		"- PostgreSQL: `test/store` B20_InProcesses: A1_Acknowledged, A1_StockClients\n",
		"- PostgreSQL: `test/store` F17_ThroughputRises\n- NATS: `test/store` F17_ThroughputRises: nats\n",
		"- PostgreSQL: `test/store` B20_PartnersOfProcesses/NATS: C1_StockFalls\n- NATS: `test/store` B20_PartnersOfProcesses/NATS: C1_StockFalls\n",
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

// What a run left out stays as it was shown before, with its day, unless its test is gone. Red when it is forgotten, and when a test that is not
// there any more shows something.
func TestEarlierRunsCount(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "record.tsv")
	there := map[string]bool{"a TestE2_Short": true, "a TestE2_Long": true, "a TestE8_Gone": false}
	kept := record{}
	kept.add([]result{{pkg: "a", test: "TestE2_Short"}, {pkg: "a", test: "TestE2_Long/nats"}, {pkg: "a", test: "TestE8_Gone"}}, "2026-01-02", map[string]bool{
		"a TestE2_Short": true, "a TestE2_Long": true, "a TestE8_Gone": true,
	})
	if err := kept.write(file); err != nil {
		t.Fatal(err)
	}
	again, err := readRecord(file)
	if err != nil {
		t.Fatal(err)
	}
	results := again.add([]result{{pkg: "a", test: "TestE2_Short"}, {pkg: "a", test: "TestE2_Long/nats", left: true}, {pkg: "a", test: "TestE2_Other", left: true}}, "2026-03-04", there)
	text := page(results, nil)
	for _, want := range []string{
		"- one process, SQLite: `a` E2_Short\n", "- NATS: `a` (2026-01-02) E2_Long: nats\n", "- left to `make prove`, which takes hours: `a` E2_Other\n",
		"**E8** A re-published event carries the same id.\n\nNo test carries this id.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("misses %q", want)
		}
	}
	if err := os.WriteFile(file, []byte("yesterday\ta\tTestE2_Short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(file); err == nil {
		t.Error("yesterday is a day")
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
	reds, _, err := defects("../..")
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

// The page that is kept names tests that are there, and none that carries an id is missing. Red when a test is renamed and the page is not written again.
func TestThePageIsOfTheseTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/acceptance.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	line := regexp.MustCompile("^`([a-z0-9/]+)` (?:\\([0-9-]+\\) )?(.+)$")
	for _, text := range regexp.MustCompile(`(?m)^- [^*:]+: (.+)$`).FindAllStringSubmatch(string(text), -1) {
		for of := range strings.SplitSeq(text[1], "; ") {
			if found := line.FindStringSubmatch(of); found != nil {
				test, _, _ := strings.Cut(found[2], ": ") // of which parts follow, or which
				for name := range strings.SplitSeq(test, ", ") {
					name, _, _ = strings.Cut(name, "/")
					named[found[1]+" Test"+name] = true
				}
			}
		}
	}
	function := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	there := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, found := range function.FindAllSubmatch(code, -1) {
			there[filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../../"))+" "+string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range named {
		if !there[name] {
			t.Errorf("%s is not there: make acceptance", name)
		}
	}
	for name := range there {
		if _, test, _ := strings.Cut(name, " "); len(ids(test)) > 0 && !named[name] {
			t.Errorf("%s is not told of: make acceptance", name)
		}
	}
}
