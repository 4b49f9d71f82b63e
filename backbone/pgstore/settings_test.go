package pgstore_test

import (
	"strings"
	"testing"

	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// A server that may lose commits is refused, by the name of the setting and with
// what to do about it.
func TestUnsafeSettingIsRefused(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t)
	operator := connect(t, server.URL())
	set := func(name, value string) {
		t.Helper()
		run(t, operator, "ALTER SYSTEM SET "+name+" = "+value, "SELECT pg_reload_conf()")
		eventually(t, "new connections have "+name+" "+value, func() bool {
			var got string
			conn := connect(t, server.URL())
			must(t, conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got))
			must(t, conn.Close(t.Context()))
			return got == value
		})
	}
	refused := func(address, name string) {
		t.Helper()
		s, err := pgstore.Open(t.Context(), pgstore.Config{URL: address})
		if err == nil {
			must(t, s.Close())
			t.Fatalf("a server with %s off was accepted", name)
		}
		if !strings.Contains(err.Error(), "setting "+name+" is off") || !strings.Contains(err.Error(), "set it to on") {
			t.Errorf("%s off: the error is %q", name, err)
		}
	}
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		set(name, "off")
		refused(server.URL(), name)
		set(name, "on")
		must(t, open(t, server.URL()).Close())
	}
	// Only this program's own connections are unsafe.
	refused(server.URL()+"&synchronous_commit=off", "synchronous_commit")
}
