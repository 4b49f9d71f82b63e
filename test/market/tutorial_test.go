package market

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// The commands of the tutorial do what it says, as they stand there, one after another.
func TestTutorial(t *testing.T) {
	t.Parallel()
	testserver.Mosquitto(t)
	page, err := os.ReadFile("../../docs/tutorials/supermarket.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "set -eux\n"
	blocks := 0
	for part := range strings.SplitSeq(string(page), "\n```sh\n") {
		if block, _, closed := strings.Cut(part, "\n```"); closed && !strings.HasPrefix(part, "# ") {
			blocks++
			script += fmt.Sprintf("%s\necho block %d of the tutorial is done\n", block, blocks)
		}
	}
	if blocks < 9 {
		t.Fatalf("the tutorial has %d blocks of commands", blocks)
	}
	binary := testserver.Build(t, "example.org/souk/cmd/souk")
	p := testserver.Command{
		Args: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(),
		Env: []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "SOUK_HTTP=127.0.0.1:0"},
	}.Start(t)
	for n := range blocks {
		p.WaitLine(fmt.Sprintf("block %d of the tutorial is done", n+1))
	}
}
