package shopper

import (
	"errors"
	"math/rand/v2"
)

// Faults is what goes wrong, in percent. The zero value is people who buy, pay and go.
type Faults struct {
	Abandon    int `json:"abandon"`    // of the people leave their basket behind
	Cancel     int `json:"cancel"`     // of the people call their order off
	NoShow     int `json:"no_show"`    // of the people never come to the depot
	Duplicates int `json:"duplicates"` // of the requests are sent twice
	Loss       int `json:"loss"`       // of the answers are not heard, so that the request is sent again
}

func (f Faults) check() error {
	for _, percent := range []int{f.Abandon, f.Cancel, f.NoShow, f.Duplicates, f.Loss} {
		if percent < 0 || percent > 100 {
			return errors.New("a percentage lies between 0 and 100")
		}
	}
	return nil
}

// wish is a number of pieces of a product.
type wish struct {
	product  int // which of those that are sold; counted round and round
	quantity int64
	back     int64 // pieces that are put back again
}

// person is somebody who comes to the kiosk. What they want depends on nothing but the seed and how many came before.
type person struct {
	number int // from 0
	card   int // which of the cards they have; counted round and round
	guest  bool
	search bool // looks for something rather than through everything
	wishes []wish
	extend bool
	early  bool   // comes to the depot before everything is there
	short  string // what they choose when something is missing
	fate   fate
	chance *rand.Rand // of their requests
}

// fate says which faults would strike a person, each if it is switched on: the number is below its percentage.
type fate struct{ abandon, cancel, noShow int }

// plan is the sequence of all who come.
type plan struct {
	seed uint64
	next int
}

// step returns who comes next. Each has a source of chance of their own, so that nobody's wishes depend on what others met.
func (p *plan) step() person {
	n := p.next
	p.next++
	c := rand.New(rand.NewPCG(p.seed, 0x5_0_0_0_0+uint64(n)))
	who := person{number: n, card: c.IntN(1 << 20), guest: c.IntN(3) > 0, search: c.IntN(4) == 0, extend: c.IntN(8) == 0, early: c.IntN(4) == 0, short: "rest"}
	if c.IntN(4) == 0 {
		who.short = "cancel"
	}
	for range 1 + c.IntN(4) {
		w := wish{product: c.IntN(1 << 20), quantity: 1 + c.Int64N(3)}
		if c.IntN(6) == 0 && len(who.wishes) > 0 { // not all of the first: something is bought
			w.back = 1 + c.Int64N(w.quantity)
		}
		who.wishes = append(who.wishes, w)
	}
	who.fate = fate{c.IntN(100), c.IntN(100), c.IntN(100)}
	who.chance = rand.New(rand.NewPCG(p.seed, 0x7_0_0_0_0_0_0+uint64(n)))
	return who
}
