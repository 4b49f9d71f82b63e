package house

import (
	"slices"
	"testing"
)

// Every part is named once, whether it is a service, a gateway or both: whoever begins a process for each begins none twice.
func TestPartNames(t *testing.T) {
	t.Parallel()
	names := slices.Sorted(slices.Values(PartNames()))
	if !slices.Equal(names, slices.Compact(slices.Clone(names))) {
		t.Errorf("a part is named twice: %v", names)
	}
	for _, part := range []string{"orders", "online", "kiosk", "console", "devices"} {
		if !slices.Contains(names, part) {
			t.Errorf("%s is not named", part)
		}
	}
}
