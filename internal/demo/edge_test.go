package demo

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// What is switched off stays off for its while and then goes on where it stood, however often; a second one beside it does no harm to that.
// Red when it begins anew, and when it is switched on again too soon.
func TestAnApplianceGoesOnWhereItStood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		passed := &progress{}
		var off time.Time // until when
		var seen []int
		a := &appliance{name: "gate-1", run: func(ctx context.Context) error {
			for n := passed.next(); pause(ctx, time.Second); n++ {
				if time.Now().Before(off) {
					t.Errorf("somebody passes a gate that is switched off")
				}
				seen = append(seen, n)
				fmt.Fprintf(passed, "{\"n\":%d}\n", n)
			}
			return ctx.Err()
		}}
		ended := make(chan struct{})
		go func() { a.keep(ctx); close(ended) }()
		for range 3 {
			pause(ctx, 3500*time.Millisecond)
			off = time.Now().Add(10 * time.Second)
			a.cut(ctx, 10*time.Second)
		}
		end()
		<-ended
		if len(seen) < 8 {
			t.Errorf("only %d have passed", len(seen))
		}
		for i, n := range seen {
			if n != i {
				t.Fatalf("the sequence is %v", seen)
			}
		}
		if passed.next() != len(seen) {
			t.Errorf("%d have passed, and it would go on at %d", len(seen), passed.next())
		}
	})
}
