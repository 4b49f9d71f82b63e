package pgstore_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// TestRecordsAreReadInEveryFormat shows that a record is what was written in whichever way the server is asked, and that its parts are its
// own. Red when text is taken for the binary format, when two columns are exchanged, and when a record keeps the type of the one before.
func TestRecordsAreReadInEveryFormat(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	s := migrated(t, pgstore.Config{URL: url})
	var written []driver.Record
	for i := range int64(40) {
		r := event(fmt.Sprintf("stream/%d", i), fmt.Sprintf("id-%d", i), 1)
		r.Type, r.Time = fmt.Sprintf("test.Happened.v%d", 1+i/3), 1_700_000_000_000_000+i
		r.Data, r.Meta = fmt.Appendf(nil, `{"data":%d}`, i), fmt.Appendf(nil, `{"actor":"customer:C%d"}`, i)
		switch i {
		case 1:
			r.Stream = strings.Repeat("long/é", 100)
		case 2:
			r.Data, r.Meta = bytes.Repeat([]byte{0, 0xff, '\\'}, 100), []byte{}
		case 3:
			r.Kind, r.Ref, r.Target, r.Version, r.Sequence = driver.KindCommand, "ref-3", "stock", 0, 0
		}
		written = append(written, r)
	}
	tx, err := s.Begin(t.Context())
	must(t, err)
	must(t, tx.Apply(t.Context(), service, &driver.Writes{Records: written}))
	must(t, tx.Commit(t.Context()))
	for i := range written {
		written[i].Position = int64(i) + 1
	}
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		asked := migrated(t, pgstore.Config{URL: url + "&default_query_exec_mode=" + mode})
		got, err := asked.Read(t.Context(), service, driver.ReadQuery{})
		must(t, err)
		if len(got) != len(written) {
			t.Fatalf("%s: %d records, want %d", mode, len(got), len(written))
		}
		for i := range got {
			_ = append(got[i].Data, "overwritten"...)
			_ = append(got[i].Meta, "overwritten"...)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], written[i]) {
				t.Errorf("%s: got %+v, want %+v", mode, got[i], written[i])
			}
		}
	}
}
