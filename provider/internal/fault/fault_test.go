package fault_test

import (
	"fmt"
	"testing"

	"example.org/souk/provider/internal/fault"
)

func TestHitsMeetThePercentage(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 5, 50, 95, 100} {
		byKey, byTry := 0, 0
		const n = 4000
		for i := range n {
			if fault.Hits(percent, 1, "drop", fmt.Sprint("k", i), 1) {
				byKey++
			}
			if fault.Hits(percent, 1, "drop", "k", i) {
				byTry++
			}
		}
		for _, got := range []int{byKey, byTry} {
			if off := got*100 - percent*n; off > 300*100 || off < -300*100 || percent%100 == 0 && off != 0 {
				t.Errorf("%d percent: %d and %d of %d", percent, byKey, byTry, n)
			}
		}
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	var gate fault.Gate
	<-gate.Opened()
	gate.Set(true)
	gate.Set(true)
	waiting := gate.Opened()
	select {
	case <-waiting:
		t.Fatal("a shut gate let somebody through")
	default:
	}
	gate.Set(false)
	<-waiting
	<-gate.Opened()
}
