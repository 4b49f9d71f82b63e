package bench

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
)

// What souk is of another is told round by round, since the machine may be slower in one than in the next. Red when
// medians are divided by each other: that would be 1.5 here.
func TestRatioIsThatOfEachRound(t *testing.T) {
	f := &Figures{say: io.Discard}
	for _, round := range [][2]float64{{10, 20}, {300, 100}, {30, 60}} {
		f.add("s", "m", nameSouk, "msg/s", round[0], nil)
		f.add("s", "m", nameRaw, "msg/s", round[1], nil)
	}
	middle, least, greatest := ratio(f.of("s", "m", nameSouk), f.of("s", "m", nameRaw))
	if middle != 0.5 || least != 0.5 || greatest != 3 {
		t.Errorf("it is %v (%v to %v), want 0.5 (0.5 to 3)", middle, least, greatest)
	}
	if middle, _, _ := ratio(f.of("s", "m", nameSouk), f.of("s", "m", nameMill)); !math.IsNaN(middle) {
		t.Errorf("what was not measured has the ratio %v", middle)
	}
	var table bytes.Buffer
	if err := f.Table(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"30.00 (10.00..300.00)", "60.00 (20.00..100.00)", "0.50 (0.50..3.00)"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %s:\n%s", want, &table)
		}
	}
}
