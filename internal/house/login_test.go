package house

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The password of an address stands in a file and is read each time; the address that is handed on, and what is said of a wrong one, hold none.
func TestLoginsFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	for address, want := range map[string]string{
		"nats://mall@a:1,nats://mall@b:2?password_file=" + file: "nats://a:1,nats://b:2",
		"amqp://mall@a:1/v?heartbeat=5&password_file=" + file:   "amqp://a:1/v?heartbeat=5",
	} {
		rest, now, err := login(address)
		if err != nil || rest != want {
			t.Fatalf("%s: %q, %v", address, rest, err)
		}
		for _, password := range []string{"first", "second"} {
			write(password + "\n")
			if user, got, err := now(); user != "mall" || got != password || err != nil {
				t.Errorf("%s: %s %s %v, want %s", address, user, got, err, password)
			}
		}
	}
	if rest, now, err := login("nats://mall:t0psecret@a:1"); rest != "nats://mall:t0psecret@a:1" || now != nil || err != nil {
		t.Errorf("without a file: %s, %v", rest, err)
	}
	for address, want := range map[string]string{
		"nats://a:1?password_file=" + file:                           "no user",
		"nats://mall:t0psecret@a:1?password_file=" + file:            "leave one of the two out",
		"nats://mall@a:1?password_file=" + file + ".gone":            "no such file",
		"nats://mall:t0psecret@a b:x?password_file=" + file + ".gon": "not a URL",
	} {
		if _, _, err := login(address); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "t0psecret") {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
}
