package bench

import (
	"fmt"
	"io"
	"syscall"
	"time"
)

// progress says now and then how far something is that takes long.
type progress struct {
	log         io.Writer
	verb, what  string
	total       int
	began, said time.Time
}

const sayEvery = 2 * time.Second

func newProgress(log io.Writer, verb, what string, total int) *progress {
	now := time.Now()
	return &progress{log: log, verb: verb, what: what, total: total, began: now, said: now}
}

func (p *progress) at(done int) {
	now := time.Now()
	if p.log == nil || now.Sub(p.said) < sayEvery {
		return
	}
	p.said = now
	fmt.Fprintf(p.log, "%s %d of %d %s, %.0f/s\n", p.verb, done, p.total, p.what, float64(done)/now.Sub(p.began).Seconds())
}

// roomFor refuses to fill a disk: a history takes its own size, and twice that while it is worked on.
func roomFor(dir string, events int) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free, need := int64(fs.Bavail)*int64(fs.Bsize), 2*int64(events)*bytesFilled //nolint:unconvert // other systems have other types
	if free < need {
		return fmt.Errorf("%d events need %d MB on the disk of %s, and %d MB are free: choose fewer with --events, or another disk with TMPDIR",
			events, need>>20, dir, free>>20)
	}
	return nil
}

func rate(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
