package arch

import "go/ast"

// checkInits refuses init functions: what a program registers stands in the program. Generated code is let be.
func checkInits(t *tree) []Violation {
	var found []Violation
	for _, f := range t.files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, t.at(f, fn.Pos(), "no init functions: register explicitly"))
			}
		}
	}
	return found
}
