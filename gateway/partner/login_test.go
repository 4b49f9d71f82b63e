package partner

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// FAILURES 43: the server has another password, and the connection comes back with it by itself. Red where the login is asked for once.
func TestF10_APasswordChangesAtNATS(t *testing.T) {
	t.Parallel()
	users := func(password string) string {
		return "accounts { M { jetstream: enabled, users: [{user: mall, password: " + password + "}] } }"
	}
	server := testserver.NATSOwn(t, users("first"))
	var password atomic.Pointer[string]
	set := func(text string) { password.Store(&text) }
	set("first")
	n := newNATS(server.URL(), func() (string, string, error) {
		if *password.Load() == "" {
			return "", "", errors.New("there is none at the moment")
		}
		return "mall", *password.Load(), nil
	})
	defer n.close()
	publish := func() error {
		return n.publish(t.Context(), []outgoing{{ID: "1", Name: placedName, Order: "O1", Body: []byte("{}")}})
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	set("")
	server.Reload(users("second"))
	if err := publish(); err == nil {
		t.Error("it goes on without a login")
	}
	set("second")
	for began := time.Now(); publish() != nil; {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it is not let in again")
		}
	}
}
