package house

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
)

// A registration that is sent again gets the first answer, though what is personal in it was sealed anew, by a process
// that was started since; another name under the same id is another command. Red when two tokens of one text differ.
func TestARegistrationIsSentAgain(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	// The payment provider is never called here: nothing listens at its address.
	provider := PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: keyFile(t)}
	register := func(id, name string) (backbone.Answer, error) {
		t.Helper()
		h, err := Open(t.Context(), Config{Data: data, Empty: true, Quiet: true, Logger: slog.New(slog.DiscardHandler), Payment: provider})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := h.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := command.RegisterCustomer{Customer: "dora"}
		for text, field := range map[string]*mall.Personal{name: &c.Name, "dora@souk.example": &c.Email} {
			token, err := h.Keys.Seal(t.Context(), c.Customer, text)
			if err != nil {
				t.Fatal(err)
			}
			*field = mall.Personal(token)
		}
		return h.Runtime.Do(t.Context(), c, backbone.WithID(id))
	}
	if a, err := register("r1", "Dora Doe"); err != nil || a.Err() != nil || a.Repeated {
		t.Fatalf("registered: %+v, %v", a, err)
	}
	if a, err := register("r1", "Dora Doe"); err != nil || a.Err() != nil || !a.Repeated {
		t.Errorf("sent again: %+v, %v", a, err)
	}
	if a, err := register("r1", "Dora Dole"); !errors.Is(err, backbone.ErrDifferentCommand) {
		t.Errorf("another name under the command's id: %+v, %v", a, err)
	}
	if a, err := register("r2", "Dora Doe"); err != nil || a.Err() != nil || a.Repeated {
		t.Errorf("asked for again: %+v, %v", a, err)
	}
	if a, err := register("r3", "Dora Dole"); err != nil || !errors.Is(a.Err(), customers.ErrExists) {
		t.Errorf("another name under the customer's id: %+v, %v", a, err)
	}
}
