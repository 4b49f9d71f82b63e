package api_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buf runs the tool for the protobuf sources on a copy of them in which the text old of a file is replaced.
func buf(t *testing.T, file, old, replacement string, args ...string) (output string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "proto"), os.DirFS("proto")); err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile("buf.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "buf.yaml"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "proto", "souk", "v1", file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(source, []byte(old)) != 1 {
		t.Fatalf("%s has %q %d times, want once", file, old, bytes.Count(source, []byte(old)))
	}
	if err := os.WriteFile(path, bytes.Replace(source, []byte(old), []byte(replacement), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "../scripts/buf", append(args, dir)...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err = cmd.Run()
	return out.String(), err
}

// What breaks a program that speaks the released contract is refused, and what only adds is not.
func TestBreakingChangesAreCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, old, replacement, found string }{
		{"nothing", "mall.proto", "string sku = 1;\n  int64 quantity = 2;", "string sku = 1;\n  int64 quantity = 2;", ""},
		{"field added", "mall.proto", "string sku = 1;\n  int64 quantity = 2;", "string sku = 1;\n  int64 quantity = 2;\n  string unit = 3;", ""},
		{"field removed", "mall.proto", "string sku = 1;\n  int64 quantity = 2;", "string sku = 1;", "quantity"},
		{"field of another type", "mall.proto", "string sku = 1;\n  int64 quantity = 2;", "string sku = 1;\n  string quantity = 2;", "type"},
		{"field of another name", "mall.proto", "int64 amount = 1;", "int64 units = 1;", "units"},
		{"method removed", "keys.proto", "  rpc DestroyKey(DestroyKeyRequest) returns (DestroyKeyResponse);\n", "", "DestroyKey"},
		{"value removed", "orders.proto", "  ORDER_STATUS_CANCELED = 11;\n", "", "OrderStatus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			contract, err := filepath.Abs("contract.binpb")
			if err != nil {
				t.Fatal(err)
			}
			output, err := buf(t, c.file, c.old, c.replacement, "breaking", "--against", contract)
			if c.found == "" && err != nil {
				t.Errorf("refused: %v\n%s", err, output)
			}
			if c.found != "" && (err == nil || !strings.Contains(output, c.found)) {
				t.Errorf("not caught (%v):\n%s", err, output)
			}
		})
	}
}

// The sources are linted: a control that the linter runs with its rules on.
func TestLintIsOn(t *testing.T) {
	t.Parallel()
	output, err := buf(t, "keys.proto", "message DestroyKeyResponse {}", "message Destroyed {}\nmessage DestroyKeyResponse { int64 CamelCase = 1; }", "lint")
	if err == nil || !strings.Contains(output, "CamelCase") {
		t.Errorf("not caught (%v):\n%s", err, output)
	}
}
