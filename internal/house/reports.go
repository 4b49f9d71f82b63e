package house

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"

	"example.org/souk/backbone"
	"example.org/souk/gateway/callback"
	"example.org/souk/mall/payments"
	"example.org/souk/provider/payment"
)

// minSecret is the least length of a secret that signs callbacks, in bytes.
const minSecret = 16

// reports opens the payment provider's callbacks and turns them into the payments service's words.
type reports struct {
	secret []byte
	log    *backbone.Reader // of the payments service
}

func openReports(secretFile string, log *backbone.Reader) (*reports, error) {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return nil, fmt.Errorf("secret of the payment provider's callbacks: %w", err)
	}
	secret = bytes.TrimSpace(secret)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("secret of the payment provider's callbacks: %s holds %d bytes, and %d are the least", secretFile, len(secret), minSecret)
	}
	return &reports{secret, log}, nil
}

// open implements callback.Open. What was not carried out, or is of a kind that we do not ask for, settles nothing.
func (r *reports) open(ctx context.Context, header http.Header, body []byte) (callback.Report, error) {
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
	report := callback.Report{ID: c.ID, Command: settle}
	report.Correlation, report.Causation = r.asked(ctx, c.Payment)
	return report, nil
}

// asking are the events that the provider is called after.
var asking = []string{
	payments.AuthorizationRequested{}.EventType(), payments.CaptureRequested{}.EventType(), payments.VoidRequested{}.EventType(),
	payments.RefundRequested{}.EventType(), payments.OutcomeUnknown{}.EventType(),
}

// asked returns the conversation in which the provider was last asked for something about a payment, so that the trace of
// an order shows what a report led to. Where that cannot be found out the report begins a conversation of its own.
func (r *reports) asked(ctx context.Context, payment string) (correlation, causation string) {
	last, err := r.log.Log(ctx, backbone.ReadQuery{
		Stream: "payment/" + payment, Kinds: backbone.EventKinds(), Types: asking, Descending: true, Limit: 1,
	})
	if err != nil || len(last) == 0 {
		return "", ""
	}
	return last[0].Correlation, last[0].ID
}
