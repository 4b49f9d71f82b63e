package arch

import (
	"go/ast"
	"regexp"
	"slices"
)

// clockCalls read the clock or wait for it.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// decision are the names of functions that decide or evolve, wherever they stand.
var decision = regexp.MustCompile(`^(decide|evolve)([A-Z]|$)`)

// checkCalls keeps the mall, and every function that decides or evolves, from the clock, from chance and from what is
// outside: time comes with a command's envelope, ids come with the command, the outside is reached by calls.
func checkCalls(t *tree) []Violation {
	var found []Violation
	for _, f := range t.files {
		if f.test {
			continue
		}
		imports := f.imports()
		if under(f.dir, "mall") {
			for _, spec := range f.ast.Imports {
				if imported := importPath(spec); impure(imported) || isChance(imported) {
					found = append(found, t.at(f, spec.Pos(), "nothing in the mall may use %s", imported))
				}
			}
			found = append(found, clockReads(t, f, f.ast, imports, "nothing in the mall may")...)
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil || !decision.MatchString(fn.Name.Name) {
				continue
			}
			found = append(found, clockReads(t, f, fn.Body, imports, "a decision may not")...)
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if imported := usedPackage(s, imports); impure(imported) || isChance(imported) {
						found = append(found, t.at(f, s.Pos(), "a decision may not use %s", imported))
					}
				}
				return true
			})
		}
	}
	return found
}

func clockReads(t *tree, f *file, in ast.Node, imports map[string]string, who string) []Violation {
	var found []Violation
	ast.Inspect(in, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && usedPackage(s, imports) == "time" && slices.Contains(clockCalls, s.Sel.Name) {
			found = append(found, t.at(f, s.Pos(), "%s use time.%s; time comes with the message", who, s.Sel.Name))
		}
		return true
	})
	return found
}

// usedPackage returns the import path of the package that a selector selects from, or "".
func usedPackage(s *ast.SelectorExpr, imports map[string]string) string {
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return imports[x.Name]
}

func isChance(imported string) bool {
	return under(imported, "math/rand") || imported == "crypto/rand"
}
