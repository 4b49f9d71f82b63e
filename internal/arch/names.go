package arch

import (
	"fmt"
	"slices"
	"strings"
)

// emptyNames say nothing about what a package is for, and so collect everything.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "types", "model", "models", "manager", "managers"}

// checkNames refuses package names that say nothing.
func checkNames(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.sortedDirs() {
		name := strings.TrimSuffix(t.dirs[dir][0].ast.Name.Name, "_test")
		for part := range strings.SplitSeq(dir+"/"+name, "/") {
			if slices.Contains(emptyNames, part) {
				found = append(found, Violation{Path: dir, Message: fmt.Sprintf("a package is one noun that says what is in it, never %q", part)})
				break
			}
		}
	}
	return found
}
