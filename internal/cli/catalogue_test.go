package cli

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.org/souk/internal/control"
	"pgregory.net/rapid"
)

func TestReadCatalogue(t *testing.T) {
	t.Parallel()
	const table = "\xef\xbb\xbfName, PRODUCT ,price,description\r\n" +
		"Pen, pen ,1.50,\"blue,\r\n or black\"\r\n" + // 2, over two lines
		"\r\n" +
		"Ink,ink,2\r\n" + // 5: too short
		"Quill,quill,\"3,x\r\n" + // 6: a quote that is left open
		"Paper,paper,4,\r\n" + // 7
		"Gl\"ue,glue,5,\r\n" + // 8: a quote in the midst
		"Chalk,chalk,6,white\r\n" + // 9
		"\xff,slate,7,\r\n" + // 10
		"Pen,pen,8,again\r\n" + // 11
		"End,end,9,\"last" // 12
	rows, err := readCatalogue([]byte(table))
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, r := range rows {
		got[r.Line] = r.Cells["product"] + ": " + r.Bad
	}
	want := map[int]string{
		2: "pen: ", 5: "ink: there are 3 columns, and the first line names 4", 6: ": " + csv.ErrQuote.Error(), 7: "paper: ",
		8: ": " + csv.ErrBareQuote.Error(), 9: "chalk: ", 10: "slate: name is not UTF-8", 11: "pen: line 2 is about the same product",
		12: ": " + csv.ErrQuote.Error(),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	coded, err := readCatalogue([]byte("product,name,price,barcode,store\na,A,1,77,s1\nb,B,1,77,s2\nc,C,1,77,s1\nd,D,1,,s1\ne,E,1,,s1\n"))
	if err != nil || len(coded) != 5 || coded[1].Bad+coded[3].Bad+coded[4].Bad != "" || coded[2].Bad != "line 2 has the same barcode" {
		t.Errorf("%+v %v", coded, err)
	}
	if d := rows[0].Cells["description"]; d != "blue,\n or black" {
		t.Errorf("the description is %q", d)
	}
	for table, reason := range map[string]string{
		"": "no line", "\n\n": "no line", "product;name;price\n": "is none of", "product,name\n": `no column "price"`,
		"product,name,price,name\n": "twice", "product,name,price,colour\n": "is none of", "\"product\n": "quote", "a\xff,b\n": "is none of",
	} {
		if rows, err := readCatalogue([]byte(table)); err == nil || len(rows) > 0 || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v %v", table, rows, err)
		}
	}
}

// However bad the lines between them are, good rows are read as they were written, each once and on its line. Red when what follows an
// open quote is lost.
func TestBadRowsLoseNoGoodOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var table bytes.Buffer
		table.WriteString("product,name,price,description\n")
		line := 2
		good := map[string]control.CatalogueRow{}
		for n := range rapid.IntRange(1, 12).Draw(rt, "rows") {
			if rapid.Bool().Draw(rt, "bad") {
				bad := rapid.SampledFrom([]string{`a"b,c,d,e`, `"open,c,d,e`, `x`, `a,b,c,d,e,f`, `"a"b,c,d,e`, `,,"`, "\xfe,\xff,1,"}).Draw(rt, "line")
				table.WriteString(bad + "\n")
				line++
				continue
			}
			// Text without a line's end: a row over two lines cannot be told from two bad ones behind an open quote.
			text := rapid.StringMatching(`[a-z ,;"'€]{0,12}`).Draw(rt, "text")
			id := fmt.Sprintf("p%d", n)
			w := csv.NewWriter(&table)
			if err := w.Write([]string{id, "n" + text, "1.50", text}); err != nil {
				rt.Fatal(err)
			}
			w.Flush()
			good[id] = control.CatalogueRow{Line: line, Cells: map[string]string{"product": id, "name": "n" + text, "price": "1.50", "description": text}}
			line++
		}
		rows, err := readCatalogue(table.Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		bad := 0
		for _, r := range rows {
			want, isGood := good[r.Cells["product"]]
			if !isGood {
				bad++
				continue
			}
			if !reflect.DeepEqual(r, want) {
				rt.Fatalf("read %+v, want %+v, in\n%s", r, want, table.String())
			}
			delete(good, r.Cells["product"])
		}
		if len(good) > 0 {
			rt.Fatalf("lost %v in\n%s", good, table.String())
		}
	})
}

// What one call carries is bounded, and nothing is left out or twice.
func TestBatches(t *testing.T) {
	t.Parallel()
	var rows []control.CatalogueRow
	for n := range 3000 {
		rows = append(rows, control.CatalogueRow{Line: n, Cells: map[string]string{"description": strings.Repeat("\"", n%4000)}})
	}
	line := 0
	list := batches(rows)
	for _, b := range list {
		size := 0
		for _, r := range b {
			if r.Line != line {
				t.Fatalf("line %d comes as %d", line, r.Line)
			}
			line++
			size += len(r.Cells["description"])
		}
		if size > 128<<10 {
			t.Errorf("a call carries %d bytes", size)
		}
	}
	if line != len(rows) || len(list) < 20 {
		t.Errorf("%d rows in %d calls", line, len(list))
	}
}
