package alacarte

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	// The test is run anew whenever the library changes.
	_ "example.org/souk/backbone"
)

// TestTheLibraryAloneBringsNothingElse makes a module that imports only the backbone, and finds nothing of a third party
// in it: no package, no requirement, no checksum to keep.
func TestTheLibraryAloneBringsNothingElse(t *testing.T) {
	t.Parallel()
	souk, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/small\n\ngo 1.26.0\n\nrequire example.org/souk v0.0.0\n\nreplace example.org/souk => " + souk + "\n",
		"main.go": "package main\n\nimport _ \"example.org/souk/backbone\"\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("build", "-o", os.DevNull, ".")
	for pkg := range strings.FieldsSeq(run("list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")) {
		switch pkg {
		case "example.com/small", "example.org/souk/backbone", "example.org/souk/backbone/driver":
		default:
			t.Errorf("importing the backbone brings in %s", pkg)
		}
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(mod), "require"); n != 1 || strings.Contains(string(mod), "indirect") {
		t.Errorf("the module requires more than the library:\n%s", mod)
	}
	if sum, err := os.ReadFile(filepath.Join(dir, "go.sum")); err == nil && len(sum) > 0 {
		t.Errorf("checksums of third parties:\n%s", sum)
	}
}
