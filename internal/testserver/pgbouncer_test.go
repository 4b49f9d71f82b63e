package testserver

import "testing"

// A pool answers for the server behind it, in both modes.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	for _, mode := range []string{"session", "transaction"} {
		through := server.PgBouncer(t, mode)
		if err := answers(through(server.Database(t))); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
