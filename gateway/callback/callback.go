package callback

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
)

// Gate is the gateway's name at the door. No role has tokens for it.
const Gate = "callback"

// PaymentPath is where the payment provider calls back.
const PaymentPath = "/payments/callback"

// Actor is who the payment provider is in the logs.
const Actor = "provider:payment"

// Commands takes commands to the services that handle them and returns when they are durable. *backbone.Runtime is one.
type Commands interface {
	Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error)
}

// Report is a callback that was checked.
type Report struct {
	ID      string           // the same for every copy of one callback
	Command backbone.Command // that brings it to its service; nil where it says nothing that is waited for
	// Correlation and Causation continue the conversation that it belongs to; empty where there is none.
	Correlation, Causation string
}

// Open checks who sent a callback and when, and reads it. Every error refuses it. It keeps nothing of body and is safe for
// concurrent use.
type Open func(ctx context.Context, header http.Header, body []byte) (Report, error)

// Register adds the gateway's route to a door. payments opens what the payment provider sends.
func Register(d *door.Door, commands Commands, payments Open) error {
	if commands == nil || payments == nil {
		return errors.New("callback: what opens callbacks and what takes commands are required")
	}
	return d.Gate(Gate).Add(door.Route{
		Pattern: "POST " + PaymentPath, Public: true, Body: true,
		Handle: func(w http.ResponseWriter, r *door.Request) error { return settle(w, r, commands, payments) },
	})
}

func settle(w http.ResponseWriter, r *door.Request, commands Commands, open Open) error {
	report, err := open(r.Context(), r.Header, r.Body)
	if err != nil {
		return door.NewProblem(http.StatusUnauthorized, "callback_refused", "The callback is not signed by the provider, or it is too old.")
	}
	if report.Command != nil {
		// A refusal is an answer like any other: the command is settled.
		_, err := commands.Do(r.Context(), report.Command, backbone.WithID(commandID(report)), backbone.By(Actor),
			backbone.CausedBy(report.Correlation, report.Causation), backbone.WithTrace(r.Trace))
		if err != nil {
			return err
		}
		backbone.CrashPoint("callback.taken")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// commandID returns the id of a report's command, the same for all copies. A sender that lost its books and numbers its
// callbacks anew speaks of other things under the ids of before, so what a report is about is part of it.
func commandID(r Report) string {
	about := sha256.Sum256([]byte(r.Command.Stream() + "\n" + r.ID))
	return "callback_" + base64.RawURLEncoding.EncodeToString(about[:])
}
