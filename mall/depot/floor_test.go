package depot

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A queue is what a plain list would be, and every queue that there was stays what it was. Red where jobs join or leave in memory that
// two queues share.
func TestQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			queue queue
			want  []Job
		}
		all := []kept{{}}
		for n := range rapid.IntRange(1, 300).Draw(t, "steps") {
			from := all[len(all)-1]
			if rapid.IntRange(0, 20).Draw(t, "an older one") == 0 {
				from = rapid.SampledFrom(all).Draw(t, "which")
			}
			j := Job{List: fmt.Sprint(n)}
			next := kept{from.queue.with(j), append(slices.Clone(from.want), j)}
			if len(from.want) > 0 && rapid.IntRange(0, 2).Draw(t, "leave") == 0 {
				i := rapid.IntRange(0, len(from.want)-1).Draw(t, "who")
				j := from.want[i]
				next = kept{from.queue.without(j.List, j.Lost), slices.Delete(slices.Clone(from.want), i, i+1)}
				if next.queue.has(j.List, j.Lost) {
					t.Fatalf("%+v has left and is there", j)
				}
			}
			all = append(all, next)
		}
		for _, k := range all {
			if !slices.Equal(k.queue.all(), k.want) || k.queue.len() != len(k.want) || k.queue.IsZero() != (len(k.want) == 0) {
				t.Fatalf("got %+v, want %+v", k.queue.all(), k.want)
			}
			if first, waits := k.queue.first(); waits != (len(k.want) > 0) || waits && first != k.want[0] {
				t.Fatalf("the first is %+v of %+v", first, k.want)
			}
		}
		last := all[len(all)-1]
		data, err := json.Marshal(last.queue)
		if err != nil {
			t.Fatal(err)
		}
		var back queue
		if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back.all(), last.want) {
			t.Fatalf("%s became %+v, %v", data, back.all(), err)
		}
	})
}
