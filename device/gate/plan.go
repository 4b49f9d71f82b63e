package gate

import (
	"errors"
	"math/rand/v2"
	"slices"
)

// Faults is what goes wrong, in percent of the messages. The zero value is a gate that works.
type Faults struct {
	Duplicates int `json:"duplicates"` // are sent twice
	Reorder    int `json:"reorder"`    // are sent after the next one
	Misreads   int `json:"misreads"`   // have something in them that is on no card and no product
	Loss       int `json:"loss"`       // are never sent
	Offline    int `json:"offline"`    // begin a spell without a connection
	OfflineMS  int `json:"offline_ms"` // how long that lasts, in milliseconds; default 500
}

func (f Faults) check() error {
	for _, percent := range []int{f.Duplicates, f.Reorder, f.Misreads, f.Loss, f.Offline} {
		if percent < 0 || percent > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	if f.OfflineMS < 0 || f.OfflineMS > 600_000 {
		return errors.New("a spell lasts 0 to 600000 ms")
	}
	return nil
}

// moment is somebody who passes the gate.
type moment struct {
	number   int // of the message, from 0
	leaves   bool
	customer string
	products []string
	fate     fate
}

// fate says which faults would strike a message, each if it is switched on: the number is below its percentage.
type fate struct{ duplicate, reorder, misread, lose, offline, which int }

// plan is the sequence of all who pass. It is the same for the same seed, customers and products.
type plan struct {
	chance    *rand.Rand
	customers []string
	products  []string
	inside    []string
	left      int // visitors who are still to come
	next      int
	endless   bool
}

func newPlan(seed uint64, customers, products []string, visitors int) *plan {
	return &plan{
		chance: rand.New(rand.NewPCG(seed, 0x50_4f_55_4b)), customers: customers, products: products,
		left: visitors, endless: visitors == 0,
	}
}

// step returns who passes next; false when everybody has left.
func (p *plan) step() (moment, bool) {
	free := slices.DeleteFunc(slices.Clone(p.customers), func(c string) bool { return slices.Contains(p.inside, c) })
	comes := (p.endless || p.left > 0) && len(free) > 0
	if !comes && len(p.inside) == 0 {
		return moment{}, false
	}
	m := moment{number: p.next}
	p.next++
	if comes && (len(p.inside) == 0 || p.chance.IntN(2) == 0) {
		m.customer = free[p.chance.IntN(len(free))]
		p.inside = append(p.inside, m.customer)
		p.left--
	} else {
		i := p.chance.IntN(len(p.inside))
		m.leaves, m.customer = true, p.inside[i]
		p.inside = slices.Delete(p.inside, i, i+1)
		for range 1 + p.chance.IntN(5) {
			m.products = append(m.products, p.products[p.chance.IntN(len(p.products))])
		}
	}
	percent := func() int { return p.chance.IntN(100) }
	m.fate = fate{percent(), percent(), percent(), percent(), percent(), p.chance.IntN(1 << 20)}
	return m, true
}
