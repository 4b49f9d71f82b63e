package payment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrCallback is what a callback gets that did not come from the provider, or too late.
var ErrCallback = errors.New("payment: callback refused")

// callbackAge is how far a callback's time stamp may lie from now, in either direction.
const callbackAge = 5 * time.Minute

// Callback is the provider's own report of an outcome. It may come before the call's answer, several times, or never:
// take it as one more answer to the call with that key.
type Callback struct {
	ID      string `json:"-"`       // the same for every copy of one callback
	Key     string `json:"key"`     // the idempotency key of the call that it reports
	Payment string `json:"payment"` // the shop's id of the payment
	Result
}

// OpenCallback checks the signature and the age of a callback and reads it. Callbacks are signed as the Standard
// Webhooks convention has it: headers webhook-id, webhook-timestamp and webhook-signature, HMAC-SHA256 with secret. Of several
// signatures, which a provider sends while it changes its secret, one must be right.
// The caller bounds the body's size and drops copies by ID.
func OpenCallback(secret []byte, header http.Header, body []byte, now time.Time) (Callback, error) {
	if len(secret) == 0 {
		return Callback{}, errors.New("payment: callbacks need a secret")
	}
	name, stamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", name, stamp, body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	right := func(signature string) bool { return hmac.Equal(want, []byte(signature)) }
	if name == "" || !slices.ContainsFunc(strings.Fields(header.Get("Webhook-Signature")), right) {
		return Callback{}, fmt.Errorf("%w: bad signature", ErrCallback)
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > callbackAge {
		return Callback{}, fmt.Errorf("%w: stale time stamp", ErrCallback)
	}
	var got Callback
	if err := json.Unmarshal(body, &got); err != nil {
		return Callback{}, fmt.Errorf("%w: %w", ErrCallback, err)
	}
	got.ID = name
	return got, nil
}
