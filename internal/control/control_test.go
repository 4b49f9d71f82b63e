package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mall is reached whatever the length of its data directory's name. Red where the socket is made by its own path: systems take some hundred bytes.
func TestSocketOfALongPath(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time a socket lies there
		if Running(t.Context(), data) {
			t.Error("it runs before it listens")
		}
		l, err := Listen(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if !Running(t.Context(), data) {
			t.Error("it is not reached")
		}
		if info, err := os.Stat(Socket(data)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", info, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
