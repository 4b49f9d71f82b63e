package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"example.org/souk/internal/control"
)

type catalogueCommand struct {
	Import catalogueImport `cmd:"" help:"Take products from a CSV file into the catalogue, or bring them up to date."`
	Export catalogueExport `cmd:"" help:"Write the catalogue as CSV."`
}

type catalogueImport struct {
	File    string `arg:"" help:"The file; - for the standard input."`
	DryRun  bool   `help:"Only say what would be done."`
	Verbose bool   `help:"Say of every row what was done, not only of the bad ones." short:"v"`
}

// Help implements kong's long help.
func (catalogueImport) Help() string {
	return `Example:
  souk catalogue export goods.csv
  souk catalogue import goods.csv --dry-run
  souk catalogue import goods.csv

The first line names the columns, in any order: product, name and price, and where wanted store,
sku, barcode, description, category, currency, restock_threshold and restock_quantity. What a product is
restocked by counts for those that are new. A product that is not in the file stays as it is, and
so does what a column that is left out would say.

Each row that cannot be taken is told with its line and the reason; the others are taken all the
same, and the exit code is 1. Run again, it changes only what is not yet as the file says.`
}

// Run imports a file.
func (c *catalogueImport) Run(ctx context.Context, env Env, r *root) error {
	data, err := readFile(c.File)
	if err != nil {
		return err
	}
	rows, err := readCatalogue(data)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", c.File, err)}
	}
	t := newTable(env.Stdout, r.Output)
	t.wide = true
	counts := map[string]int{}
	for _, batch := range batches(rows) {
		list, err := json.Marshal(batch)
		if err != nil {
			return err
		}
		a := control.Args{"rows": string(list)}
		if c.DryRun {
			a["dry"] = "yes"
		}
		if err := r.call(ctx, env, "catalogue import", a, func(row json.RawMessage) error {
			var o control.CatalogueOutcome
			if err := json.Unmarshal(row, &o); err != nil {
				return err
			}
			counts[o.Outcome]++
			if o.Outcome == control.RowBad || c.Verbose || c.DryRun && o.Outcome != control.RowUnchanged {
				return t.row(row)
			}
			return nil
		}); err != nil {
			return errors.Join(err, t.end())
		}
	}
	sum, err := json.Marshal(struct {
		Added     int `json:"added"`
		Changed   int `json:"changed"`
		Unchanged int `json:"unchanged"`
		Bad       int `json:"bad"`
	}{counts[control.RowAdded], counts[control.RowChanged], counts[control.RowUnchanged], counts[control.RowBad]})
	if err != nil {
		return err
	}
	if err := errors.Join(t.row(sum), t.end()); err != nil {
		return err
	}
	if n := counts[control.RowBad]; n > 0 {
		return fmt.Errorf("%d of %d rows are bad", n, len(rows))
	}
	return nil
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// batches cuts rows into pieces that one call can carry.
func batches(rows []control.CatalogueRow) (list [][]control.CatalogueRow) {
	const most = 128 << 10 // bytes of cells; JSON in JSON takes a few times as much
	size := most
	for _, row := range rows {
		n := 100
		for name, cell := range row.Cells {
			n += len(name) + len(cell)
		}
		if size += n; size > most {
			list, size = append(list, nil), n
		}
		list[len(list)-1] = append(list[len(list)-1], row)
	}
	return list
}

// readCatalogue reads a table of products. A row that cannot be read is one of the rows, with the reason; an error is about the table as
// a whole.
func readCatalogue(data []byte) (rows []control.CatalogueRow, err error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // of a spreadsheet
	var columns []string
	seen := seenRows{products: map[string]int{}, barcodes: map[[2]string]int{}}
	readRecords(data, func(line int, record []string, bad error) bool {
		if columns == nil && err == nil {
			columns, err = catalogueColumns(record, bad)
			return true
		}
		if err != nil {
			return true
		}
		row := control.CatalogueRow{Line: line, Cells: map[string]string{}}
		switch {
		case bad != nil:
			row.Bad = bad.Error()
		case len(record) != len(columns):
			row.Bad = fmt.Sprintf("there are %d columns, and the first line names %d", len(record), len(columns))
		}
		for i := range min(len(record), len(columns)) {
			row.Cells[columns[i]] = cellOf(columns[i], record[i], &row.Bad)
		}
		if row.Bad == "" {
			row.Bad = seen.clash(&row)
		}
		rows = append(rows, row)
		return bad == nil && len(record) == len(columns)
	})
	if columns == nil && err == nil {
		err = errors.New("there is no line that names the columns")
	}
	return rows, err
}

// seenRows are the lines of the rows before, by what only one row may say.
type seenRows struct {
	products map[string]int
	barcodes map[[2]string]int // by shop and barcode
}

// clash says which row before is about the same product or has the same barcode; "" where none is.
func (s seenRows) clash(row *control.CatalogueRow) string {
	product, code := row.Cells["product"], [2]string{row.Cells["store"], row.Cells["barcode"]}
	if first := s.products[product]; first > 0 {
		return fmt.Sprintf("line %d is about the same product", first)
	}
	if first := s.barcodes[code]; first > 0 && code[1] != "" {
		return fmt.Sprintf("line %d has the same barcode", first)
	}
	s.products[product], s.barcodes[code] = row.Line, row.Line
	return ""
}

// maxCatalogueCell is more than any cell of a good row has.
const maxCatalogueCell = 8 << 10

// cellOf returns what a cell says. Ids and numbers have no spaces around them.
func cellOf(column, cell string, bad *string) string {
	if column != "name" && column != "description" {
		cell = strings.TrimSpace(cell)
	}
	switch {
	case !utf8.ValidString(cell):
		*bad = column + " is not UTF-8"
	case len(cell) > maxCatalogueCell:
		*bad = column + " is too long"
	default:
		return cell
	}
	return ""
}

func catalogueColumns(record []string, bad error) ([]string, error) {
	if bad != nil {
		return nil, bad
	}
	known := control.CatalogueColumns()
	columns := make([]string, len(record))
	for i, name := range record {
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(known, columns[i]):
			return nil, fmt.Errorf("column %q is none of %s", name, strings.Join(known, ", "))
		case slices.Contains(columns[:i], columns[i]):
			return nil, fmt.Errorf("column %q stands there twice", name)
		}
	}
	for _, needed := range []string{"product", "name", "price"} {
		if !slices.Contains(columns, needed) {
			return nil, fmt.Errorf("there is no column %q", needed)
		}
	}
	return columns, nil
}

// readRecords calls each with every record and the line on which it begins, counted from 1; each says whether it has the form that it
// should. After a record that cannot be read, or that has another form and goes over several lines, it goes on with the next line, so
// that a quote that is left open takes no other record with it.
func readRecords(data []byte, each func(line int, record []string, bad error) bool) {
	skipped := 0
	skip := func(lines int) {
		for range lines {
			_, data, _ = bytes.Cut(data, []byte("\n"))
		}
		skipped += lines
	}
	for again := true; again; {
		again = false
		r := csv.NewReader(bytes.NewReader(data))
		r.FieldsPerRecord = -1
		for !again {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
				each(skipped+wrong.StartLine, nil, wrong.Err)
				skip(wrong.StartLine)
				again = true
				continue
			}
			line, _ := r.FieldPos(0)
			ends := bytes.Count(data[:r.InputOffset()], []byte("\n"))
			if !each(skipped+line, record, nil) && ends > line {
				skip(line)
				again = true
			}
		}
	}
}

type catalogueExport struct {
	File  string `arg:"" optional:"" help:"Where it is written; default the standard output."`
	Store string `help:"Only what a shop sells."`
}

// Help implements kong's long help.
func (catalogueExport) Help() string {
	return `Example:
  souk catalogue export goods.csv
  souk catalogue export --store corner | head

Products that were removed are left out. What souk catalogue import takes is what this writes.`
}

// Run exports the catalogue.
func (c *catalogueExport) Run(ctx context.Context, env Env, r *root) (err error) {
	out := env.Stdout
	if c.File != "" {
		file, failed := os.Create(c.File)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	w := csv.NewWriter(out)
	columns := control.CatalogueColumns()
	if err := w.Write(columns); err != nil {
		return err
	}
	err = r.call(ctx, env, "catalogue export", control.Args{"store": c.Store}, func(row json.RawMessage) error {
		var cells map[string]string
		if err := json.Unmarshal(row, &cells); err != nil {
			return err
		}
		record := make([]string, len(columns))
		for i, name := range columns {
			record[i] = cells[name]
		}
		return w.Write(record)
	})
	w.Flush()
	return errors.Join(err, w.Error())
}
