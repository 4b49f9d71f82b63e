package mall

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxID is the greatest length of an id, in bytes.
const MaxID = 64

// MainLocation is the location of stock where an order or a delivery names none.
const MainLocation = "main"

// ErrID says that a text is no id. Its wrapping errors say why.
var ErrID = errors.New("not an id")

// ValidID answers nil when id is 1 to 64 characters of A-Z a-z 0-9 _ -, else an error that wraps ErrID. Ids are judged
// where they enter, since from there they go into streams, subjects, topics and logs as they are. They are opaque and never say who a
// person is.
func ValidID(id string) error {
	if id == "" {
		return fmt.Errorf("%w: must not be empty", ErrID)
	}
	if len(id) > MaxID {
		return fmt.Errorf("%w: must have at most %d characters", ErrID, MaxID)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: may only have letters, digits, _ and -", ErrID)
		}
	}
	return nil
}

var instants = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// InstantLength is the length of what Instant returns.
const InstantLength = 10

// Instant writes the milliseconds of an instant, from 1970 on, so that texts sort as the instants do. An id that is made of a hash begins
// with one that belongs to what the hash is made of: indexes over such ids grow at their ends, where ids that fall anywhere
// make each commit touch a page an id.
func Instant(at time.Time) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(max(at.UnixMilli(), 0)))
	return instants.EncodeToString(b[2:])
}

// StockID names the stream of one SKU at one location. The result is always a valid id, and two pairs never share one:
// it reads "sku--location" where that splits in one way only and is short enough, and is a hash of both otherwise.
func StockID(sku, location string) string {
	// Without "--" inside the SKU or "-" at its end, the first "--" is the border; nor can such an id begin with "--", as hashes do.
	plain := sku + "--" + location
	if ValidID(sku) == nil && ValidID(location) == nil && len(plain) <= MaxID &&
		!strings.Contains(sku, "--") && !strings.HasSuffix(sku, "-") {
		return plain
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(sku), sku, location))
	return "--" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// VisitorID names whoever comes into and leaves a store: a customer, or a card that no customer is known by, which counts
// only where customer is empty. The result is a valid id, and two visitors never share one.
func VisitorID(store, customer, card string) string {
	if customer != "" {
		card = ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(store), store, len(customer), customer, card))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
