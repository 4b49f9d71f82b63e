// Command acceptance writes docs/acceptance.md: for each statement of what must hold, which tests have shown it, and in which way of running the
// mall. It reads what tests have said (go test -json) from its standard input, and the comments of the tests. docs/acceptance.tsv keeps on which day
// each test has passed last, so that what a run leaves out stays on the page.
//
//	make acceptance    runs all tests but the longest and then this
package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: acceptance REPOSITORY, with the results on the standard input")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		os.Exit(1)
	}
}

func run(repository string, said io.Reader) error {
	results, err := read(said)
	if err != nil {
		return err
	}
	reds, there, err := defects(repository)
	if err != nil {
		return err
	}
	file := filepath.Join(repository, "docs", "acceptance.tsv")
	kept, err := readRecord(file)
	if err != nil {
		return err
	}
	results = kept.add(results, time.Now().UTC().Format(time.DateOnly), there)
	if err := kept.write(file); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(repository, "docs", "acceptance.md"), []byte(page(results, reds)), 0o644) //nolint:gosec // it is published
}

//go:embed statements.txt
var statements string

// ways are the ways to run the mall, in the order of the columns. A test is of the first whose pattern its package or name has: what nothing in
// the name tells apart runs the mall, or what it is about, in one process on SQLite.
var ways = []struct {
	name string
	of   *regexp.Regexp
}{
	{"one process, SQLite", nil},
	{"PostgreSQL", regexp.MustCompile(`(?i)postgres|pgstore|pgbouncer|process(es)?(/|_|$)|OfProcesses|Apart|Instances|ThroughputRises|RollingRestart|IdleForeignTransaction|one database|ProcessesOffline|OtherProcesses`)},
	{"NATS", regexp.MustCompile(`(?i)nats`)},
	{"RabbitMQ", regexp.MustCompile(`(?i)rabbit`)},
	{"Kafka's protocol", regexp.MustCompile(`(?i)kafka`)},
}

func wayOf(test string) int {
	for i := len(ways) - 1; i > 0; i-- {
		if ways[i].of.MatchString(test) {
			return i
		}
	}
	return 0
}

// onPostgres is the way of which those tests are as well that run a mall in processes with a broker beside it.
const onPostgres = 1

var besideBroker = regexp.MustCompile(`^test/\S+ TestB20_(InProcessesOver|PartnersOfProcesses/)`)

// result is a test, or a part of one, that passed, or was left to a longer run.
type result struct {
	pkg, test string
	left      bool
	day       string // on which it was shown
}

// elsewhere are the modules that use this one as somebody else's would, by the paths of their packages.
var elsewhere = strings.NewReplacer("example.org/souk/", "", "example.com/loyalty", "test/outside", "example.com/alacarte", "test/alacarte")

var longer = regexp.MustCompile(`make prove(-short)? runs (it|all)`)

// read reads the results of all runs; of several of one test the last counts in which it was run. A test that failed is an error: there is nothing to write down then.
func read(r io.Reader) ([]result, error) {
	last := map[[2]string]string{}
	left := map[[2]string]bool{} // to a longer run, says the test that runs now
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var said struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &said) != nil || said.Test == "" {
			continue // what make and the compiler say stands between
		}
		at := [2]string{said.Package, said.Test}
		switch {
		case said.Action == "output":
			left[at] = left[at] || longer.MatchString(said.Output)
		case said.Action == "pass" && left[at] && last[at] == "":
			last[at] = "left"
		case said.Action == "pass" && !left[at], said.Action == "fail":
			last[at] = said.Action
		}
		if said.Action != "output" {
			left[at] = false
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var all []result
	var failed []error
	for at, action := range last {
		if action == "fail" {
			failed = append(failed, fmt.Errorf("%s %s failed", at[0], at[1]))
		}
		all = append(all, result{pkg: elsewhere.Replace(at[0]), test: at[1], left: action == "left"})
	}
	if len(all) == 0 {
		return nil, errors.New("no test has said anything: give it what go test -json prints")
	}
	slices.SortFunc(all, func(a, b result) int {
		return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test)
	})
	return all, errors.Join(failed...)
}

var (
	ofTest = regexp.MustCompile(`^Test((?:[A-F]\d{1,2})+)_`)
	ofPart = regexp.MustCompile(`^((?:[A-F]\d{1,2}_?)+)_`)
	id     = regexp.MustCompile(`[A-F]\d{1,2}`)
)

// ids are the statements that a test carries in its name, or in that of its part.
func ids(test string) []string {
	var all []string
	for i, name := range strings.Split(test, "/") {
		pattern := ofPart
		if i == 0 {
			pattern = ofTest
		}
		if found := pattern.FindStringSubmatch(name); found != nil {
			all = append(all, id.FindAllString(found[1], -1)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shown are the tests that have shown a statement, by the way of running. A test stands for its parts, but for those that have another way.
func shown(results []result, statement string) [][]result {
	all := make([][]result, len(ways))
	for _, r := range results {
		if r.left || !slices.Contains(ids(r.test), statement) {
			continue
		}
		run := r.pkg + " " + r.test
		way := wayOf(run)
		all[way] = append(all[way], r)
		if way != onPostgres && besideBroker.MatchString(run) {
			all[onPostgres] = append(all[onPostgres], r)
		}
	}
	for i := range all {
		all[i] = wholes(all[i])
	}
	return all
}

// wholes are the tests of a list that are no part of another one in it.
func wholes(list []result) []result {
	has := map[[2]string]bool{}
	for _, r := range list {
		has[[2]string{r.pkg, r.test}] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(r result) bool {
		for i, c := range r.test {
			if c == '/' && has[[2]string{r.pkg, r.test[:i]}] {
				return true
			}
		}
		return false
	})
}

// listed writes tests package by package, and parts behind the test that they are of, with the day where that is not the latest of all.
func listed(list []result, latest string) string {
	var b strings.Builder
	day := func(r result) string {
		if r.day == latest {
			return ""
		}
		return "(" + r.day + ") "
	}
	of := func(r result) string { // what it stands behind
		test, _ := path.Split(strings.TrimPrefix(r.test, "Test"))
		return r.pkg + " " + test + " " + day(r)
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y result) int { return strings.Compare(of(x), of(y)) })
	for i, r := range list {
		test, name := path.Split(strings.TrimPrefix(r.test, "Test"))
		switch {
		case i > 0 && of(r) == of(list[i-1]):
			b.WriteString(", ")
		default:
			if i > 0 {
				b.WriteString("; ")
			}
			b.WriteString("`" + r.pkg + "` " + day(r))
			if test != "" {
				b.WriteString(strings.TrimSuffix(test, "/") + ": ")
			}
		}
		b.WriteString(name)
	}
	return b.String()
}

// defects are what turns tests red, as their comments say, by the statement, and which tests are there, by package and name.
func defects(repository string) (reds map[string][]string, there map[string]bool, err error) {
	reds, there = map[string][]string{}, map[string]bool{}
	err = filepath.WalkDir(repository, func(file string, d fs.DirEntry, err error) error { //nolint:gosec // of the repository that whoever runs it names
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != repository:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		code, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range code.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			pkg, err := filepath.Rel(repository, filepath.Dir(file))
			if err != nil {
				return err
			}
			there[filepath.ToSlash(pkg)+" "+f.Name.Name] = true
			of := ids(f.Name.Name)
			if len(of) == 0 {
				continue
			}
			if _, red, ok := strings.Cut(strings.Join(strings.Fields(f.Doc.Text()), " "), "Red "); ok {
				red, _, _ = strings.Cut(red, ". ")
				for _, statement := range of {
					reds[statement] = append(reds[statement], strings.TrimSuffix(red, "."))
				}
			}
		}
		return nil
	})
	for _, list := range reds {
		slices.Sort(list)
	}
	return reds, there, err
}

const head = `# What must hold, and where it was shown

Written by ` + "`make acceptance`" + ` from what the tests said and from their comments. A test carries the statements that it shows in its name.

The ways to run: in one process on SQLite, which is also where a test stands that looks at a part of the mall alone; on PostgreSQL, in one
process or in several; and with a broker, between the services of a mall, between programs and the backbone, or between the mall and its partners. What no test was
run with is said so. Beside them ` + "`test/store`" + ` TestD7_OverBrokers and TestD7_Processes run a day of orders over each broker, in one process and with every service
in one of its own, on one database and on one a service, with databases, brokers and services killed, and compare everything that is kept.

A day in brackets is that of the last run that had the test, where the latest did not: no run has all of them.

*Red* is what a test's comment says of the defect that it finds.
`

// none is why no test shows a statement.
var none = map[string]string{
	"A10": "Services do not carry their messages over MQTT; there is no such transport yet.",
	"F13": "No test of its own: `make prove-offline` runs `make test` where there is no network but loopback.",
	"F14": "`make up` starts everything; there is no container image yet.",
	"F15": "No test of its own: [performance](performance.md) tells figures and methods, `bench` repeats them.",
}

func page(results []result, reds map[string][]string) string {
	var b strings.Builder
	b.WriteString(head)
	latest := ""
	for _, r := range results {
		latest = max(latest, r.day)
	}
	for line := range strings.Lines(statements) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if len(name) == 1 {
			fmt.Fprintf(&b, "\n## %s. %s\n", name, text)
			continue
		}
		fmt.Fprintf(&b, "\n**%s** %s\n\n", name, strings.NewReplacer("<", "&lt;", "*", "\\*").Replace(text))
		tests := shown(results, name)
		var left []result
		for _, r := range results {
			if r.left && slices.Contains(ids(r.test), name) {
				left = append(left, r)
			}
		}
		if len(left) == 0 && !slices.ContainsFunc(tests, func(of []result) bool { return len(of) > 0 }) {
			why, ok := none[name]
			if !ok {
				why = "No test carries this id."
			}
			b.WriteString(why + "\n")
			continue
		}
		for i, of := range tests {
			text := "not run"
			if len(of) > 0 {
				text = listed(of, latest)
			}
			fmt.Fprintf(&b, "- %s: %s\n", ways[i].name, text)
		}
		if len(left) > 0 {
			fmt.Fprintf(&b, "- left to `make prove`, which takes hours: %s\n", listed(wholes(left), ""))
		}
		for _, red := range reds[name] {
			fmt.Fprintf(&b, "- *Red* %s.\n", red)
		}
	}
	return b.String()
}
