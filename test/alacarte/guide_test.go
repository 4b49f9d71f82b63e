package alacarte

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheGuidesShowThisCode finds each Go block of the guides in a file of their folders, to the letter, and the piece that one of them
// says has fifteen lines to have no more.
func TestTheGuidesShowThisCode(t *testing.T) {
	t.Parallel()
	for _, guide := range []struct {
		page, folder string
		tests        bool // it shows how to test as well
		blocks       int  // at least
	}{
		{"a-la-carte.md", ".", false, 4},
		{"a-program-of-your-own.md", "program", true, 6},
	} {
		t.Run(guide.page, func(t *testing.T) {
			t.Parallel()
			page, err := os.ReadFile(filepath.Join("../../docs/guides", guide.page))
			if err != nil {
				t.Fatal(err)
			}
			code := codeOf(t, guide.folder, guide.tests)
			blocks := strings.Split(string(page), "\n```go\n")[1:]
			for _, part := range blocks {
				block, _, closed := strings.Cut(part, "\n```")
				if !closed || !holds(code, block) {
					t.Errorf("no file has this code of the guide:\n%s", block)
				}
				if _, body, found := strings.Cut(block, "func Place("); found {
					if lines := strings.Count(body, "\n") - 1; lines > 15 {
						t.Errorf("Place has %d lines; the guide says fifteen", lines)
					}
				}
			}
			if len(blocks) < guide.blocks {
				t.Errorf("the guide has %d blocks of Go", len(blocks))
			}
		})
	}
}

// codeOf reads the Go files of a folder, those of its tests where that is asked for.
func codeOf(t *testing.T, folder string, tests bool) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") && !tests {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code[name] = string(text)
	}
	return code
}

func holds(code map[string]string, block string) bool {
	for _, text := range code {
		if strings.Contains(text, block+"\n") {
			return true
		}
	}
	return false
}
