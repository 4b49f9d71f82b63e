package arch

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// namedTest is a test that a document names, or with * all whose names begin so.
var namedTest = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9_]*\*?`)

// checkNamed wants the tests that documents name to be there: a promise whose test was renamed or taken away is held by nobody.
func checkNamed(t *tree) []Violation {
	var tests []string
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests = append(tests, fn.Name.Name)
			}
		}
	}
	there := func(name string) bool {
		prefix, many := strings.CutSuffix(name, "*")
		for _, test := range tests {
			if test == name || many && strings.HasPrefix(test, prefix) {
				return true
			}
		}
		return false
	}
	documents, err := fs.Glob(t.root, "docs/*.md")
	if err != nil {
		return []Violation{{Path: "docs", Message: err.Error()}}
	}
	var found []Violation
	for _, name := range documents {
		source, err := fs.ReadFile(t.root, name)
		if err != nil {
			return append(found, Violation{Path: path.Dir(name), Message: err.Error()})
		}
		number := 0
		for line := range strings.Lines(string(source)) {
			number++
			for _, test := range namedTest.FindAllString(line, -1) {
				if !there(test) {
					found = append(found, Violation{Path: name, Line: number, Message: fmt.Sprintf("there is no test %s", test)})
				}
			}
		}
	}
	return found
}
