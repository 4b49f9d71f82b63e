package sqlitestore

import "testing"

// A log that stays long is copied once for each time that it has grown by passivePages, not with every commit; one that
// begins anew is due where a new one is. Red when a copy that leaves the log's length asks for the next at once.
func TestWhenTheLogIsCopied(t *testing.T) {
	t.Parallel()
	l := walLength{due: passivePages}
	for _, step := range []struct {
		pages int
		due   bool
	}{
		{passivePages - 1, false},
		{passivePages, true},
		{passivePages + 10, false},
		{2*passivePages - 1, false},
		{2 * passivePages, true},
		{30, false},
		{passivePages - 1, false},
		{passivePages + 5, true},
		{passivePages + 6, false},
	} {
		due := l.grown(step.pages)
		if due != step.due {
			t.Errorf("at %d pages due is %t", step.pages, due)
		}
		if due && !l.begin() {
			t.Errorf("at %d pages it is not begun", step.pages)
		}
		if l.begin() {
			t.Errorf("at %d pages it is begun twice", step.pages)
		}
	}
}
