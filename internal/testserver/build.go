package testserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// builds holds one build per program and set of tags, for as long as the test process lives.
var builds sync.Map // string -> func() (string, error)

// Build builds the Go program with this import path once per test process, with the given build tags, and returns
// the path of the program. Tests may call it at once; the later ones wait for the first.
func Build(t testing.TB, pkg string, tags ...string) string {
	t.Helper()
	dir := scratchDir(t)
	tagList := strings.Join(tags, ",")
	once, _ := builds.LoadOrStore(pkg+" "+tagList, sync.OnceValues(func() (string, error) {
		own, err := os.MkdirTemp(dir, "build-")
		if err != nil {
			return "", err
		}
		program := filepath.Join(own, filepath.Base(pkg))
		cmd := exec.Command("go", "build", "-tags", tagList, "-o", program, pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		return program, nil
	}))
	program, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("build %s: %v", pkg, err)
	}
	if err := touchSources(pkg, tagList); err != nil {
		t.Fatalf("list the sources of %s: %v", pkg, err)
	}
	return program
}

// touchSources looks at every source file that went into the program. The go command remembers which files a test
// looked at and runs it again when one has changed; it cannot know of files that only a child process read, and would
// answer "ok (cached)" for a program that has changed since.
func touchSources(pkg, tagList string) error {
	cmd := exec.Command("go", "list", "-deps", "-tags", tagList, "-json=Standard,Dir,GoFiles,EmbedFiles", pkg)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	packages := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			Standard   bool
			Dir        string
			GoFiles    []string
			EmbedFiles []string
		}
		switch err := packages.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case p.Standard:
			continue
		}
		for _, name := range append(p.GoFiles, p.EmbedFiles...) {
			if _, err := os.Stat(filepath.Join(p.Dir, name)); err != nil {
				return err
			}
		}
	}
}
