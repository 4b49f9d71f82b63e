package arch

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// card is what the package comment of a service tells.
var card = []string{"Decides", "Keeps", "Handles", "Subscribes", "Refuses"}

// shapeFiles are the files of a service that have a fixed name; any other one holds an aggregate or a saga.
var shapeFiles = []string{"doc.go", "service.go", "views.go", "calls.go", "policies.go", "queries.go"}

// checkShape holds the common shape of the services' folders.
func checkShape(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.services() {
		found = append(found, checkFolder(t, dir)...)
		if !slices.ContainsFunc(t.dirs[dir], func(f *file) bool { return f.path == path.Join(dir, "service.go") }) {
			found = append(found, Violation{Path: dir, Message: "a service has its table in service.go"})
		}
		i := slices.IndexFunc(t.dirs[dir], func(f *file) bool { return f.path == path.Join(dir, "doc.go") })
		if i < 0 {
			found = append(found, Violation{Path: dir, Message: "a service has its card in doc.go: " + strings.Join(card, ", ")})
			continue
		}
		doc := t.dirs[dir][i]
		for _, word := range card {
			if !strings.Contains(doc.ast.Doc.Text(), word) {
				found = append(found, t.at(doc, doc.ast.Package, "the service's card does not say what it %s", strings.ToLower(word)))
			}
		}
		for _, f := range t.dirs[dir] {
			if !f.test && !slices.Contains(shapeFiles, path.Base(f.path)) && !holdsAggregateOrSaga(f) {
				found = append(found, t.at(f, f.ast.Package,
					"a service's file is one of %s, or holds an aggregate or a saga", strings.Join(shapeFiles, ", ")))
			}
		}
	}
	return found
}

// checkFolder looks at what else lies in a service's folder.
func checkFolder(t *tree, dir string) []Violation {
	entries, err := fs.ReadDir(t.root, dir)
	if err != nil {
		return []Violation{{Path: dir, Message: err.Error()}}
	}
	var found []Violation
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		switch {
		case entry.IsDir() && entry.Name() == "migrations":
			found = append(found, checkMigrations(t, name)...)
		case entry.IsDir() && entry.Name() != "testdata":
			found = append(found, Violation{Path: name, Message: "a service is one package; only migrations and testdata lie below it"})
		case !entry.IsDir() && path.Ext(entry.Name()) != ".go":
			found = append(found, Violation{Path: name, Message: "a service's folder holds Go files, migrations and testdata"})
		}
	}
	return found
}

func checkMigrations(t *tree, dir string) []Violation {
	entries, err := fs.ReadDir(t.root, dir)
	if err != nil {
		return []Violation{{Path: dir, Message: err.Error()}}
	}
	var found []Violation
	for _, entry := range entries {
		if path.Ext(entry.Name()) != ".sql" {
			found = append(found, Violation{Path: path.Join(dir, entry.Name()), Message: fmt.Sprintf("%s holds .sql files only", dir)})
		}
	}
	return found
}

// holdsAggregateOrSaga tells whether a file uses backbone.Aggregate or backbone.Saga.
func holdsAggregateOrSaga(f *file) bool {
	holds := false
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && selectsFrom(s, "backbone") {
			holds = holds || strings.HasPrefix(s.Sel.Name, "Aggregate") || strings.HasPrefix(s.Sel.Name, "Saga")
		}
		return !holds
	})
	return holds
}

func selectsFrom(s *ast.SelectorExpr, name string) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == name
}
