package api_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// change replaces a text of a file, which has it once.
type change struct{ file, old, replacement string }

// buf runs the tool for the protobuf sources on a copy of them with these changes.
func buf(t *testing.T, changes []change, args ...string) (output string, err error) {
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
	for _, c := range changes {
		path := filepath.Join(dir, "proto", "souk", "v1", c.file)
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, []byte(c.old)); n != 1 {
			t.Fatalf("%s has %q %d times, want once", c.file, c.old, n)
		}
		if err := os.WriteFile(path, bytes.Replace(source, []byte(c.old), []byte(c.replacement), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "../scripts/buf", append(args, dir)...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err = cmd.Run()
	return out.String(), err
}

// What breaks a program that speaks the released contract is refused, each change by name, and what only adds is not.
func TestBreakingChangesAreCaught(t *testing.T) {
	t.Parallel()
	contract, err := filepath.Abs("contract.binpb")
	if err != nil {
		t.Fatal(err)
	}
	breaking := []change{
		{"mall.proto", "int64 amount = 1;", "int64 units = 1;"},
		{"mall.proto", "  string sku = 1;\n  int64 quantity = 2;", "  string sku = 1;\n  string quantity = 2;"},
		{"keys.proto", "  rpc DestroyKey(DestroyKeyRequest) returns (DestroyKeyResponse);\n", ""},
		{"orders.proto", "  ORDER_STATUS_CANCELED = 11;\n", ""},
		{"stores.proto", "message FindProductRequest {\n  string sku_or_name = 1;", "message FindProductRequest {"},
	}
	output, err := buf(t, breaking, "breaking", "--against", contract)
	for _, found := range []string{`"amount"`, `"quantity" on message "Line"`, `"DestroyKey"`, `"OrderStatus"`, `"FindProductRequest"`} {
		if err == nil || !strings.Contains(output, found) {
			t.Errorf("not caught (%v): no %s in\n%s", err, found, output)
		}
	}
	adding := []change{
		{"mall.proto", "  string sku = 1;\n  int64 quantity = 2;", "  string sku = 1;\n  int64 quantity = 2;\n  string unit = 3;"},
		{"orders.proto", "  ORDER_STATUS_CANCELED = 11;\n", "  ORDER_STATUS_CANCELED = 11;\n  ORDER_STATUS_LOST = 13;\n"},
	}
	if output, err := buf(t, adding, "breaking", "--against", contract); err != nil {
		t.Errorf("refused: %v\n%s", err, output)
	}
}

// The sources are linted: a control that the linter runs with its rules on.
func TestLintIsOn(t *testing.T) {
	t.Parallel()
	output, err := buf(t, []change{{"keys.proto", "message DestroyKeyResponse {}", "message DestroyKeyResponse { int64 CamelCase = 1; }"}}, "lint")
	if err == nil || !strings.Contains(output, "CamelCase") {
		t.Errorf("not caught (%v):\n%s", err, output)
	}
}
