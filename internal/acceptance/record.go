package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// record is the day on which each test passed last, by its package and name. No run has all tests, since the longest take
// hours: what one leaves out stays as it was shown before, as long as the test is there.
type record map[[2]string]string

// readRecord reads a record as write has written it; where there is none it is empty.
func readRecord(file string) (record, error) {
	kept := record{}
	text, err := os.ReadFile(file) //nolint:gosec // of the repository that whoever runs it names
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		if len(columns) != 3 {
			return nil, fmt.Errorf("%s: %q is not a day, a package and a test", file, line)
		}
		if _, err := time.Parse(time.DateOnly, columns[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		kept[[2]string{columns[1], columns[2]}] = columns[0]
	}
	return kept, nil
}

// add notes what was shown on a day, and returns it with what was shown before by tests that are there, each with its day. What was left to
// a longer run, and was shown by one, is not left.
func (kept record) add(results []result, day string, there map[string]bool) []result {
	var all []result
	for _, r := range results {
		at := [2]string{r.pkg, r.test}
		switch {
		case len(ids(r.test)) == 0:
		case !r.left:
			kept[at] = day
		case kept[at] == "":
			all = append(all, r)
		}
	}
	maps.DeleteFunc(kept, func(at [2]string, _ string) bool {
		function, _, _ := strings.Cut(at[1], "/")
		return !there[at[0]+" "+function]
	})
	for at, day := range kept {
		all = append(all, result{pkg: at[0], test: at[1], day: day})
	}
	slices.SortFunc(all, func(a, b result) int { return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test) })
	return all
}

// write writes the record: a line a test, in their order.
func (kept record) write(file string) error {
	var b strings.Builder
	for _, at := range slices.SortedFunc(maps.Keys(kept), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", kept[at], at[0], at[1])
	}
	return os.WriteFile(file, []byte(b.String()), 0o644) //nolint:gosec // it is published
}
