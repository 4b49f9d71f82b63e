package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"example.org/souk/mall/stores"
)

// The columns of a catalogue as a table.
const (
	colProduct     = "product"
	colStore       = "store"
	colSKU         = "sku"
	colBarcode     = "barcode"
	colName        = "name"
	colDescription = "description"
	colCategory    = "category"
	colPrice       = "price"
	colCurrency    = "currency"
	colThreshold   = "restock_threshold"
	colRestock     = "restock_quantity"
)

// CatalogueColumns lists them in the order in which they are exported.
func CatalogueColumns() []string {
	return []string{colProduct, colStore, colSKU, colBarcode, colName, colDescription, colCategory, colPrice, colCurrency, colThreshold, colRestock}
}

// CatalogueRow is a line of a table to import. A column that the table does not have is not among its cells.
type CatalogueRow struct {
	Line  int               `json:"line"`
	Cells map[string]string `json:"cells"`
	Bad   string            `json:"bad,omitempty"` // why it cannot be read
}

// What becomes of a row.
const (
	RowAdded     = "added"
	RowChanged   = "changed"
	RowUnchanged = "unchanged"
	RowBad       = "bad"
)

// CatalogueOutcome says what became of a row, or would.
type CatalogueOutcome struct {
	Line    int    `json:"line"`
	Product string `json:"product"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"` // what is changed, or why it is bad
}

// atOnce bounds the rows that are carried out at the same time: their commands share commits.
const atOnce = 32

// importCatalogue makes the catalogue hold the products of the rows. A row that is bad leaves the others alone, and one that asks for
// what is so already changes nothing. With "dry" it only says what it would do.
func importCatalogue(ctx context.Context, h *house.House, a Args, emit Emit) error {
	var rows []CatalogueRow
	if err := json.Unmarshal([]byte(a["rows"]), &rows); err != nil {
		return fmt.Errorf("rows: %w", err)
	}
	outcomes := make([]CatalogueOutcome, len(rows))
	var wait sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i, row := range rows {
		outcome, commands := judge(ctx, h, row)
		outcomes[i] = outcome
		if a["dry"] != "" || len(commands) == 0 {
			continue
		}
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			for _, c := range commands {
				if err := do(ctx, h, a, c); err != nil {
					outcomes[i].Outcome, outcomes[i].Detail = RowBad, err.Error()
					return
				}
			}
		})
	}
	wait.Wait()
	for _, o := range outcomes {
		if err := emit(o); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge says what a row asks for beyond what is so, and by which commands that is done.
func judge(ctx context.Context, h *house.House, row CatalogueRow) (CatalogueOutcome, []command.Command) {
	outcome := CatalogueOutcome{Line: row.Line, Product: row.Cells[colProduct]}
	kind, details, commands, err := compare(ctx, h, row)
	for _, c := range commands {
		err = cmp.Or(err, c.Validate())
	}
	if err != nil {
		outcome.Outcome, outcome.Detail = RowBad, err.Error()
		return outcome, nil
	}
	outcome.Outcome, outcome.Detail = kind, strings.Join(details, ", ")
	return outcome, commands
}

func compare(ctx context.Context, h *house.House, row CatalogueRow) (kind string, details []string, commands []command.Command, err error) {
	wanted, known, err := wantedProduct(ctx, h, row)
	if err != nil {
		return "", nil, nil, err
	}
	if wanted.Barcode != known.Barcode {
		if err := barcodeFree(ctx, h, wanted); err != nil {
			return "", nil, nil, err
		}
	}
	if known.Product == "" {
		return RowAdded, []string{wanted.Price.String()}, []command.Command{wanted}, nil
	}
	if wanted.Name != known.Name || wanted.Description != known.Description {
		details = append(details, "name or description")
		commands = append(commands, command.RebrandProduct{Product: wanted.Product, Name: wanted.Name, Description: wanted.Description})
	}
	if wanted.Barcode != known.Barcode {
		details = append(details, fmt.Sprintf("barcode %q to %q", known.Barcode, wanted.Barcode))
		commands = append(commands, command.AssignBarcode{Product: wanted.Product, Barcode: wanted.Barcode})
	}
	if wanted.Category != known.Category {
		details = append(details, fmt.Sprintf("category %q to %q", known.Category, wanted.Category))
		commands = append(commands, command.CategorizeProduct{Product: wanted.Product, Category: wanted.Category})
	}
	switch {
	case wanted.Price.Amount > known.Price.Amount:
		commands = append(commands, command.IncreasePrice{Product: wanted.Product, Price: wanted.Price})
	case wanted.Price.Amount < known.Price.Amount:
		commands = append(commands, command.DecreasePrice{Product: wanted.Product, Price: wanted.Price})
	}
	if wanted.Price != known.Price {
		details = append(details, fmt.Sprintf("price %s to %s", known.Price, wanted.Price))
	}
	if len(commands) == 0 {
		return RowUnchanged, nil, nil, nil
	}
	return RowChanged, details, commands, nil
}

// wantedProduct reads the cells of a row. What they say nothing of is as it is known of the product, or the usual for a new one.
func wantedProduct(ctx context.Context, h *house.House, row CatalogueRow) (c command.AddProduct, known stores.Product, err error) {
	if row.Bad != "" {
		return c, known, errors.New(row.Bad)
	}
	cell := row.Cells
	c.Product, c.Name = cell[colProduct], cell[colName]
	if err := mall.ValidID(c.Product); err != nil {
		return c, known, fmt.Errorf("product: %w", err)
	}
	if known, _, err = stores.Get(ctx, h.Reader("stores"), c.Product); err != nil {
		return c, known, err
	}
	c.SKU = cmp.Or(cell[colSKU], known.SKU, c.Product)
	c.Barcode, c.Description, c.Category = known.Barcode, known.Description, known.Category
	for name, field := range map[string]*string{colBarcode: &c.Barcode, colDescription: &c.Description, colCategory: &c.Category} {
		if text, said := cell[name]; said {
			*field = text
		}
	}
	if c.Price, err = mall.ParseMoney(cell[colPrice], cmp.Or(cell[colCurrency], known.Price.Currency, h.Currency())); err != nil {
		return c, known, fmt.Errorf("price %q: %w", cell[colPrice], err)
	}
	for name, field := range map[string]*int64{colThreshold: &c.RestockThreshold, colRestock: &c.RestockQuantity} {
		if *field, err = strconv.ParseInt(cmp.Or(cell[name], "0"), 10, 64); err != nil {
			return c, known, fmt.Errorf("%s %q is not a whole number", name, cell[name])
		}
	}
	if c.Store, err = shopOf(ctx, h, cmp.Or(cell[colStore], known.Store)); err != nil {
		return c, known, err
	}
	return c, known, cmp.Or(sameProduct(known, c), c.Validate())
}

// shopOf returns the shop that is named, which must be there, or the only one.
func shopOf(ctx context.Context, h *house.House, name string) (string, error) {
	if name == "" {
		list, err := stores.ListStores(ctx, h.Reader("stores"), "", false, 2)
		if err == nil && len(list) != 1 {
			err = errors.New("store: name one of the shops")
		}
		if err != nil {
			return "", err
		}
		return list[0].Store, nil
	}
	if err := mall.ValidID(name); err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	_, found, err := stores.GetStore(ctx, h.Reader("stores"), name)
	if err == nil && !found {
		err = fmt.Errorf("store: there is no shop %q", name)
	}
	return name, err
}

// sameProduct refuses what a product that is there cannot become.
func sameProduct(known stores.Product, wanted command.AddProduct) error {
	switch {
	case known.Product == "":
		return nil
	case known.Removed:
		return errors.New("the product was taken out of the catalogue for good")
	case known.Store != wanted.Store:
		return fmt.Errorf("store: the product is sold by %s", known.Store)
	case known.SKU != wanted.SKU:
		return fmt.Errorf("sku: the product keeps its SKU %s", known.SKU)
	case known.Price.Currency != wanted.Price.Currency:
		return fmt.Errorf("currency: the product keeps its currency %s", known.Price.Currency)
	}
	return nil
}

// barcodeFree refuses a barcode by which a gate of the shop knows another product.
func barcodeFree(ctx context.Context, h *house.House, wanted command.AddProduct) error {
	if err := mall.ValidID(wanted.Barcode); err != nil {
		return nil //nolint:nilerr // there is none, or Validate says what is wrong with it
	}
	p, found, err := stores.FindBarcode(ctx, h.Reader("stores"), wanted.Store, wanted.Barcode)
	if err == nil && found && p.Product != wanted.Product {
		err = fmt.Errorf("barcode: %s has it", p.Product)
	}
	return err
}

// exportCatalogue lists the products that are not removed, as importCatalogue takes them. What they are restocked by is what they came
// into the catalogue with; what inventory was told later is its own.
func exportCatalogue(ctx context.Context, h *house.House, a Args, emit Emit) error {
	r := h.Reader("stores")
	f := stores.Filter{Store: a["store"]}
	for {
		list, err := stores.List(ctx, r, f, 500)
		if err != nil {
			return err
		}
		for _, p := range list {
			var added event.ProductAdded
			first, err := r.Log(ctx, backbone.ReadQuery{Stream: "product/" + p.Product, Kinds: backbone.EventKinds(), Limit: 1})
			if err != nil {
				return err
			}
			if len(first) == 0 || json.Unmarshal(first[0].Data, &added) != nil {
				return fmt.Errorf("product %s does not begin with what it came with", p.Product)
			}
			if err := emit(map[string]string{
				colProduct: p.Product, colStore: p.Store, colSKU: p.SKU, colBarcode: p.Barcode, colName: p.Name, colDescription: p.Description, colCategory: p.Category,
				colPrice: p.Price.Decimal(), colCurrency: p.Price.Currency,
				colThreshold: strconv.FormatInt(added.RestockThreshold, 10), colRestock: strconv.FormatInt(added.RestockQuantity, 10),
			}); err != nil {
				return err
			}
			f.After = p.Product
		}
		if len(list) < 500 {
			return nil
		}
	}
}
