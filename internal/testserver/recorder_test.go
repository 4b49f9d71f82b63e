package testserver_test

import (
	"fmt"
	"runtime"
	"testing"
)

// recorder is a test whose failure does not fail the real one. It ends its goroutine as a failing test does.
type recorder struct {
	testing.TB
	failure string
	skipped string
}

func (r *recorder) Fatal(args ...any) { r.stop(&r.failure, fmt.Sprint(args...)) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.stop(&r.failure, fmt.Sprintf(format, args...))
}

func (r *recorder) Skipf(format string, args ...any) {
	r.stop(&r.skipped, fmt.Sprintf(format, args...))
}

func (r *recorder) stop(text *string, message string) {
	*text = message
	runtime.Goexit()
}
