package command_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

// Nothing empty is valid, and what is wrong is named.
func TestZeroCommandsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range command.All() {
		var wrong *mall.FieldError
		if err := c.Validate(); !errors.As(err, &wrong) || wrong.Field == "" || wrong.Reason == "" {
			t.Errorf("%s: %v", c.CommandType(), err)
		}
	}
}

func order(change func(*command.PlaceOrder)) command.PlaceOrder {
	c := command.PlaceOrder{Order: "o1", Customer: "c1", Items: []mall.Item{
		{Product: "p1", SKU: "pen", Name: "Pen", Price: eur(1000), Quantity: 3},
		{Product: "p2", SKU: "ink", Name: "Ink", Price: eur(0), Quantity: 1},
	}}
	change(&c)
	return c
}

func reserve(lines ...mall.Line) command.ReserveStock {
	return command.ReserveStock{Order: "o1", Location: "main", Expires: 1, Lines: lines}
}

func many(n int) []mall.Line {
	lines := make([]mall.Line, n)
	for i := range lines {
		lines[i] = mall.Line{SKU: fmt.Sprintf("s%d", i), Quantity: 1}
	}
	return lines
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wrong   string // the field at fault, or none
		command command.Command
	}{
		{"", order(func(*command.PlaceOrder) {})},
		{"order", order(func(c *command.PlaceOrder) { c.Order = "a b" })},
		{"message", order(func(c *command.PlaceOrder) { c.Message = "a/b" })},
		{"customer", order(func(c *command.PlaceOrder) { c.Customer = "" })},
		{"payment", order(func(c *command.PlaceOrder) { c.Payment = "*" })},
		{"expires", order(func(c *command.PlaceOrder) { c.Expires = -1 })},
		{"items", order(func(c *command.PlaceOrder) { c.Items = nil })},
		{"items", order(func(c *command.PlaceOrder) { c.Items = make([]mall.Item, mall.MaxLines+1) })},
		{"items[1].product", order(func(c *command.PlaceOrder) { c.Items[1].Product = "" })},
		{"items[1].sku", order(func(c *command.PlaceOrder) { c.Items[1].SKU = "a.b" })},
		{"items[1].name", order(func(c *command.PlaceOrder) { c.Items[1].Name = "a\x00b" })},
		{"items[1].name", order(func(c *command.PlaceOrder) { c.Items[1].Name = "\xff" })},
		{"items[1].name", order(func(c *command.PlaceOrder) { c.Items[1].Name = strings.Repeat("n", 201) })},
		{"items[1].price.amount", order(func(c *command.PlaceOrder) { c.Items[1].Price.Amount = -1 })},
		{"items[1].price.currency", order(func(c *command.PlaceOrder) { c.Items[1].Price.Currency = "Eur" })},
		{"items[1].price.currency", order(func(c *command.PlaceOrder) { c.Items[1].Price.Currency = "CHF" })},
		{"items[1].quantity", order(func(c *command.PlaceOrder) { c.Items[1].Quantity = 0 })},
		{"items[1].quantity", order(func(c *command.PlaceOrder) { c.Items[1].Quantity = mall.MaxQuantity + 1 })},
		{"items", order(func(c *command.PlaceOrder) { c.Items[0].Price.Amount = mall.MaxAmount })},
		{"items[0].price.amount", order(func(c *command.PlaceOrder) { c.Items[0].Price.Amount = math.MaxInt64 })},
		{"items", order(func(c *command.PlaceOrder) { c.Items[1].SKU, c.Items[1].Quantity = "pen", mall.MaxQuantity })},

		{"", reserve(many(mall.MaxLines)...)},
		{"lines", reserve(many(mall.MaxLines + 1)...)},
		{"lines", reserve()},
		{"lines[1].sku", reserve(mall.Line{SKU: "pen", Quantity: 1}, mall.Line{SKU: "pen", Quantity: 1})},
		{"lines[0].quantity", reserve(mall.Line{SKU: "pen", Quantity: -1})},
		{"expires", command.ReserveStock{Order: "o1", Location: "main", Lines: many(1)}},

		{"", command.RejectOrder{Order: "o1", Reason: mall.ReasonCustomerRefused}},
		{"", command.RejectOrder{Order: "o1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3}},
		{"sku", command.RejectOrder{Order: "o1", Reason: mall.ReasonOutOfStock, Wanted: 3}},
		{"available", command.RejectOrder{Order: "o1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 3}},
		{"reason", command.RejectOrder{Order: "o1", Reason: " "}},
		{"sku", command.BackorderOrder{Order: "o1"}},

		{"", command.AdjustStock{SKU: "pen", Location: "main", Delta: -1, Reason: "broken"}},
		{"delta", command.AdjustStock{SKU: "pen", Location: "main", Reason: "broken"}},
		{"delta", command.AdjustStock{SKU: "pen", Location: "main", Delta: math.MinInt64, Reason: "broken"}},
		{"", command.SetThreshold{SKU: "pen", Location: "main"}},
		{"quantity", command.SetThreshold{SKU: "pen", Location: "main", Threshold: 1}},
		{"threshold", command.SetThreshold{SKU: "pen", Location: "main", Threshold: -1}},

		{"", command.RegisterCustomer{Customer: "c1", Name: "sealed"}},
		{"email", command.RegisterCustomer{Customer: "c1", Name: "sealed", Email: mall.Personal(strings.Repeat("x", mall.MaxPersonal+1))}},
		{"", command.RebrandProduct{Product: "p1", Name: "Pen", Description: "two\nlines"}},
		{"description", command.RebrandProduct{Product: "p1", Name: "Pen", Description: "a\x1bb"}},
		{"price.amount", command.IncreasePrice{Product: "p1", Price: eur(0)}},
		{"amount.amount", command.RefundPayment{Payment: "p1", Amount: eur(0), Reason: "returned"}},
		{"items[1].store", order(func(c *command.PlaceOrder) { c.Items[1].Store = "a b" })},
		{"items[1].priceVersion", order(func(c *command.PlaceOrder) { c.Items[1].PriceVersion = -1 })},
		{"whenShort", order(func(c *command.PlaceOrder) { c.WhenShort = "maybe" })},
		{"basket", order(func(c *command.PlaceOrder) { c.Basket = "a b" })},
		{"", command.CapturePayment{Payment: "p1"}},
		{"amount.amount", command.CapturePayment{Payment: "p1", Amount: eur(0)}},

		{"", command.CheckoutBasket{Basket: "b1", Order: "o1"}},
		{"prices[1].product", command.CheckoutBasket{Basket: "b1", Order: "o1", Prices: []mall.Quote{{Product: "p", Price: eur(1)}, {Product: "p", Price: eur(1)}}}},
		{"whenShort", command.CheckoutBasket{Basket: "b1", Order: "o1", WhenShort: "maybe"}},
		{"item.store", command.AddItem{Basket: "b1", Item: mall.Item{Product: "p", SKU: "s", Name: "n", Price: eur(1), Quantity: 1}}},
		{"item.quantity", command.AddItem{Basket: "b1", Item: mall.Item{Product: "p", SKU: "s", Name: "n", Price: eur(1), Store: "s"}}},
		{"prices", command.AcceptPrices{Basket: "b1"}},
		{"quantity", command.RemoveItem{Basket: "b1", Product: "p", Quantity: -1}},

		{"", command.CreateShoppingList{List: "o1", Order: "o1", Stops: []mall.Stop{{Stop: 1, SKU: "pen", Name: "Pen", Quantity: 1}}}},
		{"stops[0].stop", command.CreateShoppingList{List: "o1", Order: "o1", Stops: []mall.Stop{{SKU: "pen", Name: "Pen", Quantity: 1}}}},
		{"stops[0].quantity", command.CreateShoppingList{List: "o1", Order: "o1", Stops: []mall.Stop{{Stop: 1, SKU: "pen", Name: "Pen"}}}},
		{"", command.ReportStop{List: "o1", Stop: 1, Robot: "r", Update: 1, Outcome: mall.OutcomeShort}},
		{"picked", command.ReportStop{List: "o1", Stop: 1, Robot: "r", Update: 1, Outcome: mall.OutcomePicked}},
		{"picked", command.ReportStop{List: "o1", Stop: 1, Robot: "r", Update: 1, Outcome: mall.OutcomeBlocked, Picked: 1}},
		{"outcome", command.ReportStop{List: "o1", Stop: 1, Robot: "r", Update: 1, Outcome: "eaten"}},
		{"update", command.ReportStop{List: "o1", Stop: 1, Robot: "r", Outcome: mall.OutcomeShort}},
		{"state", command.RenewLease{Robot: "r", State: mall.RobotOffline}},
		{"battery", command.RenewLease{Robot: "r", State: mall.RobotIdle, Battery: 101}},
		{"", command.RenewLease{Robot: "r", State: mall.RobotIdle}},
		{"steer", command.SteerRobot{Robot: "r", Steer: "dance"}},

		{"", command.DecideShort{Order: "o1", Choice: mall.ShortRest}},
		{"choice", command.DecideShort{Order: "o1", Choice: mall.ShortAsk}},
		{"substitutes", command.DecideShort{Order: "o1", Choice: mall.ShortSubstitute}},
		{"substitutes", command.DecideShort{Order: "o1", Choice: mall.ShortCancel, Substitutes: make([]mall.Item, 1)}},
		{"missing", command.ShortenOrder{Order: "o1", Stop: 1, SKU: "pen"}},
		{"", command.IssueReservedStock{Order: "o1", Location: "main", Lines: many(2), Missing: many(1)}},
		{"missing[1].quantity", command.IssueReservedStock{Order: "o1", Location: "main", Lines: many(1), Missing: many(2)}},
		{"", command.CountStock{SKU: "pen", Location: "main", Reason: "counted"}},
		{"counted", command.CountStock{SKU: "pen", Location: "main", Counted: -1, Reason: "counted"}},

		{"", command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(mall.MaxAmount)}},
		{"amount.amount", command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(mall.MaxAmount + 1)}},
		{"expires", command.EarmarkPayment{Payment: "p1", Order: "o1", Customer: "c1"}},
		{"order", command.EarmarkPayment{Payment: "p1", Customer: "c1", Expires: 1}},
		{"", command.EarmarkPayment{Payment: "p1", Order: "o1", Customer: "c1", Expires: 1}},
		{"", command.ConfirmPayment{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(0)}},
	} {
		got := ""
		var wrong *mall.FieldError
		if err := c.command.Validate(); errors.As(err, &wrong) {
			got = wrong.Field
		} else if err != nil {
			t.Errorf("%+v: %v is no FieldError", c.command, err)
		}
		if got != c.wrong {
			t.Errorf("%+v: wrong field %q, want %q", c.command, got, c.wrong)
		}
	}
}

// Stock at one location is one stream for every command about it; what concerns an order is decided on the order's.
func TestStockStream(t *testing.T) {
	t.Parallel()
	want := mall.StockID("pen", "main")
	for _, c := range []command.Command{
		command.ReceiveStock{SKU: "pen", Location: "main", Quantity: 1},
		command.AdjustStock{SKU: "pen", Location: "main", Delta: 1, Reason: "found"},
		command.SetThreshold{SKU: "pen", Location: "main"},
	} {
		if got := c.Stream(); got != want {
			t.Errorf("%s: %s, want %s", c.CommandType(), got, want)
		}
	}
	if got := reserve(many(1)...).Stream(); got != "o1" {
		t.Errorf("ReserveStock: %s", got)
	}
}

func ExamplePlaceOrder_Validate() {
	order := command.PlaceOrder{
		Order:    "ORDER_001",
		Customer: "CUSTOMER_001",
		Items: []mall.Item{
			{Product: "PRODUCT_001", SKU: "PRODUCT_001", Name: "Fountain pen", Price: eur(1000), Quantity: 0},
		},
	}
	fmt.Println(order.Validate())
	// Output: items[0].quantity: must be 1 to 1000000
}
