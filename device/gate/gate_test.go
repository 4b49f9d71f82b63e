package gate

import (
	"reflect"
	"slices"
	"testing"
)

func walk(seed uint64, visitors int) (list []moment) {
	p := newPlan(seed, []string{"a", "b", "c"}, []string{"x", "y"}, visitors)
	for {
		m, more := p.step()
		if !more {
			return list
		}
		list = append(list, m)
	}
}

// One seed gives one sequence; another gives another. Everybody who comes leaves, and nobody is inside twice.
func TestA9_OneSeedOneSequence(t *testing.T) {
	t.Parallel()
	first := walk(7, 50)
	if !reflect.DeepEqual(first, walk(7, 50)) {
		t.Error("the same seed gives another sequence")
	}
	if reflect.DeepEqual(first, walk(8, 50)) {
		t.Error("another seed gives the same sequence")
	}
	if len(first) != 100 {
		t.Errorf("%d pass, want 50 who come and leave", len(first))
	}
	var inside []string
	for _, m := range first {
		i := slices.Index(inside, m.customer)
		switch {
		case m.leaves && i < 0, !m.leaves && i >= 0:
			t.Fatalf("message %d: %s", m.number, m.customer)
		case m.leaves:
			inside = slices.Delete(inside, i, i+1)
		default:
			inside = append(inside, m.customer)
		}
	}
	if len(inside) != 0 {
		t.Errorf("%v are still inside", inside)
	}
}

// Faults change what is sent, and not who passes.
func TestA9_FaultsStrike(t *testing.T) {
	t.Parallel()
	g := &gate{Config: Config{Store: "s", Kind: "gate", Device: "g"}}
	struck := map[string]int{}
	for _, m := range walk(3, 200) {
		l := g.letter(m, Faults{Duplicates: 20, Misreads: 20, Loss: 10})
		switch l.times {
		case 0:
			struck["lost"]++
		case 2:
			struck["twice"]++
		}
		if l.passed.Customer != m.customer || !slices.Equal(l.passed.Products, m.products) {
			struck["misread"]++
		}
		if clean := g.letter(m, Faults{}); clean.times != 1 || clean.passed.Customer != m.customer || clean.passed.Fault != "" {
			t.Fatalf("without faults: %+v", clean)
		}
	}
	for fault, most := range map[string]int{"lost": 40, "twice": 72, "misread": 80} {
		if n := struck[fault]; n < most/2 || n > most*3/2 {
			t.Errorf("%d are %s, want about %d", n, fault, most)
		}
	}
	if (Faults{Loss: 101}).check() == nil || (Faults{OfflineMS: -1}).check() == nil {
		t.Error("nonsense is taken for faults")
	}
}
