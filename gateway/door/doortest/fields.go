// Package doortest helps to test what gateways tell.
package doortest

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/fields.txt as the answers stand")

// Fields is what answers say, by the way in: the names of their fields, each with the names above it. It is used by one goroutine.
type Fields map[string]map[string]bool

// Hear takes an answer in, which is JSON.
func (s Fields) Hear(t testing.TB, way string, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s: %q: %v", way, body, err)
	}
	if s[way] == nil {
		s[way] = map[string]bool{}
	}
	s.walk(way, "", v)
}

func (s Fields) walk(way, above string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			s[way][above+name] = true
			s.walk(way, above+name+".", inner)
		}
	case []any:
		for _, inner := range v {
			s.walk(way, above, inner)
		}
	}
}

// Compare fails the test where the answers have a field that testdata/fields.txt has not, or have not one that it has. With the
// flag -rewrite it writes the file first.
func (s Fields) Compare(t testing.TB) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile("testdata/fields.txt", []byte(s.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.SplitAfter(string(want), "\n")
	for line := range strings.Lines(s.String()) {
		if !slices.Contains(listed, line) {
			t.Errorf("answers have, and testdata/fields.txt has not: %s", line)
		}
		listed = slices.DeleteFunc(listed, func(l string) bool { return l == line })
	}
	if rest := strings.Join(listed, ""); rest != "" {
		t.Errorf("testdata/fields.txt has, and answers have not: %s", rest)
	}
}

// String returns the lines of the file: a way in, and its fields in order.
func (s Fields) String() string {
	var b strings.Builder
	for _, way := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s: %s\n", way, strings.Join(slices.Sorted(maps.Keys(s[way])), ", "))
	}
	return b.String()
}
