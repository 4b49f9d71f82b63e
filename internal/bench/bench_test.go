package bench_test

import (
	"context"
	"os"
	"testing"

	"example.org/souk/internal/bench"
	"example.org/souk/internal/cli"
)

// asProgram has this binary be souk instead of its tests: benchmarks start it.
const asProgram = "SOUK_BENCH_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Run(context.Background(), cli.Env{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// souk returns the command line that runs souk.
func souk(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self}
}

func none(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Error(v)
	}
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	for _, view := range []string{"outcomes", "sales", "products"} {
		res, err := bench.Rebuild{Program: souk(t), Events: 3000, View: view, Log: t.Output()}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		none(t, res.Violations)
		if res.EventsPerSecond <= 0 || res.PeakRSSBytes < 10<<20 || res.CPUSeconds <= 0 {
			t.Errorf("figures of %s are missing: %+v", view, res)
		}
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	res, err := bench.Backlog{Small: 500, Large: 2000, Rounds: 2, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.SmallPerSecond <= 0 || res.LargePerSecond <= 0 || res.Ratio <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}
