package backbone_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"example.org/souk/backbone"
)

// hold is a command whose decision waits until the test lets it go on.
type hold struct {
	Till string `json:"till"`
}

func (hold) CommandType() string { return "test.tills.Hold.v1" }
func (c hold) Stream() string    { return c.Till }

// What comes while a batch decides is decided and committed with it, up to MaxBatch, on what those before it in the batch have left; one that
// fails hurts none of the others. Red when it waits for the next batch, and when what it loads puts an older state in the place of a newer one.
func TestWhatComesMeanwhileJoinsTheBatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ maxBatch, units int }{"with room": {512, 4}, "as far as there is room": {3, 3}, "none": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside, goOn := make(chan struct{}), make(chan struct{})
			svc := tills(nil)
			svc.Handles = append(svc.Handles, backbone.Decide(till, func(_ int64, c hold, _ backbone.Meta) ([]backbone.Event, error) {
				close(inside)
				<-goOn
				return []backbone.Event{taken{c.Till, 100}}, nil
			}))
			var mu sync.Mutex
			var batches []backbone.BatchStats
			const waiting = 3
			w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(config *backbone.Config) {
				config.MaxBatch, config.MaxWaiting = c.maxBatch, waiting
				config.Hooks.Batch = func(s backbone.BatchStats) {
					mu.Lock()
					defer mu.Unlock()
					batches = append(batches, s)
				}
			}, svc)
			w.take("shared", 1)
			var clients sync.WaitGroup
			clients.Go(func() {
				if _, err := w.Do(t.Context(), hold{"shared"}); err != nil {
					t.Error(err)
				}
			})
			<-inside
			mu.Lock()
			batches = nil
			mu.Unlock()
			refused := make(chan struct{})
			for i := range waiting + 1 {
				clients.Go(func() {
					amount := int64(10)
					if i%2 == 1 {
						amount = 13
					}
					_, err := w.Do(t.Context(), take{"shared", amount})
					if errors.Is(err, backbone.ErrOverloaded) { // the others wait
						close(refused)
						<-goOn
						for errors.Is(err, backbone.ErrOverloaded) {
							_, err = w.Do(t.Context(), take{"shared", amount})
						}
					}
					if _, panicked := errors.AsType[*backbone.PanicError](err); panicked != (amount == 13) || err != nil && !panicked {
						t.Errorf("%d: %v", amount, err)
					}
				})
			}
			<-refused
			close(goOn)
			clients.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(batches) == 0 || batches[0].Units != c.units {
				t.Errorf("%+v", batches)
			}
			if sum, version, err := backbone.Load(t.Context(), w.Reader("tills"), till, "shared"); sum != 121 || version != 4 || err != nil {
				t.Error(sum, version, err)
			}
		})
	}
}
