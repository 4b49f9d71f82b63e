package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has used of the machine.
type Usage struct {
	CPUSeconds   float64 `json:"cpuSeconds"`   // user and system
	PeakRSSBytes int64   `json:"peakRssBytes"` // since the process began
}

// runPart runs a part of a benchmark as a process of its own, on so many cores, so that what it uses is nobody else's:
// souk bench part with further arguments. The part writes its result to its standard output as JSON.
func runPart(ctx context.Context, program []string, dir string, cores int, log io.Writer, result any, args ...string) error {
	argv := slices.Concat(program, []string{"--data", dir, "bench", "part"}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the program that is measured
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), errors.Join(err, ctx.Err()))
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("%s: what it says: %w", strings.Join(args, " "), err)
	}
	return nil
}

// cpuOfThis returns the processor time that this process has used.
func cpuOfThis() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usedSince is what this process has used since its processor time was so much. The peak comes from /proc: that of
// getrusage begins with the memory of the process that started this one.
func usedSince(cpu time.Duration) Usage {
	return Usage{CPUSeconds: (cpuOfThis() - cpu).Seconds(), PeakRSSBytes: statusOf(os.Getpid(), "VmHWM:")}
}
