//go:build crashpoints

package driver

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// The environment names the point and how often it is passed before the process
// dies there: SOUK_CRASH=commit.before:3, and SOUK_CRASH_MARK a file that is
// created just before, as the proof that the point was reached. With SOUK_CRASH_ARM
// only what is passed while there is a file of that name counts.
var crashAt, crashMark, crashArm = os.Getenv("SOUK_CRASH"), os.Getenv("SOUK_CRASH_MARK"), os.Getenv("SOUK_CRASH_ARM")

var (
	crashPassed atomic.Int64
	crashArmed  atomic.Bool
)

func armed() bool {
	if crashArm == "" || crashArmed.Load() {
		return true
	}
	_, err := os.Stat(crashArm)
	crashArmed.Store(err == nil)
	return err == nil
}

// CrashPoint kills the process with SIGKILL when the environment names this point
// and it was passed often enough.
func CrashPoint(name string) {
	point, count, _ := strings.Cut(crashAt, ":")
	if point != name || !armed() {
		return
	}
	after, err := strconv.ParseInt(count, 10, 64)
	if err != nil || after < 1 {
		after = 1
	}
	if crashPassed.Add(1) != after {
		return
	}
	if crashMark != "" {
		if f, err := os.Create(crashMark); err == nil {
			_ = f.Close()
		}
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; nothing else may happen
}
