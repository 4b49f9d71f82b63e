package store

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A catalogue is taken in from a file: each bad row is told with its line, the good ones are taken all the same, and the same file again
// changes nothing. What is exported is what is imported, into another mall too. Red when a bad row takes others with it, when a row is
// carried out twice, and when an export leaves a column out.
func TestCatalogueAsAFile(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	files := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var table strings.Builder
	table.WriteString("product,name,price,barcode,description,restock_threshold,restock_quantity\n")
	for n := range 400 {
		fmt.Fprintf(&table, "p%d,\"Thing, no. %d\",%d.50,400%d,\"It says \"\"%d\"\".\nTwice.\",5,20\n", n, n, n, n, n)
	}
	const good = 400
	bad := []string{"x,No price,,,,0,0", "a b,Spaces,1,,,0,0", "y,Below,-1,,,0,0", "z,Half a cent,1.005,,,0,0", "w,\"Open,1,,,0,0", "p7,Twice,1,,,0,0", "v,Code,1,4007,,0,0", "u,Short"}
	file := write("goods.csv", table.String()+strings.Join(bad, "\n")+"\nlast,Last,1.25,,,0,0\n")
	sum := func(args ...string) (told []map[string]any, sum string, code int) {
		out, code := souk(t, binary, dir, append([]string{"catalogue", "import", "-o", "jsonl"}, args...)...)
		for line := range strings.Lines(out) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			told = append(told, row)
		}
		last := told[len(told)-1]
		return told[:len(told)-1], fmt.Sprint(last["added"], last["changed"], last["unchanged"], last["bad"]), code
	}
	events := func() (n int) {
		for _, row := range rows(t, binary, dir, "event", "tail", "--service", "stores", "-n", "100000") {
			if row["kind"] == "event" {
				n++
			}
		}
		return n
	}
	before := events()
	if told, s, code := sum(file, "--dry-run"); s != fmt.Sprint(good+1, 0, 0, len(bad)) || code != 1 || len(told) != good+1+len(bad) {
		t.Errorf("a dry run: %s, exit %d, %d lines", s, code, len(told))
	}
	if n := events(); n != before {
		t.Errorf("a dry run led to %d events", n-before)
	}
	told, s, code := sum(file)
	if s != fmt.Sprint(good+1, 0, 0, len(bad)) || code != 1 || len(told) != len(bad) {
		t.Errorf("the first time: %s, exit %d", s, code)
	}
	for i, row := range told {
		if row["outcome"] != "bad" || row["detail"] == "" || fmt.Sprint(row["line"]) != fmt.Sprint(2+2*good+i) {
			t.Errorf("of %q it is told %v", bad[i], row)
		}
	}
	before = events()
	if _, s, code = sum(file); s != fmt.Sprint(0, 0, good+1, len(bad)) || code != 1 {
		t.Errorf("the second time: %s, exit %d", s, code)
	}
	if n := events(); n != before {
		t.Errorf("the second time led to %d events", n-before)
	}

	again := write("again.csv", "barcode,price,name,product,category\n77,8.50,\"Thing, no. 7\",p7,Tea\n4008,8.50,\"Thing, no. 8\",p8,\n,9.99,Mine,PRODUCT_001,\n77,1,New,n1,\n4009,1,New,n2,\n")
	if told, s, code := sum(again); s != "0 2 1 2" || code != 1 {
		t.Errorf("changes: %s, exit %d: %v", s, code, told)
	}
	exported := filepath.Join(files, "out.csv")
	if out, code := souk(t, binary, dir, "catalogue", "export", exported); code != 0 || out != "" {
		t.Errorf("export: %d %s", code, out)
	}
	records := m.table(exported)
	if len(records) != 1+3+good+1 || strings.Join(records["p7"], "|") != "p7|main-hall|p7|77|Thing, no. 7|It says \"7\".\nTwice.|Tea|8.50|EUR|5|20" {
		t.Errorf("%d records: %q", len(records), records["p7"])
	}
	if _, s, code := sum(exported); s != fmt.Sprint(0, 0, good+4, 0) || code != 0 {
		t.Errorf("what was exported: %s, exit %d", s, code)
	}
	m.holds()
	m.stop()

	// Another mall, which runs nowhere while it takes the file in.
	other := t.TempDir()
	n := start(t, binary, other, nil)
	n.souk("store", "create", "main-hall", "--name", "Main hall")
	n.souk("wait", "--idle") // it has a place
	if out := n.souk("store", "place", "main-hall", "40", "20"); !strings.Contains(out, "4000") {
		t.Errorf("a place: %s", out)
	}
	if out, code := souk(t, binary, other, "store", "place", "nowhere", "1", "1"); code == 0 {
		t.Errorf("a place for nothing: %s", out)
	}
	n.stop()
	if out, code := souk(t, binary, other, "catalogue", "import", exported); code != 0 || !strings.Contains(out, fmt.Sprint(good+4)) {
		t.Errorf("into another mall: exit %d, %s", code, out)
	}
	moved := filepath.Join(files, "moved.csv")
	if _, code := souk(t, binary, other, "catalogue", "export", moved); code != 0 {
		t.Fatal(code)
	}
	if a, b := m.file(exported), m.file(moved); a != b {
		t.Errorf("the other mall has %d bytes of catalogue, the first %d", len(b), len(a))
	}
	for name, text := range map[string]string{"other columns": "product;name;price\n", "nothing": "", "no price": "product,name\n"} {
		if out, code := souk(t, binary, other, "catalogue", "import", write("wrong.csv", text)); code != 2 || out != "" {
			t.Errorf("%s: exit %d, %s", name, code, out)
		}
	}
}

func (m *mall) file(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

// table reads a CSV file, by the first cell of each record.
func (m *mall) table(path string) map[string][]string {
	m.t.Helper()
	all, err := csv.NewReader(strings.NewReader(m.file(path))).ReadAll()
	if err != nil {
		m.t.Fatal(err)
	}
	records := map[string][]string{}
	for _, r := range all {
		records[r[0]] = r
	}
	return records
}
