package backbone_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.org/souk/backbone"
)

// A replay shows every event of a stream, of that stream alone, with the state after it, and agrees with what is loaded
// at each version, over more events than one read returns.
func TestReplay(t *testing.T) {
	t.Parallel()
	service := tills(nil)
	w := fresh(t, service)
	const events = 1100
	var all sync.WaitGroup
	for range 55 {
		all.Go(func() {
			for range events / 55 {
				for till, amount := range map[string]int64{"a": 3, "b": 1} {
					if _, err := w.Do(t.Context(), take{till, amount}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	version, sum := int64(0), int64(0)
	found, err := service.Replay(t.Context(), w.Reader("tills"), "till/b", func(m *backbone.Message, state any) error {
		version, sum = version+1, sum+1
		if m.Version != version || state != sum || m.Stream != "till/b" {
			return fmt.Errorf("event %d is version %d of %s with %v", version, m.Version, m.Stream, state)
		}
		if version%500 == 1 {
			at, _, err := backbone.LoadAt(t.Context(), w.Reader("tills"), till, "b", version)
			if err != nil || at != state {
				return fmt.Errorf("loaded at %d is %d, replayed %v (%w)", version, at, state, err)
			}
		}
		return nil
	})
	if !found || err != nil || version != events {
		t.Errorf("%v %v after %d events", found, err, version)
	}
	enough := errors.New("enough")
	calls := 0
	found, err = service.Replay(t.Context(), w.Reader("tills"), "till/b", func(*backbone.Message, any) error { calls++; return enough })
	if !found || !errors.Is(err, enough) || calls != 1 {
		t.Errorf("stopped: %v %v after %d calls", found, err, calls)
	}
	for _, nothing := range []string{"till/nobody", "purse/b", "till", ""} {
		if found, err := service.Replay(t.Context(), w.Reader("tills"), nothing, nil); found || err != nil {
			t.Errorf("%q: %v %v", nothing, found, err)
		}
	}
}
