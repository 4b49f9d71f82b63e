package arch

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Violation is one place where the tree breaks a rule.
type Violation struct {
	Rule    string // the rule's name
	Path    string // the file or folder, slash-separated from the root
	Line    int    // 0 when it is about the whole file or folder
	Message string // what is wrong, and what to do instead
}

func (v Violation) String() string {
	where := v.Path
	if v.Line > 0 {
		where += ":" + strconv.Itoa(v.Line)
	}
	return fmt.Sprintf("%s: %s (%s)", where, v.Message, v.Rule)
}

// rules are all rules by name.
var rules = map[string]func(*tree) []Violation{
	"imports": checkImports,
	"shape":   checkShape,
	"docs":    checkDocs,
	"calls":   checkCalls,
	"names":   checkNames,
	"sql":     checkSQL,
	"tests":   checkTests,
	"samples": checkSamples,
	"inits":   checkInits,
	"links":   checkLinks,
	"named":   checkNamed,
}

// Check applies every rule to the Go module at root and returns what breaks them, in the order of the files. Modules
// inside it, testdata and hidden folders are no part of it.
func Check(root fs.FS) []Violation {
	t, found := load(root)
	for name, rule := range rules {
		for _, v := range rule(t) {
			v.Rule = name
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return found
}

// tree is the parsed module.
type tree struct {
	root   fs.FS
	module string
	fset   *token.FileSet
	files  []*file
	dirs   map[string][]*file // the files of each folder that holds Go files
}

// file is one Go file.
type file struct {
	path, dir string
	test      bool // its name ends in _test.go
	ast       *ast.File
}

// load parses the module. What cannot be parsed, or read, is a violation of its own.
func load(root fs.FS) (*tree, []Violation) {
	t := &tree{root: root, fset: token.NewFileSet(), dirs: map[string][]*file{}}
	var found []Violation
	complain := func(path string, err error) {
		found = append(found, Violation{Rule: "parse", Path: path, Message: err.Error()})
	}
	if err := t.readModule(); err != nil {
		complain("go.mod", err)
	}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && t.foreign(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(t.fset, name, source, parser.ParseComments)
		if err != nil {
			complain(name, err)
			return nil
		}
		f := &file{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: parsed}
		t.files = append(t.files, f)
		t.dirs[f.dir] = append(t.dirs[f.dir], f)
		return nil
	})
	if err != nil {
		complain(".", err)
	}
	return t, found
}

func (t *tree) readModule() error {
	text, err := fs.ReadFile(t.root, "go.mod")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			t.module = strings.TrimSpace(name)
			return nil
		}
	}
	return fmt.Errorf("go.mod names no module")
}

// foreign tells whether a folder is no part of the module.
func (t *tree) foreign(dir string) bool {
	name := path.Base(dir)
	if name == "testdata" || name == "vendor" || name == "node_modules" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := fs.Stat(t.root, path.Join(dir, "go.mod"))
	return err == nil
}

// sortedDirs returns the folders that hold Go files, in order.
func (t *tree) sortedDirs() []string {
	var dirs []string
	for dir := range t.dirs {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// services returns the folders of the mall's services.
func (t *tree) services() []string {
	return slices.DeleteFunc(t.sortedDirs(), func(dir string) bool { return !isService(dir) })
}

// isService tells whether a folder is a service: each of the mall's but those of its shared words.
func isService(dir string) bool {
	return path.Dir(dir) == "mall" && dir != "mall/event" && dir != "mall/command"
}

// under tells whether a folder is parent or below it.
func under(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

// at makes a violation at a place in a file.
func (t *tree) at(f *file, pos token.Pos, format string, args ...any) Violation {
	return Violation{Path: f.path, Line: t.fset.Position(pos).Line, Message: fmt.Sprintf(format, args...)}
}

// imports returns the import path behind each package name that the file uses.
func (f *file) imports() map[string]string {
	paths := map[string]string{}
	for _, spec := range f.ast.Imports {
		imported := importPath(spec)
		name := path.Base(imported)
		// math/rand/v2 is used as rand.
		if major, ok := strings.CutPrefix(name, "v"); ok {
			if _, err := strconv.Atoi(major); err == nil {
				name = path.Base(path.Dir(imported))
			}
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		paths[name] = imported
	}
	return paths
}

func importPath(spec *ast.ImportSpec) string {
	unquoted, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has refused such a file
	}
	return unquoted
}

// standard tells whether an import path belongs to Go's standard library: its first part has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
