package arch

import (
	"go/ast"
	"slices"
)

// checkTests refuses tests that skip themselves or wait by the clock, in _test.go files and in kits. The one place
// where a test may be left out, and where waiting for a process is everyone's business, is internal/testserver. In a file of synctest time is virtual, so there
// a sleep costs nothing and races with nothing.
func checkTests(t *tree) []Violation {
	var found []Violation
	for _, f := range t.files {
		imports := f.imports()
		if f.dir == "internal/testserver" || !f.test && imports["testing"] != "testing" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch x, ok := s.X.(*ast.Ident); {
			case usedPackage(s, imports) == "time" && s.Sel.Name == "Sleep" && imports["synctest"] == "":
				found = append(found, t.at(f, s.Pos(), "tests do not sleep: wait for what should happen, or use synctest"))
			case ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name):
				found = append(found, t.at(f, s.Pos(), "tests do not skip: what a test needs, internal/testserver starts or fails over"))
			}
			return true
		})
	}
	return found
}
