package kiosk

import (
	"strings"

	"example.org/souk/mall"
)

// wishes are what somebody wants to happen when goods are missing.
type wishes struct {
	Short mall.WhenShort // never empty
	Wait  bool           // for a delivery
}

// Usual reports whether nothing was chosen.
func (w wishes) Usual() bool { return w == wishes{Short: mall.ShortAsk} }

// wished returns what was chosen for a basket, as the browser remembers it: the basket holds goods alone.
func (p *pages) wished(v *visit, basket string) wishes {
	usual := wishes{Short: mall.ShortAsk}
	parts := strings.Split(p.remembered(v, "wishes"), ".")
	if len(parts) != 3 || parts[0] != basket || parts[1] == "" || !mall.WhenShort(parts[1]).Valid() {
		return usual
	}
	return wishes{mall.WhenShort(parts[1]), parts[2] == "wait"}
}

// wish has the browser remember what a form says of its basket's wishes: each form of a page with a basket does.
func (p *pages) wish(v *visit) {
	chosen, basket := mall.WhenShort(v.form.Get("whenShort")), v.form.Get("basket")
	if v.who == nil || chosen == "" || !chosen.Valid() || mall.ValidID(basket) != nil {
		return
	}
	wait := ""
	if v.form.Get("wait") != "" {
		wait = "wait"
	}
	p.remember(v.w, "wishes", basket+"."+string(chosen)+"."+wait)
}

// choose does nothing but remember what was chosen.
func (p *pages) choose(v *visit) error { return v.to(back(v.form.Get("back")), "") }
