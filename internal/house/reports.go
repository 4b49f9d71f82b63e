package house

import (
	"bytes"
	"fmt"
	"net/http"
	"os"

	"example.org/souk/gateway/callback"
	"example.org/souk/mall/payments"
	"example.org/souk/provider/payment"
)

// minSecret is the least length of a secret that signs callbacks, in bytes.
const minSecret = 16

// reports opens the payment provider's callbacks and turns them into the payments service's words.
type reports struct{ secret []byte }

func openReports(secretFile string) (*reports, error) {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return nil, fmt.Errorf("secret of the payment provider's callbacks: %w", err)
	}
	secret = bytes.TrimSpace(secret)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secret of the payment provider's callbacks: %s holds %d bytes, and %d are the least", secretFile, len(secret), minSecret)
	}
	return &reports{secret}, nil
}

// open implements callback.Open. What was not carried out, or is of a kind that we do not ask for, settles nothing.
func (r *reports) open(header http.Header, body []byte) (callback.Report, error) {
	c, err := payment.OpenCallback(r.secret, header, body, clock{}.Now())
	if err != nil {
		return callback.Report{}, err
	}
	said := payments.Report{Key: c.Key, Payment: c.Payment, Reason: c.Reason, Amount: c.Amount}
	switch c.State {
	case payment.Authorized:
		said.Operation = payments.OpAuthorize
	case payment.Declined:
		said.Operation, said.Declined = payments.OpAuthorize, true
	case payment.Voided:
		said.Operation = payments.OpVoid
	case payment.Captured:
		said.Operation = payments.OpCapture
	case payment.Refunded:
		said.Operation = payments.OpRefund
	default:
		return callback.Report{ID: c.ID}, nil
	}
	settle, err := said.Settle()
	if err != nil {
		return callback.Report{ID: c.ID}, nil //nolint:nilerr // it names no payment, so it settles none
	}
	return callback.Report{ID: c.ID, Command: settle}, nil
}
