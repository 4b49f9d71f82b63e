package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Tutorial runs the commands of a page as they stand there, one after another, and fails where one of them does. The page has at
// least so many blocks of them. The environment says what the page would otherwise look for at its usual place.
func Tutorial(t *testing.T, page string, least int, env ...string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	script := "set -eux\n"
	blocks := 0
	for part := range strings.SplitSeq(string(text), "\n```sh\n") {
		if block, _, closed := strings.Cut(part, "\n```"); closed && !strings.HasPrefix(part, "# ") {
			blocks++
			script += fmt.Sprintf("%s\necho block %d of the tutorial is done\n", block, blocks)
		}
	}
	if blocks < least {
		t.Fatalf("%s has %d blocks of commands, and not %d", page, blocks, least)
	}
	binary := Build(t, "example.org/souk/cmd/souk")
	p := Command{
		Args: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(),
		Env: append([]string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "SOUK_HTTP=127.0.0.1:0"}, env...),
	}.Start(t)
	for n := range blocks {
		p.WaitLine(fmt.Sprintf("block %d of the tutorial is done", n+1))
	}
}
