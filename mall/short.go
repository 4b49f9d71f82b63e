package mall

// WhenShort says what is to become of an order when goods that were promised to it are not found. The empty value is ShortAsk.
type WhenShort string

// What a customer can want then.
const (
	ShortAsk        WhenShort = "ask"        // to be asked
	ShortRest       WhenShort = "rest"       // what there is, and to pay for no more
	ShortSubstitute WhenShort = "substitute" // something like it, that a clerk chooses; it never makes the order dearer
	ShortCancel     WhenShort = "cancel"     // nothing at all
)

// Valid reports whether it is one of the four, or empty.
func (w WhenShort) Valid() bool {
	switch w {
	case "", ShortAsk, ShortRest, ShortSubstitute, ShortCancel:
		return true
	}
	return false
}
