package arch

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
	elsewhere    = regexp.MustCompile(`^([a-z]+:|#|//)`)
)

// checkLinks wants the links between documents to lead somewhere. Those to the web are not followed.
func checkLinks(t *tree) []Violation {
	var found []Violation
	err := fs.WalkDir(t.root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && t.foreign(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		source, err := fs.ReadFile(t.root, name)
		if err != nil {
			return err
		}
		number, fenced := 0, false
		for line := range strings.Lines(string(source)) {
			number++
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, link := range markdownLink.FindAllStringSubmatch(line, -1) {
				if !t.leads(name, link[1]) {
					found = append(found, Violation{Path: name, Line: number, Message: fmt.Sprintf("the link to %s leads nowhere", link[1])})
				}
			}
		}
		return nil
	})
	if err != nil {
		found = append(found, Violation{Path: ".", Message: err.Error()})
	}
	return found
}

// leads tells whether a link in a document names a file or folder of the tree.
func (t *tree) leads(from, link string) bool {
	if elsewhere.MatchString(link) {
		return true
	}
	target, _, _ := strings.Cut(link, "#")
	if rest, ok := strings.CutPrefix(target, "/"); ok {
		target = path.Clean(rest)
	} else {
		target = path.Join(path.Dir(from), target)
	}
	_, err := fs.Stat(t.root, target)
	return err == nil
}
