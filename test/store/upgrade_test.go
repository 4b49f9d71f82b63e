package store

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/mall/command"
)

// A history is what a mall of an earlier version kept at the moment of its kill: its database as SQL, its seals, the
// ledger of its payment stand-in. The keys of its people are not kept, so nobody can be read out of it. Orders are named
// after the state in which they must end; ENDED may end in any.
const histories = "testdata/histories"

var record = flag.String("record", "", "keep a history of this version, with TestRecordHistory")

// TestHistories: a mall goes on where an earlier version was killed. Sagas that were in flight come to their end, what was
// read is read again, and everything that must hold holds.
func TestHistories(t *testing.T) {
	t.Parallel()
	versions, err := os.ReadDir(histories)
	if err != nil || len(versions) == 0 {
		t.Fatalf("no history is kept: %v", err)
	}
	binary := program(t)
	for _, v := range versions {
		t.Run(v.Name(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			restore(t, filepath.Join(histories, v.Name()), dir)
			before := statuses(t, dir)
			if before["PENDING"] == 0 || before["APPROVED"] == 0 || before["CANCELLING"] == 0 || before["BACKORDERED"] == 0 {
				t.Errorf("the history holds no sagas in flight: %v", before)
			}
			m := start(t, binary, dir, nil, patient...)
			k := m.holdsRebuilt()
			if len(k.status) < 15 {
				t.Errorf("%d orders came out of the history", len(k.status))
			}
			for id, status := range k.status {
				want, _, _ := strings.Cut(id, "-")
				if ended := status.Terminal() || status == "approved"; !strings.EqualFold(string(status), want) && (want != "ENDED" || !ended) {
					t.Errorf("order %s is %s", id, status)
				}
			}
			// It takes orders as ever.
			m.begin()
			m.must(202, "POST", "/order", order("APPROVED-new", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
			m.awaitStatus("APPROVED-new", "APPROVED")
			m.holdsRebuilt()
		})
	}
}

// patient lets orders of a history wait however old it is.
var patient = []string{"--order-patience", "876000h"}

// statuses counts the orders of a database by the state in which their last event left them, from the log alone.
func statuses(t *testing.T, dir string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, row := range rowsOf(t, filepath.Join(dir, "souk.db"), `SELECT type, stream FROM orders_bb_log l WHERE stream LIKE 'order/%' AND version =
		(SELECT MAX(version) FROM orders_bb_log WHERE stream = l.stream)`) {
		name, _, _ := strings.Cut(strings.TrimPrefix(row, "souk.orders.Order"), ".")
		name = strings.ToUpper(name)
		if name == "PLACED" || name == "STOCKRESERVED" {
			name = "PENDING"
		}
		count[name]++
	}
	return count
}

func restore(t *testing.T, history, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(history)); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(dir, "souk.sql"))
	if err != nil {
		t.Fatal(err)
	}
	on(t, dir, string(script))
}

// TestRecordHistory keeps a history: go test ./test/store -run TestRecordHistory -record 0.1.0.
func TestRecordHistory(t *testing.T) {
	if *record == "" {
		return // only on demand: what is kept is compared with by every later version
	}
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil, patient...)
	m.seed()
	small := item{"PRODUCT_002", 5, 1}
	waiting := func(body string) string {
		return strings.Replace(body, `"orderId"`, `"waitForStock":true,"orderId"`, 1)
	}
	place := func(body string) { t.Helper(); m.must(202, "POST", "/order", body) }
	cancel := func(id string) { t.Helper(); m.must(202, "POST", "/order/"+id+"/cancel", `{}`) }
	for i := range 6 {
		m.authorize(fmt.Sprintf("PAY-%d", i), "CUSTOMER_001", "5.00")
	}
	m.idle()

	// What has ended.
	place(order("APPROVED-1", "CUSTOMER_001", small))
	place(order("APPROVED-2", "CUSTOMER_002", item{"PRODUCT_001", 10, 2}, small))
	place(paidBy("PAY-0", order("APPROVED-3", "CUSTOMER_001", small)))
	place(order("REJECTED-1", "CUSTOMER_001", item{"Laptop", 1200, 50}))
	place(paidBy("PAY-1", order("REJECTED-2", "CUSTOMER_002", small))) // another customer's payment
	place(order("CANCELED-1", "CUSTOMER_001", small))
	cancel("CANCELED-1")
	place(waiting(order("BACKORDERED-1", "CUSTOMER_001", item{"Laptop", 1200, 50})))
	place(waiting(order("CANCELED-2", "CUSTOMER_001", item{"Laptop", 1200, 50})))
	m.awaitStatus("CANCELED-2", "BACKORDERED")
	cancel("CANCELED-2")
	m.idle()

	// What stands at each step, as the service that it waits for is away.
	reached := func(id, command string) {
		t.Helper()
		await(t, id+" waits for "+command, func() bool {
			return rowsOf(t, filepath.Join(dir, "souk.db"), `SELECT COUNT(*) FROM orders_bb_log WHERE type = '`+command+`' AND CAST(meta AS TEXT) LIKE '%/`+id+`#%'`)[0] != "0"
		})
	}
	m.souk("service", "pause", "payments")
	for i := range 3 {
		id := fmt.Sprintf("ENDED-at-payments-%d", i)
		place(paidBy(fmt.Sprintf("PAY-%d", i+2), order(id, "CUSTOMER_001", small)))
		reached(id, command.ConfirmPaymentV1)
	}
	place(paidBy("PAY-5", order("CANCELED-at-payments", "CUSTOMER_001", small)))
	reached("CANCELED-at-payments", command.ConfirmPaymentV1)
	cancel("CANCELED-at-payments")
	reached("CANCELED-at-payments", command.VoidPaymentV1)
	m.souk("service", "pause", "inventory")
	for _, id := range []string{"APPROVED-at-inventory-0", "APPROVED-at-inventory-1", "CANCELED-at-inventory"} {
		place(order(id, "CUSTOMER_002", small))
		reached(id, command.ReserveStockV1)
	}
	cancel("CANCELED-at-inventory")
	reached("CANCELED-at-inventory", command.ReleaseStockV1)
	m.souk("service", "pause", "customers")
	for i := range 3 {
		place(order(fmt.Sprintf("APPROVED-at-customers-%d", i), "CUSTOMER_001", small))
	}
	m.proc.Signal(syscall.SIGKILL)
	m.proc.Wait()

	kept := filepath.Join(histories, *record)
	for _, d := range []string{kept, filepath.Join(kept, "payment-stand-in")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "seal-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(dir, "payment-stand-in", "ledger.jsonl")) {
		name, err := filepath.Rel(dir, f)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(kept, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	on(t, dir, `UPDATE keys_people SET secret = '', destroyed = 1`)
	if err := os.WriteFile(filepath.Join(kept, "souk.sql"), dump(t, filepath.Join(dir, "souk.db")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dump writes a database as SQL: tables and indexes, each followed by its rows.
func dump(t *testing.T, file string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PRAGMA journal_mode=WAL;\n")
	for _, table := range rowsOf(t, file, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`) {
		b.WriteString(rowsOf(t, file, `SELECT sql FROM sqlite_master WHERE type = 'table' AND name = '`+table+`'`)[0] + ";\n")
		columns := rowsOf(t, file, `SELECT name FROM pragma_table_info('`+table+`') ORDER BY cid`)
		var quoted []string
		for _, c := range columns {
			quoted = append(quoted, `quote("`+c+`")`)
		}
		rows := rowsOf(t, file, `SELECT `+strings.Join(quoted, ` || ', ' || `)+` FROM "`+table+`"`)
		slices.Sort(rows)
		if len(rows) > 0 {
			fmt.Fprintf(&b, "INSERT INTO %q VALUES\n(%s);\n", table, strings.Join(rows, "),\n("))
		}
	}
	for _, index := range rowsOf(t, file, `SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`) {
		b.WriteString(index + ";\n")
	}
	if sequences := rowsOf(t, file, `SELECT quote(name) || ', ' || seq FROM sqlite_sequence ORDER BY name`); len(sequences) > 0 {
		b.WriteString("DELETE FROM sqlite_sequence;\n")
		for _, row := range sequences {
			fmt.Fprintf(&b, "INSERT INTO sqlite_sequence VALUES (%s);\n", row)
		}
	}
	return b.Bytes()
}
