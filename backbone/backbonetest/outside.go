package backbonetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
)

// Outside returns what stands in for a *testing.T where there is none: in an Example
// or a program that tries something out. end does what was to be done at the end of
// the test. A failure panics.
func Outside() (t testing.TB, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	o := &outside{ctx: ctx}
	return o, func() {
		cancel()
		for _, f := range slices.Backward(o.cleanups) {
			f()
		}
	}
}

type outside struct {
	testing.TB // has none: what is not written here is not to be used outside a test
	ctx        context.Context
	cleanups   []func()
}

func (*outside) Helper()                           {}
func (*outside) Logf(string, ...any)               {}
func (*outside) Output() io.Writer                 { return io.Discard }
func (o *outside) Context() context.Context        { return o.ctx }
func (o *outside) Cleanup(f func())                { o.cleanups = append(o.cleanups, f) }
func (*outside) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*outside) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (o *outside) TempDir() string {
	dir, err := os.MkdirTemp("", "backbonetest")
	if err != nil {
		panic(err)
	}
	o.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
