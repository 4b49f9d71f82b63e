// Command cards writes the cards of the transports from what their runs of the suite have shown, and from the comments of
// their packages: docs/transports/NAME.md for each docs/transports/results/NAME.json, and a page that compares them.
//
//	make cards    runs the suites and then this
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"example.org/souk/backbone/drivertest"
)

//go:generate go run . ../..

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cards REPOSITORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cards:", err)
		os.Exit(1)
	}
}

// about says what each test of the suite shows, in the order in which people ask.
var about = []struct{ test, shows string }{
	{"OrderPerKey", "messages of one stream are handled in order"},
	{"KeyOfSubscription", "a subscription may line messages up by a key of its own"},
	{"KeysAtOnce", "sixteen keys are in handlers at the same time"},
	{"KeysAtOnceByTwo", "sixteen keys are in handlers at the same time, eight in each of two processes"},
	{"FromNow", "a new subscription begins with what comes from now on"},
	{"FromFirst", "a new subscription begins at the first record"},
	{"Continues", "a subscription that was away goes on where it was"},
	{"Filters", "it gets the types that it asked for and no others"},
	{"PassedOver", "what it did not ask for does not wait for it"},
	{"Versions", "it gets every version of a type"},
	{"Addressed", "commands and replies reach the service that they are for"},
	{"TwoSources", "several sources feed one subscription"},
	{"SharedWork", "two processes share the work, and each message is worked once"},
	{"MovingSlices", "processes come, leave and crash under load; nothing is lost, doubled or out of order"},
	{"StaleOwner", "a process that was paused past its lease can do nothing more"},
	{"Crash", "what a process had not committed is worked by the next"},
	{"StaleMove", "a claim of before cannot move a checkpoint"},
	{"Redelivery", "what is handed back comes again, in order"},
	{"Copies", "what is published again has no second effect"},
	{"Reordered", "keys that come in another order than in their log, and copies behind later messages: each key keeps its order, and nothing takes effect twice"},
	{"CopyInFlight", "a copy of what is being handled has no effect either, and does not wait for ever"},
	{"PublishWhileAway", "while the server is away nothing counts as confirmed; what is committed goes out when it is back"},
	{"ServerKilled", "the server is killed twice under load and everything takes effect once, in order"},
	{"ServerPaused", "the server stands still for three seconds under load"},
	{"ServerForgets", "a server that has lost what it confirmed is found out"},
	{"Broadcast", "every process sees everything, and nothing stays behind"},
	{"Backpressure", "a subscription that stands still is not flooded"},
	{"StopInBatch", "a clean stop shows no handler a message twice"},
	{"StopUnderLoad", "processes are exchanged under load, and no handler is given a message twice"},
	{"SlowHandler", "a handler that takes longer than leases, and than the server waits for an acknowledgement where it does, has its effect once"},
	{"Burst", "50,000 messages in one go come in order"},
	{"Malformed", "a subscription that makes no sense is refused"},
	{"PublishRefused", "nothing can be published past the log"},
	{"FromFirstRefused", "what it cannot do is refused: beginning at the first record"},
	{"BroadcastRefused", "what it cannot do is refused: broadcast"},
}

func write(repository string) error {
	docs := filepath.Join(repository, "docs", "transports")
	files, err := filepath.Glob(filepath.Join(docs, "results", "*.json"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, errors.New("there are no results; make cards runs the suites"))
	}
	var all []drivertest.Results
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // a file of this repository
		if err != nil {
			return err
		}
		var r drivertest.Results
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, t := range r.Tests {
			if !slices.ContainsFunc(about, func(a struct{ test, shows string }) bool { return a.test == t.Name }) {
				return fmt.Errorf("%s: internal/cards does not say what test %s shows", file, t.Name)
			}
		}
		all = append(all, r)
		text, err := packageComment(filepath.Join(repository, "backbone", r.Transport))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(docs, r.Transport+".md"), []byte(card(&r, text)), 0o644); err != nil { //nolint:gosec // it is published
			return err
		}
	}
	return os.WriteFile(filepath.Join(repository, "docs", "choosing-a-transport.md"), []byte(comparison(all)), 0o644) //nolint:gosec // it is published
}

// packageComment returns the comment of a package as Markdown.
func packageComment(dir string) (string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join(dir, "doc.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return "", err
	}
	var p doc.Package
	text := file.Doc.Text()
	printer := p.Printer()
	printer.HeadingLevel = 3
	printer.HeadingID = func(*comment.Heading) string { return "" }
	return string(printer.Markdown(p.Parser().Parse(text))), nil
}

func resultOf(r *drivertest.Results, test string) string {
	for _, t := range r.Tests {
		if t.Name == test {
			return t.Result
		}
	}
	return "was not run"
}

func server(r *drivertest.Results) string {
	if r.Server == "" {
		return "none"
	}
	return r.Server
}

const generated = "<!-- Written by internal/cards from docs/transports/results; make cards makes both again. -->\n\n"

func card(r *drivertest.Results, text string) string {
	var b strings.Builder
	b.WriteString(generated)
	fmt.Fprintf(&b, "# %s\n\nServer: %s. [All transports side by side](../choosing-a-transport.md).\n\n%s\n", r.Transport, server(r), text)
	b.WriteString("## What the suite has shown\n\n| test | shows | result |\n| --- | --- | --- |\n")
	for _, a := range about {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.test, a.shows, resultOf(r, a.test))
	}
	return b.String()
}

func comparison(all []drivertest.Results) string {
	var b strings.Builder
	b.WriteString(generated)
	b.WriteString("# Choosing a transport\n\nThe promises are the same on every transport, and so are the tests: one suite runs on each. What differs stands here. " +
		"Without a reason for a broker take the log itself: it needs no server, and its checkpoints are exact.\n\n")
	row := func(first string, cell func(*drivertest.Results) string) {
		b.WriteString("| " + first + " |")
		for i := range all {
			b.WriteString(" " + cell(&all[i]) + " |")
		}
		b.WriteString("\n")
	}
	row("", func(r *drivertest.Results) string { return "[" + r.Transport + "](transports/" + r.Transport + ".md)" })
	b.WriteString("|" + strings.Repeat(" --- |", len(all)+1) + "\n")
	row("server", server)
	powers := reflect.TypeFor[drivertest.Results]()
	field, _ := powers.FieldByName("Powers")
	for i := range field.Type.NumField() {
		name := field.Type.Field(i).Name
		row(power[name], func(r *drivertest.Results) string {
			if reflect.ValueOf(r.Powers).Field(i).Bool() {
				return "yes"
			}
			return "no"
		})
	}
	for _, a := range about {
		row(a.shows, func(r *drivertest.Results) string { return resultOf(r, a.test) })
	}
	return b.String()
}

// power says what each of driver.Powers is.
var power = map[string]string{
	"LogPositions": "the checkpoint in the effect's transaction is the dedupe; elsewhere the inbox is",
	"Shared":       "processes share the work of a subscription",
	"Broadcast":    "broadcast",
	"FromFirst":    "subscriptions may begin at the first record",
	"KeyOrder":     "order of a subscription's own key also across streams",
	"KindOrder":    "events and commands of a stream in order among each other",
}
