package mall_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

var update = flag.Bool("update", false, "write the samples that are missing; a sample that exists is frozen and stays")

// word is an event or command: the type under its wire name, and the folder that declares it.
type word struct {
	wire   string
	folder string
	of     reflect.Type
}

func vocabulary() []word {
	var words []word
	for _, e := range event.All() {
		words = append(words, word{e.EventType(), "event", reflect.TypeOf(e)})
	}
	for _, c := range command.All() {
		words = append(words, word{c.CommandType(), "command", reflect.TypeOf(c)})
	}
	return words
}

func (w word) sample() string { return filepath.Join(w.folder, "testdata", w.wire+".json") }

func (w word) more() string { return filepath.Join(w.folder, "testdata", w.wire+".more.json") }

func TestWireNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, w := range vocabulary() {
		if seen[w.wire] {
			t.Errorf("%s is listed twice", w.wire)
		}
		seen[w.wire] = true
		parts := strings.Split(w.wire, ".")
		if len(parts) != 4 || parts[0] != "souk" || parts[2] != w.of.Name() || parts[3] != "v1" {
			t.Errorf("%s: want souk.<service>.%s.v1", w.wire, w.of.Name())
			continue
		}
		source, err := os.ReadFile(filepath.Join(w.folder, parts[1]+".go"))
		if err != nil {
			t.Errorf("%s: no file of its service: %v", w.wire, err)
		} else if !bytes.Contains(source, []byte("\ntype "+w.of.Name()+" struct {")) {
			t.Errorf("%s is not declared in the file of its service", w.wire)
		}
	}
}

// Every struct that is declared stands in the catalogue: a type outside it would have no contract and no sample.
func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, w := range vocabulary() {
		listed[w.folder+"."+w.of.Name()] = true
	}
	declaration := regexp.MustCompile(`(?m)^type (\w+) struct`)
	for _, folder := range []string{"event", "command"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range declaration.FindAllSubmatch(source, -1) {
				if name := folder + "." + string(found[1]); !listed[name] {
					t.Errorf("%s: %s is missing in All", file, name)
				}
			}
		}
	}
}

// later are the fields that came to a type when its sample was frozen already. The sample stays, and shows that what was written
// without them is read as ever; a second one, <wire>.more.json, has them.
var later = []string{
	"Item.Store", "Item.StoreName", "Item.PriceVersion",
	"OrderPlaced.Basket", "OrderPlaced.WhenShort", "PlaceOrder.Basket", "PlaceOrder.WhenShort",
	"OrderShort.WhenShort", "OrderCollected.Lines", "OrderCollected.Missing", "OrderCollected.Also",
	"StockDiscrepancy.Order", "CapturePayment.Amount", "PaymentCaptured.Freed",
	"ScanCard.Taken", "ScanCard.Left", "ScanExit.Taken", "CustomerArrived.At", "CustomerDeparted.At", "WelcomeShown.Arrived",
	"CustomerRegistered.Tell", "ContactChanged.Tell", "RegisterCustomer.Tell", "ChangeContact.Tell",
	"ProductAdded.Category", "AddProduct.Category", "OrderReadied.Until",
}

// grown are the types that have such fields, of their own or within, and were made before them.
var grown = []string{
	"OrderPlaced", "OrderShort", "OrderCollected", "StockDiscrepancy", "PaymentCaptured", "PlaceOrder", "CapturePayment",
	"CustomerRegistered", "ContactChanged", "RegisterCustomer", "ChangeContact",
	"ScanCard", "ScanExit", "CustomerArrived", "CustomerDeparted", "WelcomeShown", "ProductAdded", "AddProduct", "OrderReadied",
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, w := range vocabulary() {
		known[w.sample()] = true
		t.Run(w.folder+"/"+w.wire, func(t *testing.T) {
			old := slices.Contains(grown, w.of.Name())
			if err := w.checkSample(w.sample(), old); err != nil {
				t.Error(err)
			}
			if !old {
				return
			}
			if err := w.checkSample(w.more(), false); err != nil {
				t.Errorf("with the fields that came later: %v", err)
			}
		})
		if slices.Contains(grown, w.of.Name()) {
			known[w.more()] = true
		}
	}
	for _, folder := range []string{"event", "command"} {
		files, err := os.ReadDir(filepath.Join(folder, "testdata"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if path := filepath.Join(folder, "testdata", file.Name()); !known[path] {
				t.Errorf("%s is the sample of no type", path)
			}
		}
	}
}

// checkSample reads a sample and writes it again; old says that it was frozen before the later fields came.
func (w word) checkSample(path string, old bool) error {
	stored, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *update {
		if stored, err = w.imagine(); err == nil {
			err = os.WriteFile(path, stored, 0o644)
		}
	}
	if err != nil {
		return err
	}
	value := reflect.New(w.of)
	strict := json.NewDecoder(bytes.NewReader(stored))
	strict.DisallowUnknownFields()
	if err := strict.Decode(value.Interface()); err != nil {
		return err
	}
	again, err := json.MarshalIndent(value.Interface(), "", "  ")
	if err != nil {
		return err
	}
	if again = append(again, '\n'); !bytes.Equal(again, stored) {
		return fmt.Errorf("the type no longer writes what it wrote:\n%s", again)
	}
	if err := covered(w.of.Name(), value.Elem(), old); err != nil {
		return err
	}
	if c, ok := value.Elem().Interface().(command.Command); ok {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("invalid sample: %w", err)
		}
		if err := mall.ValidID(c.Stream()); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}

	newer := append([]byte(`{"laterField": {"of": ["a", "newer", "writer"]},`), bytes.TrimPrefix(stored, []byte("{"))...)
	tolerant := reflect.New(w.of)
	if err := json.Unmarshal(newer, tolerant.Interface()); err != nil {
		return fmt.Errorf("with a field of a newer writer: %w", err)
	}
	if !reflect.DeepEqual(tolerant.Interface(), value.Interface()) {
		return errors.New("a field of a newer writer changed the others")
	}
	return nil
}

// covered refuses zero values: a field that a sample leaves out is a field that nobody would miss. In an old sample a later
// field is zero, and nothing else.
func covered(path string, v reflect.Value, old bool) error {
	if v.IsZero() {
		return fmt.Errorf("%s is zero in the sample", path)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			if old && slices.Contains(later, v.Type().Name()+"."+field) {
				if !v.Field(i).IsZero() {
					return fmt.Errorf("%s.%s came later than the sample", path, field)
				}
				continue
			}
			if err := covered(path+"."+field, v.Field(i), old); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return fmt.Errorf("%s is empty in the sample", path)
		}
		for i := range v.Len() {
			if err := covered(fmt.Sprintf("%s[%d]", path, i), v.Index(i), old); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	pens = mall.Item{
		Product: "PRODUCT_001", SKU: "PRODUCT_001", Name: "Fountain pen", Price: mall.Money{Amount: 1000, Currency: "EUR"}, Quantity: 3,
		Store: "STORE_001", StoreName: "Paper & Ink", PriceVersion: 2,
	}
	ink = mall.Item{
		Product: "PRODUCT_002", SKU: "PRODUCT_002", Name: "Ink, blue", Price: mall.Money{Amount: 500, Currency: "EUR"}, Quantity: 2,
		Store: "STORE_001", StoreName: "Paper & Ink", PriceVersion: 1,
	}
)

// imagined has a realistic value for every field, by Type.Field or Field.
var imagined = map[string]any{
	"Amount": mall.Money{Amount: 4000, Currency: "EUR"},
	"Total":  mall.Money{Amount: 4000, Currency: "EUR"},
	"Price":  mall.Money{Amount: 1000, Currency: "EUR"},
	"Freed":  mall.Money{Amount: 500, Currency: "EUR"},

	"PriceIncreased.Price": mall.Money{Amount: 1150, Currency: "EUR"},
	"PriceDecreased.Price": mall.Money{Amount: 899, Currency: "EUR"},

	"Customer":       "CUSTOMER_001",
	"Order":          "ORDER_001",
	"Message":        "72029ae3-9876-4d2f-a0ae-aaee86b8ec34",
	"Payment":        "PAYMENT_001",
	"Invoice":        "INVOICE_001",
	"Product":        "PRODUCT_001",
	"Store":          "STORE_001",
	"Visit":          "VISIT_001",
	"Card":           "4006381333931",
	"SKU":            "PRODUCT_001",
	"Barcode":        "4006381333931",
	"Location":       "main",
	"Notification":   "01JB2Q7T8Z4N5X6Y7W8V9U0TSR",
	"InventoryEvent": "01JB2Q7T8Z4N5X6Y7W8V9U0TSQ",

	"Email": mall.Personal("v1.Q1VTVE9NRVJfMDAx.mail0Zk3rTq9"),
	"SMS":   mall.Personal("v1.Q1VTVE9NRVJfMDAx.text1Yh7pLs2"),
	"Name":  "Fountain pen",

	"CustomerRegistered.Name": mall.Personal("v1.Q1VTVE9NRVJfMDAx.name5Kd8vBn4"),
	"ContactChanged.Name":     mall.Personal("v1.Q1VTVE9NRVJfMDAx.name6Ls1wCm7"),
	"RegisterCustomer.Name":   mall.Personal("v1.Q1VTVE9NRVJfMDAx.name5Kd8vBn4"),
	"ChangeContact.Name":      mall.Personal("v1.Q1VTVE9NRVJfMDAx.name6Ls1wCm7"),
	"StoreCreated.Name":       "Paper & Ink",
	"StoreRebranded.Name":     "Ink & Paper",
	"CreateStore.Name":        "Paper & Ink",
	"RebrandStore.Name":       "Ink & Paper",

	"Description": "Iridium nib, refillable.",
	"Template":    "order_approved",
	"Channel":     event.ChannelEmail,
	"Reason":      "asked for by the customer",

	"OrderRejected.Reason":      mall.ReasonOutOfStock,
	"RejectOrder.Reason":        mall.ReasonOutOfStock,
	"StockReleased.Reason":      mall.ReasonOrderCanceled,
	"ReleaseStock.Reason":       mall.ReasonOrderCanceled,
	"StockAdjusted.Reason":      "counted on Friday",
	"AdjustStock.Reason":        "counted on Friday",
	"PaymentDeclined.Reason":    "insufficient funds",
	"NotificationFailed.Reason": "mailbox unavailable",

	"Items":   []mall.Item{pens, ink},
	"Lines":   []mall.Line{{SKU: "PRODUCT_001", Quantity: 3}, {SKU: "PRODUCT_002", Quantity: 2}},
	"Missing": []mall.Line{{SKU: "PRODUCT_002", Quantity: 1}},

	"Device":      "gate-1",
	"Purchase":    "PURCHASE_001",
	"Delivery":    "DELIVERY_001",
	"Unannounced": true,
	"Untimed":     true,
	"Repeated":    true,
	"Open":        int64(20),
	"Settled":     int64(10),
	"Unpriced":    []mall.Line{{SKU: "4006381333999", Quantity: 1}},

	"WelcomeShown.Name":        mall.Personal("v1.Q1VTVE9NRVJfMDAx.name5Kd8vBn4"),
	"WelcomeShown.Lines":       []string{"Welcome, {name}", "Silver"},
	"PaymentDue.Lines":         []mall.PricedLine{{SKU: "PRODUCT_001", Price: mall.Money{Amount: 1000, Currency: "EUR"}, PriceVersion: 2, Quantity: 4}},
	"ItemPriced.SKU":           "4006381333999",
	"PriceUnknown.SKU":         "4006381333999",
	"PurchaseCanceled.Reason":  "sold out",
	"CancelPurchase.Reason":    "sold out",
	"VisitChargeFailed.Reason": "insufficient funds",

	"Expires":          int64(1_790_000_000_000_000),
	"PriceVersion":     int64(2),
	"RestockThreshold": int64(5),
	"RestockQuantity":  int64(20),
	"Threshold":        int64(5),
	"Quantity":         int64(10),
	"Delta":            int64(-2),
	"Wanted":           int64(3),
	"Available":        int64(2),
	"OnHand":           int64(4),

	"InventoryUpdated.OnHand":    int64(10),
	"InventoryUpdated.Held":      int64(3),
	"InventoryUpdated.Committed": int64(2),
	"InventoryUpdated.Available": int64(5),

	"WaitForStock": true,
	"Wait":         true,
	"MayBuy":       true,
	"Sold":         true,

	"Basket":      "BASKET_001",
	"Item":        pens,
	"Substitutes": []mall.Item{ink},
	"Prices":      []mall.Quote{{Product: "PRODUCT_001", Price: mall.Money{Amount: 1150, Currency: "EUR"}, PriceVersion: 3}},
	"WhenShort":   mall.ShortSubstitute,
	"Choice":      mall.ShortSubstitute,

	"BasketCanceled.Reason": mall.ReasonBasketExpired,
	"CancelBasket.Reason":   mall.ReasonBasketExpired,

	"Tell": mall.Tell{Asking: mall.BySMS, Progress: mall.ByNone, Receipts: mall.ByEmail},

	"List":    "ORDER_001",
	"Stops":   []mall.Stop{{Stop: 1, Store: "STORE_001", SKU: "PRODUCT_001", Name: "Fountain pen", Quantity: 3}, {Stop: 2, Store: "STORE_001", SKU: "PRODUCT_002", Name: "Ink, blue", Quantity: 2}},
	"Stop":    int64(2),
	"Robot":   "robot-7",
	"From":    mall.Money{Amount: 1000, Currency: "EUR"},
	"Lost":    "robot-3",
	"Update":  int64(2),
	"Picked":  int64(1),
	"Carries": int64(30),
	"Battery": int64(84),
	"Home":    mall.Place{X: 120, Y: 80},
	"At":      mall.Place{X: 4200, Y: 1750},
	"State":   mall.RobotWorking,
	"Steer":   mall.SteerCharge,
	"Outcome": mall.OutcomeShort,
	"Return":  []mall.Line{{SKU: "PRODUCT_001", Quantity: 3}},
	"Also":    []mall.Line{{SKU: "PRODUCT_003", Quantity: 1}},
	"Counted": int64(9),

	"ShoppingListReassigned.From": "robot-3",
	"ShortenOrder.Missing":        int64(1),
	"ShoppingListCanceled.Reason": mall.ReasonOrderCanceled,
	"CancelList.Reason":           mall.ReasonOrderCanceled,
	"InvoiceRefunded.Reason":      mall.ReasonUncollected,
	"RefundInvoice.Reason":        mall.ReasonShort,
	"CountStock.Reason":           "counted on Friday",
	"StopShort.Wanted":            int64(2),

	"Taken":               int64(1_790_000_000_000_000),
	"Left":                int64(1_780_000_000_000_000),
	"Arrived":             int64(1_790_000_000_000_000),
	"CustomerArrived.At":  int64(1_790_000_000_000_000),
	"CustomerDeparted.At": int64(1_790_000_000_000_000),
}

func (w word) imagine() ([]byte, error) {
	value := reflect.New(w.of).Elem()
	for i := range w.of.NumField() {
		field := w.of.Field(i)
		given, found := imagined[w.of.Name()+"."+field.Name]
		if !found {
			given, found = imagined[field.Name]
		}
		if !found || reflect.TypeOf(given) != field.Type {
			return nil, fmt.Errorf("imagine a %s for %s.%s", field.Type, w.of.Name(), field.Name)
		}
		value.Field(i).Set(reflect.ValueOf(given))
	}
	stored, err := json.MarshalIndent(value.Interface(), "", "  ")
	return append(stored, '\n'), err
}

// fields calls visit for every field that a wire type has, at any depth.
func fields(of reflect.Type, visit func(owner reflect.Type, field reflect.StructField)) {
	switch of.Kind() {
	case reflect.Struct:
		for i := range of.NumField() {
			visit(of, of.Field(i))
			fields(of.Field(i).Type, visit)
		}
	case reflect.Slice, reflect.Array, reflect.Pointer, reflect.Map:
		fields(of.Elem(), visit)
	}
}

func TestFieldsOnTheWire(t *testing.T) {
	t.Parallel()
	camel := regexp.MustCompile(`^[a-z][a-zA-Z]*(,omitempty|,omitzero)?$`)
	for _, w := range vocabulary() {
		fields(w.of, func(owner reflect.Type, field reflect.StructField) {
			at := owner.Name() + "." + field.Name
			tag := field.Tag.Get("json")
			name, _, _ := strings.Cut(tag, ",")
			if !camel.MatchString(tag) || !strings.EqualFold(name, field.Name) {
				t.Errorf("%s: JSON name %q", at, tag)
			}
			switch field.Type.Kind() {
			case reflect.String, reflect.Int64, reflect.Bool, reflect.Slice:
			case reflect.Struct:
				if field.Type.PkgPath() != reflect.TypeFor[mall.Money]().PkgPath() {
					t.Errorf("%s: a %s belongs to somebody else, who may change how it is written", at, field.Type)
				}
			default:
				t.Errorf("%s: a %s is not exact or not ordered on the wire", at, field.Type)
			}
		})
	}
}

// aboutAPerson finds fields that would say who somebody is or how to reach them.
var aboutAPerson = regexp.MustCompile(`(?i)name|mail|sms|phone|mobile|contact|address|street|city|zip|postal|birth`)

// notAboutAPerson are the fields whose names sound so but which belong to goods and shops.
var notAboutAPerson = []string{
	"StoreCreated.Name", "StoreRebranded.Name", "CreateStore.Name", "RebrandStore.Name",
	"ProductAdded.Name", "ProductRebranded.Name", "AddProduct.Name", "RebrandProduct.Name",
	"Item.Name", "Item.StoreName", "Stop.Name",
}

// exposed returns the fields of a type that hold something personal in the clear, and notes in used the exceptions that it met.
func exposed(of reflect.Type, used map[string]bool) []string {
	var found []string
	fields(of, func(owner reflect.Type, field reflect.StructField) {
		if field.Type == reflect.TypeFor[mall.Personal]() || !aboutAPerson.MatchString(field.Name) {
			return
		}
		at := owner.Name() + "." + field.Name
		if slices.Contains(notAboutAPerson, at) {
			used[at] = true
			return
		}
		found = append(found, at)
	})
	return found
}

func TestPersonalFieldsAreSealed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, w := range vocabulary() {
		for _, at := range exposed(w.of, used) {
			t.Errorf("%s in %s must be a mall.Personal", at, w.wire)
		}
	}
	for _, at := range notAboutAPerson {
		if !used[at] {
			t.Errorf("the exception %s is about no field", at)
		}
	}
}

// The rule above can fail: fields in the clear are found, nested ones too.
func TestExposedFieldsAreFound(t *testing.T) {
	t.Parallel()
	type Recipient struct{ Phone string }
	type Shipped struct {
		Order   string
		Name    string
		Address []string
		Sealed  struct{ Email mall.Personal }
		To      []Recipient
	}
	got := exposed(reflect.TypeFor[Shipped](), map[string]bool{})
	want := []string{"Shipped.Name", "Shipped.Address", "Recipient.Phone"}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// Inventory neither hears nor says who bought, what it is called or what it costs.
func TestInventoryKnowsNoPersonsAndPrices(t *testing.T) {
	t.Parallel()
	unneeded := regexp.MustCompile(`(?i)customer|name|mail|sms|phone|address|price|amount|total|payment|card`)
	for _, w := range vocabulary() {
		if !strings.HasPrefix(w.wire, "souk.inventory.") {
			continue
		}
		fields(w.of, func(owner reflect.Type, field reflect.StructField) {
			if unneeded.MatchString(field.Name) || field.Type == reflect.TypeFor[mall.Money]() || field.Type == reflect.TypeFor[mall.Personal]() {
				t.Errorf("%s has %s.%s", w.wire, owner.Name(), field.Name)
			}
		})
	}
}
