package robots

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRobots has 1,000 robots of another process say ten positions a second each, standing idle, and measures the mall's own
// process for as long as it is asked to (-benchtime 1x is 20 s): CPU as a share of one core, its memory, how many positions came in a
// second and how many of those that are due did not.
func BenchmarkRobots(b *testing.B) {
	const robots, rate, window = 1000, 10, 20 * time.Second
	f := open(b)
	f.robots("robot", robots, "--steady")
	f.until("all robots are there", 2*time.Minute, func() bool { return f.house.Robots().Counts().Robots == robots })
	for b.Loop() {
		before, cpu, began := f.house.Robots().Counts(), processor(b), time.Now()
		ctx, cancel := context.WithTimeout(b.Context(), window)
		<-ctx.Done()
		cancel()
		after, took := f.house.Robots().Counts(), time.Since(began)
		came := float64(after.Positions-before.Positions) / took.Seconds()
		early := float64(after.Dropped-before.Dropped) / took.Seconds()
		b.ReportMetric(came, "positions/s")
		b.ReportMetric(early, "early/s")
		b.ReportMetric(100*(1-(came+early)/(robots*rate)), "%missing")
		b.ReportMetric(100*(processor(b)-cpu).Seconds()/took.Seconds(), "%core")
		b.ReportMetric(resident(b), "MB")
		if after.Robots != robots {
			b.Errorf("%d robots are left", after.Robots)
		}
	}
}

// processor returns the time that this process has used the processor for.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns the megabytes that this process keeps in memory.
func resident(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1000
		}
	}
	b.Fatal("/proc/self/status does not say how much memory there is")
	return 0
}
