package house

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// notes is the variable that has this test note persons in the directory where it runs until that fails.
const notes = "SOUK_TEST_NOTES"

// F3, F16: where the disk is full the list of the forgotten is as it was, and goes on when there is room. The disk is full by the limit of a process on the size
// of its files, which leaves a part of the record as a full disk does. Red when what was written of it stays.
func TestF16_TheListOnAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(notes) != "" {
		const data = "."
		for n := range 1000 {
			before, _ := os.ReadFile(filepath.Join(data, forgottenFile)) // none at first
			err := noteForgotten(data, fmt.Sprint("person-", n), time.Unix(int64(n), 0))
			after, readErr := os.ReadFile(filepath.Join(data, forgottenFile))
			if readErr != nil {
				t.Fatal(readErr)
			}
			if err == nil {
				continue
			}
			if !bytes.Equal(before, after) {
				t.Errorf("it failed by %q, and the list has %d bytes, not %d", err, len(after), len(before))
			}
			if n == 0 {
				t.Errorf("nobody was noted: %v", err)
			}
			return
		}
		t.Fatal("the disk is never full")
	}
	data := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	full := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -f 1 && exec "$0" -test.run='^TestF16_TheListOnAFullDisk$'`, self)
	full.Dir, full.Env = data, append(os.Environ(), notes+"=yes")
	if out, err := full.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := noteForgotten(data, "the-last", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(data, forgottenFile))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadForgotten(bytes.NewReader(text))
	if err != nil || !list.Has("person-0") || !list.Has("the-last") || len(list) != bytes.Count(text, []byte("\n")) {
		t.Errorf("%d are in the list of %d lines: %v", len(list), bytes.Count(text, []byte("\n")), err)
	}
}

// F3, F16: a list whose last line the power has cut off does not keep the mall from starting; whoever is forgotten next stands on a line of their own, and so does
// whoever follows one that lacks only its end. A line that is wrong and whole is refused. Red when a start is strict with the last line, when a torn line stays
// where somebody is noted after it, and when a record does not begin on a line of its own.
func TestF16_TheListAfterAPowerCut(t *testing.T) {
	t.Parallel()
	data, key := t.TempDir(), keyFile(t)
	path := filepath.Join(data, forgottenFile)
	var log bytes.Buffer
	run := func(do func(*House)) error {
		t.Helper()
		log.Reset()
		h, err := Open(t.Context(), Config{
			Logistics: "off", Data: data, HTTP: "127.0.0.1:0", Empty: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Payment: PaymentConfig{URL: "http://127.0.0.1:9", KeyFile: key}, // nothing listens there
		})
		if err != nil {
			t.Fatal(err)
		}
		err = h.Start(t.Context())
		if err == nil {
			do(h)
		}
		if err := h.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		return err
	}
	forget := func(person string) func(*House) {
		return func(h *House) {
			c := command.RegisterCustomer{Customer: person, Name: mall.Personal("sealed:v1:" + person + ":x")}
			if a, err := h.Do(t.Context(), c); err != nil || a.Err() != nil {
				t.Fatal(err, a.Err())
			}
			if err := h.Forget(t.Context(), person, backbone.WithID("forget-"+person)); err != nil {
				t.Error(err)
			}
		}
	}
	cut := func(by int) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, text[:len(text)-by], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	has := func(want ...string) {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		list, err := ReadForgotten(f)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for _, person := range want {
			if !list.Has(person) {
				t.Errorf("%s is not in the list", person)
			}
		}
		if err != nil || len(list) != len(want) {
			t.Errorf("%d are in the list, want %d: %v", len(list), len(want), err)
		}
	}
	begins := func(said bool, do func(*House)) {
		t.Helper()
		if err := run(do); err != nil {
			t.Fatalf("it does not start: %v", err)
		}
		if strings.Contains(log.String(), "not written whole") != said {
			t.Errorf("it says: %s", &log)
		}
	}
	begins(false, forget("amina"))
	begins(false, forget("bruno"))
	has("amina", "bruno")
	cut(30)
	begins(true, func(*House) {})
	begins(true, forget("chloe"))
	has("amina", "chloe")
	cut(1)
	begins(false, forget("dora"))
	has("amina", "chloe", "dora")
	cut(5)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\n"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := run(func(*House) {}); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a list with a wrong line: %v", err)
	}
}
