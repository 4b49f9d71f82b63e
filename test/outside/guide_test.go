package loyalty

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const guide = "../../docs/guides/a-consumer-of-your-own.md"

// TestTheGuideShowsThisCode finds each block of Go and SQL of the guide in a file of this module, to the letter, and of
// service.go and main.go all there is.
func TestTheGuideShowsThisCode(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	err = filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		code[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{} // files that the guide has as a whole
	blocks := regexp.MustCompile("(?s)\n```(?:go|sql)\n(.*?\n)```\n").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 4 {
		t.Fatalf("the guide has %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		found := false
		for name, text := range code {
			if strings.Contains(text, block[1]) {
				found, shown[name] = true, shown[name] || text == block[1]
			}
		}
		if !found {
			t.Errorf("no file has this code of the guide:\n%s", block[1])
		}
	}
	for _, name := range []string{"points/migrations/0001_points.sql", "points/service.go", "cmd/mall/main.go"} {
		if !shown[name] {
			t.Errorf("the guide does not show all of %s", name)
		}
	}
}
