package gate

import (
	"context"
	"encoding/json"
	"time"
)

// order is what the mall tells a gate to do.
type order struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires_at"` // it is not done later
}

// Opened is a line of what the gate tells where the mall has it opened.
type Opened struct {
	What   string `json:"what"` // opened, or late: it heard of it when it was over
	ID     string `json:"id"`   // of what it was told
	Device string `json:"device"`
}

// ack is what the gate answers.
type ack struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// hear takes what the mall says, and never waits. What makes no sense is nothing to a gate, as is what comes while it has not done many others: that
// expires anyhow.
func (g *gate) hear(_ string, payload []byte) {
	var o order
	if json.Unmarshal(payload, &o) != nil || o.ID == "" {
		return
	}
	select {
	case g.told <- o:
	default:
	}
}

// open opens the gate, tells that, and answers. A copy is answered and opens nothing. An answer that does not get through is not sent again.
func (g *gate) open(ctx context.Context, o order) error {
	opened, answer := Opened{"opened", o.ID, g.Device}, ack{ID: o.ID, Status: "done"}
	if !o.Expires.IsZero() && time.Now().After(o.Expires) {
		opened.What, answer.Status, answer.Reason = "late", "failed", "expired"
	}
	if o.ID != g.last {
		g.last = o.ID
		if err := g.tell(opened); err != nil {
			return err
		}
	}
	payload, err := json.Marshal(answer)
	if err != nil || g.link == nil {
		return err
	}
	_ = g.link.Publish(ctx, g.own()+"ack", payload, false) // it is told by the connection where that is gone
	return nil
}
