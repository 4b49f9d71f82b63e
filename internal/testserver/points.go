package testserver

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// CrashPoint is a place at which crash tests kill the process.
type CrashPoint struct {
	Name string
	Dir  string // the folder below the module's root in whose source it stands, with slashes
}

// Below tells whether the point stands in a folder, or in one below it.
func (p CrashPoint) Below(dir string) bool { return p.Dir == dir || strings.HasPrefix(p.Dir, dir+"/") }

// CrashPoints reads from the source of this module which crash points there are, by their names; a name that stands in two folders comes
// twice. It fails the test where a name is not written out, since nobody could walk there.
func CrashPoints(t testing.TB) (list []CrashPoint) {
	t.Helper()
	root, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			err = fs.ErrNotExist
		}
		root = filepath.Dir(root)
	}
	if err != nil {
		t.Fatalf("the module's root: %v", err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != root && (err == nil || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir // another module, or none
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		names, err := pointsIn(path)
		for _, name := range names {
			list = append(list, CrashPoint{name, filepath.ToSlash(dir)})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b CrashPoint) int { return strings.Compare(a.Name+" "+a.Dir, b.Name+" "+b.Dir) })
	return slices.Compact(list)
}

// pointsIn returns the names of the crash points in a file of source.
func pointsIn(path string) (names []string, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "CrashPoint" {
			continue // it only hands on
		}
		ast.Inspect(d, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "CrashPoint" {
				return true
			}
			var name string
			if len(call.Args) == 1 {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					name, _ = strconv.Unquote(lit.Value) // what is no text has no name
				}
			}
			if name == "" && err == nil {
				err = fmt.Errorf("%s: write the name of the crash point out", files.Position(call.Pos()))
			}
			names = append(names, name)
			return true
		})
	}
	return names, err
}
