package testserver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The walks begin from this list: a point that is not in it is never walked to.
func TestCrashPointsAreFound(t *testing.T) {
	t.Parallel()
	points := CrashPoints(t)
	for _, want := range []CrashPoint{{"commit.before", "backbone"}, {"broker.settle", "backbone/internal/broker"}, {"device.taken", "gateway/devices"}} {
		if !slices.Contains(points, want) {
			t.Errorf("%+v is not among %+v", want, points)
		}
	}
	file := filepath.Join(t.TempDir(), "a.go")
	for text, right := range map[string]bool{
		`driver.CrashPoint("a.b")`: true, `driver.CrashPoint(name)`: false, `driver.CrashPoint("a" + "b")`: false, `driver.CrashPoint("")`: false,
	} {
		if err := os.WriteFile(file, []byte("package a\nfunc f(name string) { "+text+" }\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		names, err := pointsIn(file)
		if right != (err == nil) || right && !slices.Equal(names, []string{"a.b"}) {
			t.Errorf("%s: %q, %v", text, names, err)
		}
	}
}
