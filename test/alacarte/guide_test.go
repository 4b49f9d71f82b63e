package alacarte

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const guide = "../../docs/guides/a-la-carte.md"

// TestTheGuideShowsThisCode finds each Go block of the guide in a file of this folder, to the letter, and the piece that the
// guide says has fifteen lines to have no more.
func TestTheGuideShowsThisCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			code[name] = string(text)
		}
	}
	blocks := 0
	for part := range strings.SplitSeq(string(page), "\n```go\n") {
		block, _, closed := strings.Cut(part, "\n```")
		if strings.HasPrefix(part, "# ") {
			continue // what stands before the first block
		}
		blocks++
		if !closed || !holds(code, block) {
			t.Errorf("no file has this code of the guide:\n%s", block)
		}
		if _, body, found := strings.Cut(block, "func Place("); found {
			if lines := strings.Count(body, "\n") - 1; lines > 15 {
				t.Errorf("Place has %d lines; the guide says fifteen", lines)
			}
		}
	}
	if blocks < 4 {
		t.Errorf("the guide has %d blocks of Go", blocks)
	}
}

func holds(code map[string]string, block string) bool {
	for _, text := range code {
		if strings.Contains(text, block+"\n") {
			return true
		}
	}
	return false
}
