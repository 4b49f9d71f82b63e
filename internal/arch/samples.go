package arch

import (
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"strconv"
)

// wireMethods are the methods that make a type an event or a command of the mall.
var wireMethods = map[string]string{"mall/event": "EventType", "mall/command": "CommandType"}

// checkSamples wants a constant wire name and a frozen sample, testdata/<wire name>.json, for each public event and
// command: what was written once must be readable for ever.
func checkSamples(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.sortedDirs() {
		method, ok := wireMethods[dir]
		if !ok {
			continue
		}
		names := constants(t.dirs[dir])
		for _, f := range t.dirs[dir] {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || f.test || fn.Recv == nil || fn.Name.Name != method {
					continue
				}
				wire, ok := names[returned(fn)]
				if !ok {
					found = append(found, t.at(f, fn.Pos(), "%s must return a constant of the package's list of wire names", method))
					continue
				}
				sample := path.Join(dir, "testdata", wire+".json")
				if _, err := fs.Stat(t.root, sample); err != nil {
					found = append(found, t.at(f, fn.Pos(), "%s has no frozen sample %s", wire, sample))
				}
			}
		}
	}
	return found
}

// constants returns the package's string constants by name.
func constants(files []*file) map[string]string {
	values := map[string]string{}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, spec := range decl.Specs {
				spec, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				for i, value := range spec.Values {
					if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						if text, err := strconv.Unquote(lit.Value); err == nil {
							values[spec.Names[i].Name] = text
						}
					}
				}
			}
		}
	}
	return values
}

// returned is the name that a function consisting of one return statement returns, or "".
func returned(fn *ast.FuncDecl) string {
	if fn.Body == nil || len(fn.Body.List) != 1 {
		return ""
	}
	ret, ok := fn.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return ""
	}
	name, ok := ret.Results[0].(*ast.Ident)
	if !ok {
		return ""
	}
	return name.Name
}
