package logistics

import (
	"context"

	"example.org/souk/backbone"
)

// Bus is the message bus of the logistics department.
type Bus interface {
	// Send returns when the bus has taken the order. It may be sent again with the same purchase; an error means that it is
	// not known whether the bus has it.
	Send(ctx context.Context, o Order) error
}

// Order is what the logistics department is told: that a SKU needs to be restocked.
type Order struct {
	Purchase  string `json:"purchase"`
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Quantity  int64  `json:"quantity"`
	Threshold int64  `json:"threshold"`
	Canceled  bool   `json:"canceled,omitempty"` // it is not wanted any more
	Asked     int64  `json:"asked"`              // when it was asked for: microseconds since the Unix epoch
}

const sendName = "bus"

func sendCall(b Bus) backbone.CallType {
	var caller backbone.Caller[Order]
	if b != nil {
		caller = busCaller{b}
	}
	return backbone.CallTo(sendName, caller, outcome)
}

type busCaller struct{ bus Bus }

// Call sends the order once. A bus cannot be asked what became of a message, so what is in doubt is sent again under the
// same purchase.
func (c busCaller) Call(ctx context.Context, _ backbone.CallRequest, o Order) (any, error) {
	return nil, c.bus.Send(ctx, o)
}

func outcome(o Order, result backbone.CallOutcome) backbone.Command {
	return RecordSending{Purchase: o.Purchase, Failed: result.Failed}
}
