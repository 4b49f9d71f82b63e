package backbone_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
)

// damaged returns a reader of the tills' log in a copy of a database that was damaged behind its owner's back.
func damaged(t *testing.T, stored []byte, damage string) *backbone.Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := beside(t, path).ExecContext(t.Context(), damage); err != nil {
		t.Fatal(err)
	}
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: "tills"}}); err != nil {
		t.Fatal(err)
	}
	return backbone.NewReader("tills", store)
}

// The newest seals are checked without the rest: what they hold, what they follow, and that the end is the one that is known.
// Red for each of these that is left out.
func TestVerifyTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, tills(nil))
	var whole backbone.AuditReport
	for n := range 4 {
		w.take("a", 1, 2)
		w.await("the seal", func() (sealed bool) {
			var err error
			whole, err = w.Reader("tills").Verify(t.Context(), backbone.Seal{})
			return err == nil && whole.Records == int64(2*n+2)
		})
	}
	if whole.Seals < 4 {
		t.Fatalf("%d seals", whole.Seals)
	}
	w.end()
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := whole.Head
	other.Hash = "00"
	for _, c := range []struct {
		name, damage string
		kept         backbone.Seal
		seals        int
		says         string // the complaint; empty: there is none
	}{
		{"whole, one", ``, whole.Head, 1, ""},
		{"whole, two", ``, whole.Head, 2, ""},
		{"whole, all", ``, whole.Head, 1000, ""},
		{"whole, nothing known", ``, backbone.Seal{}, 1, ""},
		{"edited at the end", `UPDATE tills_bb_log SET data = replace(data, '2', '3') WHERE position = (SELECT max(position) FROM tills_bb_log WHERE version > 0)`, whole.Head, 1, "is not what was sealed"},
		{"edited before the end, not looked at", `UPDATE tills_bb_log SET data = replace(data, '1', '3') WHERE position = 1`, whole.Head, 1, ""},
		{"edited before the end", `UPDATE tills_bb_log SET data = replace(data, '1', '3') WHERE position = 1`, whole.Head, 1000, "is not what was sealed"},
		{"cut off", `DELETE FROM tills_bb_log WHERE position > 3; UPDATE tills_bb_head SET position = 3`, whole.Head, 1, "cut off"},
		{"another end is known", ``, other, 1, "rewritten"},
		{"a seal is gone", `DELETE FROM tills_bb_log WHERE id = (SELECT id FROM tills_bb_log WHERE type = 'backbone.Sealed.v1' ORDER BY position DESC LIMIT 1 OFFSET 1)`, whole.Head, 1, "does not follow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report, err := damaged(t, stored, c.damage).VerifyTail(t.Context(), c.kept, c.seals)
			tampered, ok := errors.AsType[*backbone.TamperError](err)
			if ok != (c.says != "") || err != nil && !ok || ok && !strings.Contains(tampered.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if c.says == "" && report.Seals != min(c.seals, whole.Seals) {
				t.Errorf("%d seals were checked", report.Seals)
			}
		})
	}
}

// D5: of many records under one seal the very first that is bad is named: an edited, a removed, a
// replaced one, and the last. Red when the marks are not compared.
func TestD5_TheBadRecordIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, tills(nil))
	w.take("a", 1, 2, 3, 4, 5, 6, 8, 9)
	w.end() // seals what was taken
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, damage string
		position     int64
		says         string
	}{
		{"edited", `UPDATE tills_bb_log SET data = replace(data, '4', '7') WHERE position = 4`, 4, "position 4: the record at 4 is not what was sealed"},
		{"two edited", `UPDATE tills_bb_log SET meta = '{}' WHERE position IN (3, 5)`, 3, "the record at 3 is not"},
		{"removed", `DELETE FROM tills_bb_log WHERE position = 4`, 4, "the record that followed position 3 is gone"},
		{"the first removed", `DELETE FROM tills_bb_log WHERE position = 1`, 1, "the record that followed position 0 is gone"},
		{"the last removed", `DELETE FROM tills_bb_log WHERE position = 8`, 8, "the record that followed position 7 is gone"},
		{"replaced", `UPDATE tills_bb_log SET id = 'other' WHERE position = 8`, 8, "the record at 8 is not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := damaged(t, stored, c.damage).Verify(t.Context(), backbone.Seal{})
			tampered, ok := errors.AsType[*backbone.TamperError](err)
			if !ok || tampered.Position != c.position || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want position %d, %q", err, c.position, c.says)
			}
		})
	}
}
