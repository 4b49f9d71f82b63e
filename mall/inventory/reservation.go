package inventory

import (
	"cmp"
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about reservations; compare with errors.Is.
var (
	ErrInsufficient = backbone.Refuse("insufficient_stock", "less is available than is wanted")
	ErrOver         = backbone.Refuse("reservation_over", "the reservation was released or has expired")
	ErrNotReserved  = backbone.Refuse("not_reserved", "nothing is held for the order")
	ErrOtherLines   = backbone.Refuse("other_lines", "the order reserved other lines")
)

type phase string

// The phases of a reservation: requested -> held -> committed -> over, with the short cuts that asking, releasing and time
// allow. "" is an order that asked for nothing.
const (
	requested phase = "requested" // waits for goods
	held      phase = "held"
	committed phase = "committed"
	rejected  phase = "rejected"
	expired   phase = "expired"
	issued    phase = "issued" // its customer has the goods
	over      phase = "over"   // released, or forbidden before it was asked for
)

// reservation is the state of what one order asked for.
type reservation struct {
	Phase    phase
	Location string
	Lines    []mall.Line
	Expires  int64
	Short    event.StockRejected // why it was rejected
	Unfound  []shortage          // of the lines, as it was told
}

// shortage is how many pieces nobody found when they were picked.
type shortage struct {
	SKU      string
	Quantity int64
	Counts   int64 // how often the SKU had been counted before
}

var reservations = &backbone.Aggregate[reservation]{
	Name: "reservation",
	Public: []backbone.Event{
		event.StockReserved{}, event.StockRejected{}, event.StockCommitted{}, event.StockReleased{}, event.ReservationExpired{},
	},
	Private: []backbone.Event{StockRequested{}, ReservationClosed{}, ReservationIssued{}, ShortNoted{}},
	Evolve:  evolveReservation,
}

func evolveReservation(s reservation, e backbone.Event) reservation {
	switch e := e.(type) {
	case StockRequested:
		return reservation{Phase: requested, Location: e.Location, Lines: e.Lines, Expires: e.Expires}
	case event.StockReserved:
		return reservation{Phase: held, Location: e.Location, Lines: e.Lines, Expires: e.Expires}
	case event.StockRejected:
		// Beside a request that waits it only tells what is missing.
		if s.Phase == "" {
			return reservation{Phase: rejected, Short: e}
		}
	case event.StockCommitted:
		s.Phase, s.Location, s.Lines = committed, e.Location, e.Lines
	case event.ReservationExpired:
		s.Phase = expired
	case ReservationIssued:
		s.Phase = issued
	case ShortNoted:
		s.Unfound = append(slices.Clip(s.Unfound), shortage{SKU: e.SKU, Quantity: e.Quantity, Counts: e.Counts})
	case event.StockReleased, ReservationClosed:
		return reservation{Phase: over}
	}
	return s
}

// claim is a decision about one order and the SKUs that it concerns.
type claim struct {
	loaded   backbone.Loaded
	order    string
	location string
	lines    []mall.Line
	unfound  []shortage // of the lines: what does not come back with the rest
	appends  []backbone.Append
}

func claimOf(l backbone.Loaded, order, location string, lines []mall.Line) *claim {
	return &claim{loaded: l, order: order, location: orMain(location), lines: lines}
}

func orMain(location string) string { return cmp.Or(location, mall.MainLocation) }

func streamsOf(order, location string, lines []mall.Line) []backbone.Ref {
	refs := make([]backbone.Ref, 0, 1+len(lines))
	refs = append(refs, reservations.Ref(order))
	for _, l := range lines {
		refs = append(refs, stock.Ref(mall.StockID(l.SKU, orMain(location))))
	}
	return refs
}

func (c *claim) state() reservation { return reservations.State(c.loaded, c.order) }

func (c *claim) stock(line mall.Line) sku {
	return stock.State(c.loaded, mall.StockID(line.SKU, c.location))
}

// say appends to the reservation's own stream; it comes first, so that the first reference of an answer is to it.
func (c *claim) say(events ...backbone.Event) {
	c.appends = slices.Insert(c.appends, 0, reservations.Append(c.order, events...))
}

// shift moves a line's pieces between available, held and committed.
func (c *claim) shift(line mall.Line, held, committed int64, more ...backbone.Event) {
	shifted := StockShifted{Order: c.order, Held: held, Committed: committed}
	c.appends = append(c.appends, stock.Append(mall.StockID(line.SKU, c.location), append([]backbone.Event{shifted}, more...)...))
}

// short returns the first line of which less is available than is wanted.
func (c *claim) short() (event.StockRejected, bool) {
	for _, l := range c.lines {
		if n := c.stock(l).available(); n < l.Quantity {
			return event.StockRejected{Order: c.order, Location: c.location, SKU: l.SKU, Wanted: l.Quantity, Available: n}, true
		}
	}
	return event.StockRejected{}, false
}

func reserveStreams(c command.ReserveStock) []backbone.Ref {
	return streamsOf(c.Order, c.Location, c.Lines)
}

func reserve(l backbone.Loaded, cmd command.ReserveStock, m backbone.Meta) ([]backbone.Append, error) {
	c := claimOf(l, cmd.Order, cmd.Location, cmd.Lines)
	switch s := c.state(); s.Phase {
	case requested, held, committed, issued:
		return nil, nil // asked before, by an earlier attempt
	case rejected:
		return nil, ErrInsufficient.With(s.Short)
	case expired, over:
		return nil, ErrOver
	}
	if cmd.Expires <= m.Time.UnixMicro() {
		return nil, ErrOver
	}
	short, isShort := c.short()
	if !isShort {
		c.hold(cmd.Expires)
		return c.appends, nil
	}
	if !cmd.Wait || !c.await() {
		c.appends = nil
		c.say(short)
		return c.appends, ErrInsufficient.With(short)
	}
	c.say(StockRequested{Order: c.order, Location: c.location, Lines: c.lines, Expires: cmd.Expires}, short)
	return c.appends, nil
}

func (c *claim) hold(expires int64) {
	for _, l := range c.lines {
		c.shift(l, l.Quantity, 0)
	}
	c.say(event.StockReserved{Order: c.order, Location: c.location, Lines: c.lines, Expires: expires})
}

// await queues the order at every SKU that is short; false when too many wait there already.
func (c *claim) await() bool {
	for _, l := range c.lines {
		s := c.stock(l)
		if s.available() >= l.Quantity {
			continue
		}
		if len(s.Waiting) >= maxWaiting {
			return false
		}
		c.appends = append(c.appends, stock.Append(mall.StockID(l.SKU, c.location), StockAwaited{Order: c.order, Lines: c.lines}))
	}
	return true
}

func commitStreams(c command.CommitStock) []backbone.Ref {
	return streamsOf(c.Order, c.Location, c.Lines)
}

func commit(l backbone.Loaded, cmd command.CommitStock, _ backbone.Meta) ([]backbone.Append, error) {
	c := claimOf(l, cmd.Order, cmd.Location, cmd.Lines)
	s := c.state()
	switch s.Phase {
	case "", requested, rejected:
		return nil, ErrNotReserved
	case committed, issued: // the customer may be faster than this command
		return nil, nil
	case over:
		return nil, ErrOver
	}
	if !slices.Equal(s.Lines, c.lines) {
		return nil, ErrOtherLines
	}
	fromHeld := int64(-1)
	if s.Phase == expired {
		// Time ran out between the approval and this command. An approved order is carried through if it still can be.
		if _, isShort := c.short(); isShort {
			return nil, ErrOver
		}
		fromHeld = 0
	}
	for _, line := range c.lines {
		c.shift(line, fromHeld*line.Quantity, line.Quantity)
	}
	c.say(event.StockCommitted{Order: c.order, Location: c.location, Lines: c.lines})
	return c.appends, nil
}

func releaseStreams(c command.ReleaseStock) []backbone.Ref {
	return streamsOf(c.Order, c.Location, c.Lines)
}

func release(l backbone.Loaded, cmd command.ReleaseStock, _ backbone.Meta) ([]backbone.Append, error) {
	c := claimOf(l, cmd.Order, cmd.Location, cmd.Lines)
	c.unfound = c.state().Unfound
	return c.end(cmd.Reason, event.StockReleased{Order: c.order, Location: c.location, Lines: c.lines, Reason: cmd.Reason})
}

func expireStreams(c command.ExpireReservation) []backbone.Ref {
	return streamsOf(c.Order, c.Location, c.Lines)
}

func expire(l backbone.Loaded, cmd command.ExpireReservation, _ backbone.Meta) ([]backbone.Append, error) {
	c := claimOf(l, cmd.Order, cmd.Location, cmd.Lines)
	if phase := c.state().Phase; phase != held && phase != requested {
		return nil, nil // committed or ended just before the time was over
	}
	return c.end(mall.ReasonOrderExpired, event.ReservationExpired{Order: c.order, Location: c.location, Lines: c.lines})
}

// end gives back what the order has, once, and says so with gone; without anything to give back it only closes the
// reservation, so that a ReserveStock which is still on its way is refused.
func (c *claim) end(reason string, gone backbone.Event) ([]backbone.Append, error) {
	s := c.state()
	closed := ReservationClosed{Order: c.order, Reason: reason}
	switch s.Phase {
	case over, rejected, issued:
		return nil, nil
	case "", expired: // what it had came back before
		for _, l := range c.lines {
			if l.Quantity = c.unfoundOf(l); l.Quantity > 0 {
				c.writeOff(l)
			}
		}
		c.say(closed)
		return c.appends, nil
	}
	if !slices.Equal(s.Lines, c.lines) {
		return nil, ErrOtherLines
	}
	if s.Phase == requested {
		for _, l := range c.lines {
			if c.stock(l).waits(c.order) {
				c.appends = append(c.appends, stock.Append(mall.StockID(l.SKU, c.location), StockNotAwaited{Order: c.order}))
			}
		}
		c.say(closed)
		return c.appends, nil
	}
	for _, l := range c.lines {
		shifted := StockShifted{Order: c.order, Held: -l.Quantity}
		if s.Phase == committed {
			shifted = StockShifted{Order: c.order, Committed: -l.Quantity}
		}
		c.writeOff(mall.Line{SKU: l.SKU, Quantity: c.unfoundOf(l)}, shifted)
	}
	c.say(gone)
	return c.appends, nil
}

// unfoundOf returns how many pieces of a line nobody found.
func (c *claim) unfoundOf(line mall.Line) int64 {
	var n int64
	for _, u := range c.unfound {
		if u.SKU == line.SKU {
			n += u.Quantity
		}
	}
	return min(n, line.Quantity)
}

// onBooks returns how many of so many pieces that nobody found the books still have: those that were told of before somebody counted
// the SKU are as the count has them, gone or found.
func (c *claim) onBooks(missing mall.Line) int64 {
	counts := c.stock(missing).Counts
	for _, u := range c.unfound {
		if u.SKU == missing.SKU && u.Counts < counts {
			missing.Quantity -= u.Quantity
		}
	}
	return max(missing.Quantity, 0)
}

// writeOff takes pieces off the books that nobody found, as far as the books have them and they are promised to nobody; somebody has
// to count. What gives them back now, if anything does, goes before it.
func (c *claim) writeOff(unfound mall.Line, back ...backbone.Event) {
	s, events := c.stock(unfound), back
	for _, e := range back {
		s = evolveStock(s, e)
	}
	if unfound.Quantity > 0 {
		events = append(events, event.StockDiscrepancy{SKU: unfound.SKU, Location: c.location, Order: c.order, Quantity: unfound.Quantity})
	}
	if n := min(c.onBooks(unfound), s.available()); n > 0 {
		gone := event.StockAdjusted{SKU: unfound.SKU, Location: c.location, Delta: -n, Reason: mall.ReasonShort}
		s = evolveStock(s, gone)
		events = append(events, gone, s.levels(unfound.SKU, c.location))
		events = append(events, s.restock(unfound.SKU, c.location)...)
	}
	if len(back) > 0 {
		events = append(events, s.due(unfound.SKU, c.location)...)
	}
	c.appends = append(c.appends, stock.Append(mall.StockID(unfound.SKU, c.location), events...))
}

// NoteShort records that pieces of an order were not found when they were picked. The service sends it to itself.
type NoteShort struct {
	Order    string `json:"order"`
	Location string `json:"location"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// CommandType returns the wire name.
func (NoteShort) CommandType() string { return "souk.inventory.NoteShort.v1" }

// Stream returns the id of the order.
func (c NoteShort) Stream() string { return c.Order }

func noteShortStreams(c NoteShort) []backbone.Ref {
	return streamsOf(c.Order, c.Location, []mall.Line{{SKU: c.SKU, Quantity: c.Quantity}})
}

// noteShort remembers what does not come back if the order is undone. Where that is so already, it is taken off the books now.
// What was collected says itself what was not found.
func noteShort(l backbone.Loaded, cmd NoteShort, _ backbone.Meta) ([]backbone.Append, error) {
	line := mall.Line{SKU: cmd.SKU, Quantity: cmd.Quantity}
	c := claimOf(l, cmd.Order, cmd.Location, []mall.Line{line})
	switch c.state().Phase {
	case held, committed, expired:
	case over:
		c.writeOff(line)
	default:
		return nil, nil
	}
	c.say(ShortNoted{Order: cmd.Order, SKU: cmd.SKU, Quantity: cmd.Quantity, Counts: c.stock(line).Counts})
	return c.appends, nil
}

func issueReservedStreams(c command.IssueReservedStock) []backbone.Ref {
	refs := []backbone.Ref{reservations.Ref(c.Order), issues.Ref(collected(c.Order))}
	for _, l := range mall.AddLines(c.Lines, c.Also) {
		refs = append(refs, stock.Ref(mall.StockID(l.SKU, orMain(c.Location))))
	}
	return refs
}

// collected names the issue of an order's goods, beside those of visits.
func collected(order string) string { return mall.StockID(order, "collected") }

// issueReserved books what a customer collected, once. What was not found when it was picked is no longer promised to anybody
// and off the books, and somebody has to count; what came instead is taken as a visitor takes it.
func issueReserved(l backbone.Loaded, cmd command.IssueReservedStock, _ backbone.Meta) ([]backbone.Append, error) {
	c := claimOf(l, cmd.Order, cmd.Location, cmd.Lines)
	s := c.state()
	switch s.Phase {
	case issued:
		return nil, nil
	case held, committed:
	case over, expired:
		return nil, ErrOver
	default:
		return nil, ErrNotReserved
	}
	if !slices.Equal(s.Lines, c.lines) {
		return nil, ErrOtherLines
	}
	c.unfound = s.Unfound
	gone := event.StockIssued{Order: c.order, Location: c.location, Lines: []mall.Line{}}
	for _, line := range mall.AddLines(cmd.Lines, cmd.Also) {
		promised, missing, also := quantityOf(cmd.Lines, line.SKU), quantityOf(cmd.Missing, line.SKU), quantityOf(cmd.Also, line.SKU)
		n := c.takeOut(line.SKU, s.Phase, promised, missing, also)
		if n > 0 {
			gone.Lines = append(gone.Lines, mall.Line{SKU: line.SKU, Quantity: n})
		}
	}
	c.say(ReservationIssued{Order: c.order})
	c.appends = append(c.appends, issues.Append(collected(c.order), gone))
	return c.appends, nil
}

// takeOut takes a SKU's pieces out of what is promised and off the books, and returns how many left the house.
func (c *claim) takeOut(name string, from phase, promised, missing, also int64) int64 {
	id := mall.StockID(name, c.location)
	s := stock.State(c.loaded, id)
	var events []backbone.Event
	add := func(more ...backbone.Event) {
		for _, e := range more {
			s = evolveStock(s, e)
		}
		events = append(events, more...)
	}
	if promised > 0 {
		shifted := StockShifted{Order: c.order, Committed: -promised}
		if from == held {
			shifted = StockShifted{Order: c.order, Held: -promised}
		}
		add(shifted)
	}
	if missing > 0 {
		add(event.StockDiscrepancy{SKU: name, Location: c.location, Order: c.order, Quantity: missing})
	}
	if n := c.onBooks(mall.Line{SKU: name, Quantity: missing}); n > 0 {
		add(event.StockAdjusted{SKU: name, Location: c.location, Delta: -n, Reason: mall.ReasonShort})
	}
	taken := promised - missing
	if extra := min(also, max(s.available()-taken, 0)); extra < also {
		add(event.StockDiscrepancy{SKU: name, Location: c.location, Order: c.order, Quantity: also - extra})
		taken += extra
	} else {
		taken += also
	}
	if taken > 0 {
		add(StockTaken{SKU: name, Location: c.location, Order: c.order, Quantity: taken})
	}
	events = append(events, s.levels(name, c.location))
	events = append(events, s.restock(name, c.location)...)
	c.appends = append(c.appends, stock.Append(id, append(events, s.due(name, c.location)...)...))
	return taken
}

// ResumeBackorders tries orders again that wait for a SKU, first come first served. The service sends it to itself.
type ResumeBackorders struct {
	SKU      string      `json:"sku"`
	Location string      `json:"location"`
	Orders   []Backorder `json:"orders"`
}

// CommandType returns the wire name.
func (ResumeBackorders) CommandType() string { return "souk.inventory.ResumeBackorders.v1" }

// Stream returns the id of the SKU at its location, so that its deliveries are handed out one after another.
func (c ResumeBackorders) Stream() string { return mall.StockID(c.SKU, c.Location) }

func resumeStreams(c ResumeBackorders) []backbone.Ref {
	var refs []backbone.Ref
	seen := map[string]bool{}
	for _, b := range c.Orders {
		for _, ref := range streamsOf(b.Order, c.Location, b.Lines) {
			if name := ref.Stream(); !seen[name] {
				seen[name] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// resume holds the goods for as many of the waiting orders as there are goods for. What one takes is gone for the next.
func resume(l backbone.Loaded, cmd ResumeBackorders, _ backbone.Meta) ([]backbone.Append, error) {
	taken := map[string]int64{}
	var appends []backbone.Append
	for _, b := range cmd.Orders {
		c := claimOf(l, b.Order, cmd.Location, b.Lines)
		s := c.state()
		if s.Phase != requested {
			continue
		}
		complete := true
		for _, line := range c.lines {
			complete = complete && c.stock(line).available()-taken[line.SKU] >= line.Quantity
		}
		if complete {
			c.hold(s.Expires)
			for _, line := range c.lines {
				taken[line.SKU] += line.Quantity
			}
		} else {
			c.awaitAlso(taken)
		}
		appends = append(appends, c.appends...)
	}
	return appends, nil
}

// awaitAlso queues the order at SKUs that were there when it asked and are not any more.
func (c *claim) awaitAlso(taken map[string]int64) {
	for _, l := range c.lines {
		if s := c.stock(l); s.available()-taken[l.SKU] < l.Quantity && !s.waits(c.order) {
			c.appends = append(c.appends, stock.Append(mall.StockID(l.SKU, c.location), StockAwaited{Order: c.order, Lines: c.lines}))
		}
	}
}

// StockRequested says that the order waits for goods until Expires.
type StockRequested struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
	Expires  int64       `json:"expires"`
}

// ReservationClosed says that nothing is, and nothing will be, held for the order.
type ReservationClosed struct {
	Order  string `json:"order"`
	Reason string `json:"reason"`
}

// ReservationIssued says that the order's goods left with its customer.
type ReservationIssued struct {
	Order string `json:"order"`
}

// ShortNoted says that pieces of the order were not found when they were picked.
type ShortNoted struct {
	Order    string `json:"order"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	Counts   int64  `json:"counts,omitempty"` // how often the SKU had been counted before
}

// EventType returns the wire name.
func (ShortNoted) EventType() string { return "souk.inventory.ShortNoted.v1" }

// EventType returns the wire name.
func (ReservationIssued) EventType() string { return "souk.inventory.ReservationIssued.v1" }

// EventType returns the wire name.
func (StockRequested) EventType() string { return "souk.inventory.StockRequested.v1" }

// EventType returns the wire name.
func (ReservationClosed) EventType() string { return "souk.inventory.ReservationClosed.v1" }
