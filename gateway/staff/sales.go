package staff

import (
	"context"
	"net/http"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/mall"
)

// Trade shows what was sold.
type Trade interface {
	// Traded returns what was sold in [from, until), as far as it is known.
	Traded(ctx context.Context, from, until time.Time) (Traded, error)
}

// Traded is what was sold in some time, told apart in three ways, and how far people came.
type Traded struct {
	Hours    []Sale
	Shops    []Sale
	Products []Sale
	Steps    []Step
	Half     time.Duration // in which half of the orders that became ready were, and
	Most     time.Duration // 95 in 100; both 0 where none was
}

// Sale is what was sold in one hour, by one shop or of one product, in one currency. Visitors are in all of it.
type Sale struct {
	Hour    time.Time // where it begins; zero: not by the hour
	Shop    string
	SKU     string
	Orders  int64
	WalkIns int64
	Units   int64
	Sold    mall.Money
	Back    mall.Money // was given back of it
	Net     mall.Money
}

// Step is how many came as far as a step of a path.
type Step struct {
	Path, Step               string
	Reached, Waiting, Fallen int64
}

// salesFor is of how much time the page shows what was sold.
const salesFor = 24 * time.Hour

// sales answers with the page of what was sold lately, which has to be asked for again to be new.
func (g *Gateway) sales(w http.ResponseWriter, r *door.Request) error {
	now := g.Clock.Now().UTC()
	traded, err := g.Trade.Traded(r.Context(), now.Add(-salesFor), now)
	if err != nil {
		return unavailable(err)
	}
	return answerPage(w, "sales.html", struct {
		Traded
		viewer
		Time time.Time
	}{traded, viewerOf(r), now})
}

// took says for people how long something took.
func took(d time.Duration) string { return d.Round(time.Second).String() }
