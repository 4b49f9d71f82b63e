package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// checkDocs wants a comment on every package, in the form that go doc expects. Generated code is let be.
func checkDocs(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.sortedDirs() {
		files := slices.DeleteFunc(slices.Clone(t.dirs[dir]), func(f *file) bool { return f.test })
		if len(files) == 0 {
			files = t.dirs[dir] // a folder of tests says for itself what it tests
		}
		if !slices.ContainsFunc(files, func(f *file) bool { return !ast.IsGenerated(f.ast) }) {
			continue
		}
		if !slices.ContainsFunc(files, documented) {
			found = append(found, Violation{Path: dir, Message: fmt.Sprintf("no file has a comment that begins %q", docStart(files[0]))})
		}
	}
	return found
}

func documented(f *file) bool { return strings.HasPrefix(f.ast.Doc.Text(), docStart(f)) }

func docStart(f *file) string {
	if f.ast.Name.Name == "main" {
		return "Command "
	}
	return "Package " + f.ast.Name.Name + " "
}
