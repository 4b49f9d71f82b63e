package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/stores"
)

// operations lists everything that can be asked.
func operations() map[string]operation {
	return map[string]operation{
		"map":                 {run: describe, reads: true},
		"order place":         {run: placeOrder},
		"order show":          {run: showOrder, reads: true},
		"basket start":        {run: startBasket},
		"basket add":          {run: addToBasket},
		"basket remove":       {run: removeFromBasket},
		"basket show":         {run: showBasket, reads: true},
		"basket accept":       {run: acceptPrices},
		"basket extend":       {run: extendBasket},
		"basket cancel":       {run: cancelBasket},
		"basket checkout":     {run: checkoutBasket},
		"order search":        {run: searchOrders, reads: true},
		"sales":               {run: showSales, reads: true},
		"funnel":              {run: showFunnel, reads: true},
		"customer register":   {run: registerCustomer},
		"customer forget":     {run: forgetCustomer},
		"customer forget all": {run: forgetAll},
		"customer forgotten":  {run: whoIsForgotten, reads: true},
		"stock receive":       {run: changeStock("quantity", "quantity", receiveStock)},
		"stock adjust":        {run: changeStock("delta", "difference", adjustStock)},
		"stock count":         {run: changeStock("counted", "count", countStock)},
		"stock show":          {run: showStock, reads: true},
		"store create":        {run: createStore},
		"store place":         {run: placeStore},
		"product add":         {run: addProduct},
		"product price":       {run: setPrice},
		"catalogue import":    {run: importCatalogue},
		"catalogue export":    {run: exportCatalogue, reads: true},
		"customer card":       {run: linkCard},
		"visit price":         {run: priceUnknown},
		"shopping list":       {run: listShopping, reads: true},
		"purchase list":       {run: listPurchases, reads: true},
		"purchase cancel":     {run: cancelPurchase},
		"purchase deliver":    {run: acceptDelivery},
		"device add":          {run: addDevice},
		"device list":         {run: listDevices, reads: true},
		"device revoke":       {run: revokeDevice},
		"token link":          {run: linkToken, bare: true},
		"token revoke":        {run: revokeTokens, bare: true},
		"token rotate":        {run: rotateKeys, bare: true},
		"event tail":          {run: tail, reads: true},
		"event replay":        {run: replay, reads: true},
		"trace":               {run: trace, reads: true},
		"topic list":          {run: listTopics, reads: true},
		"topic show":          {run: showTopic, reads: true},
		"dlq list":            {run: listParked, reads: true},
		"dlq act":             {run: actOnParked, reads: true},
		"saga list":           {run: listSagas, reads: true},
		"saga act":            {run: actOnSaga, reads: true},
		"view list":           {run: listViews, reads: true},
		"view rebuild":        {run: rebuildView},
		"service pause":       {run: pause},
		"service resume":      {run: resume},
		"doctor":              {run: examine, bare: true},
		"migrate":             {run: migrate, bare: true, alone: true},
		"migrate roles":       {run: grantRoles, bare: true},
		"migrate plan":        {run: planMigrations, bare: true},
		"audit verify":        {run: verify, reads: true},
		"backup":              {run: backup, reads: true},
		"wait":                {run: wait},
		"payment authorize":   {run: authorizePayment},
		"process list":        {run: listProcesses, reads: true},
	}
}

func describe(_ context.Context, h *house.House, a Args, emit Emit) error {
	m := backbone.Describe(h.Runtime.Parts())
	switch a["form"] {
	case "json":
		return emit(m)
	case "mermaid":
		return emit(text{m.Mermaid()})
	case "hexagons":
		return emit(text{m.Hexagons()})
	}
	return emit(text{m.Text()})
}

// text is a row that is printed as it is.
type text struct {
	Text string `json:"text"`
}

func showOrder(ctx context.Context, h *house.House, a Args, emit Emit) error {
	v, found, err := orders.Get(ctx, h.Reader("orders"), a["order"])
	if err != nil || !found {
		return cmp.Or(err, fmt.Errorf("there is no order %q", a["order"]))
	}
	for _, s := range v.History {
		if err := emit(struct {
			Order    string     `json:"order"`
			Customer string     `json:"customer"`
			Status   string     `json:"status"`
			Since    time.Time  `json:"since"`
			Total    mall.Money `json:"total"`
			Reason   string     `json:"reason"`
		}{v.ID, v.Customer, s.Status, s.Time, v.Total, v.Reason}); err != nil {
			return err
		}
	}
	return nil
}

// changeStock carries out a command about so many pieces, which the named argument tells, and shows what is there then.
func changeStock(argument, word string, change func(a Args, location string, n int64) command.Command) func(context.Context, *house.House, Args, Emit) error {
	return func(ctx context.Context, h *house.House, a Args, emit Emit) error {
		n, err := strconv.ParseInt(a[argument], 10, 64)
		if err != nil {
			return fmt.Errorf("%s %q is not a whole number", word, a[argument])
		}
		if err := do(ctx, h, a, change(a, cmp.Or(a["location"], mall.MainLocation), n)); err != nil {
			return err
		}
		if err := showStock(ctx, h, a, emit); err != nil {
			return err
		}
		return emitUnsold(ctx, h, a["sku"], emit)
	}
}

// emitUnsold notes that no shop sells a SKU. It is no reason to refuse what was done: goods may come before their product is in the catalogue, of which
// inventory knows nothing. But nobody can order them.
func emitUnsold(ctx context.Context, h *house.House, sku string, emit Emit) error {
	r := h.Reader("stores")
	_, sold, err := stores.FindSKU(ctx, r, sku)
	if sold {
		return nil
	}
	p, found, lookup := stores.Get(ctx, r, sku)
	switch err := errors.Join(err, lookup); {
	case err != nil: // what was done is done
		return emit(note(fmt.Sprintf("whether a shop sells %s cannot be looked up: %v", sku, err)))
	case found && !p.Removed:
		return emit(note(fmt.Sprintf("no shop sells a SKU %s: %s is a product, and its SKU is %s; correct it with souk stock adjust", sku, sku, p.SKU)))
	}
	return emit(note(fmt.Sprintf("no shop sells a SKU %s, so nobody can order it: souk product add PRODUCT PRICE --name NAME --sku %s", sku, sku)))
}

func receiveStock(a Args, location string, n int64) command.Command {
	return command.ReceiveStock{SKU: a["sku"], Location: location, Quantity: n}
}

func adjustStock(a Args, location string, n int64) command.Command {
	return command.AdjustStock{SKU: a["sku"], Location: location, Delta: n, Reason: a["reason"]}
}

func countStock(a Args, location string, n int64) command.Command {
	return command.CountStock{SKU: a["sku"], Location: location, Counted: n, Reason: a["reason"]}
}

func showStock(ctx context.Context, h *house.House, a Args, emit Emit) error {
	r := h.Reader("inventory")
	if a["sku"] != "" {
		list, err := inventory.Of(ctx, r, a["sku"])
		if err == nil && len(list) == 0 {
			err = fmt.Errorf("nothing is known of a SKU %q: none was ever received", a["sku"])
		}
		for _, l := range list {
			if a["location"] == "" || l.Location == a["location"] {
				err = errors.Join(err, emit(l))
			}
		}
		return err
	}
	var last inventory.Level
	for {
		list, err := inventory.List(ctx, r, last.SKU, last.Location, stockPage)
		for _, l := range list {
			err = errors.Join(err, emit(l))
		}
		if err != nil || len(list) < stockPage {
			return err
		}
		last = list[len(list)-1]
	}
}

// stockPage is how many levels are read at once.
const stockPage = 1000

// row is a record of a log as people read it.
type row struct {
	Time     time.Time       `json:"time"`
	Service  string          `json:"service"`
	Position int64           `json:"position"`
	Kind     string          `json:"kind"`
	Type     string          `json:"type"`
	Stream   string          `json:"stream"`
	Version  int64           `json:"version"`
	ID       string          `json:"id"`
	Ref      string          `json:"ref"`   // a command's or call's own id, which a reply to it has as well
	Cause    string          `json:"cause"` // the id or ref of what led to it
	Actor    string          `json:"actor"`
	Data     json.RawMessage `json:"data,omitempty"`
}

func rowOf(m *backbone.Message) row {
	return row{m.Time, m.Source, m.Position, m.Kind.String(), m.Type, m.Stream, m.Version, m.ID, m.Ref, m.Causation, m.Actor, m.Data}
}

// tail prints the newest records of one log or all, and with follow what comes.
func tail(ctx context.Context, h *house.House, a Args, emit Emit) error {
	services := h.Services()
	if a["service"] != "" {
		services = []string{a["service"]}
	}
	n, err := strconv.Atoi(cmp.Or(a["last"], "20"))
	if err != nil || n < 0 || n > 100_000 {
		return fmt.Errorf("%q is not a number up to 100,000", a["last"])
	}
	q := backbone.ReadQuery{Stream: a["stream"], ID: a["id"], Limit: n, Descending: true}
	if q.Stream != "" {
		q.Kinds = backbone.EventKinds()
	}
	if a["type"] != "" {
		q.Types = []string{a["type"]}
	}
	var found []row
	at := map[string]int64{}
	for _, s := range services {
		r := h.Reader(s)
		if r == nil {
			return fmt.Errorf("there is no service %q", s)
		}
		list, err := r.Log(ctx, q)
		if err != nil {
			return err
		}
		for _, m := range list {
			found = append(found, rowOf(m))
			at[s] = max(at[s], m.Position)
		}
	}
	slices.SortStableFunc(found, func(x, y row) int { return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Position, y.Position)) })
	if a["id"] != "" && len(found) == 0 {
		return fmt.Errorf("there is no record with the id %q", a["id"])
	}
	for _, r := range found[max(0, len(found)-n):] {
		if err := emit(r); err != nil {
			return err
		}
	}
	if a["follow"] == "" {
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, s := range services {
			list, err := h.Reader(s).Log(ctx, backbone.ReadQuery{After: at[s], Stream: q.Stream, Kinds: q.Kinds, Types: q.Types, Limit: 1000})
			if err != nil {
				return err
			}
			for _, m := range list {
				at[s] = m.Position
				if err := emit(rowOf(m)); err != nil {
					return err
				}
			}
		}
	}
}

// trace prints the conversations that an order belongs to, over all logs: what came of placing it, and of each thing that
// was asked of it later.
func trace(ctx context.Context, h *house.House, a Args, emit Emit) error {
	own, err := h.Reader("orders").Log(ctx, backbone.ReadQuery{Stream: "order/" + a["order"], Kinds: backbone.EventKinds(), Limit: traceEvents})
	if err != nil {
		return err
	}
	whole := len(own) < traceEvents
	if len(own) == 0 {
		return fmt.Errorf("there is no order %q", a["order"])
	}
	var all []row
	asked := map[string]bool{}
	for _, e := range own {
		if asked[e.Correlation] {
			continue
		}
		asked[e.Correlation] = true
		for _, s := range h.Services() {
			list, err := h.Reader(s).Log(ctx, backbone.ReadQuery{Correlation: e.Correlation, Limit: traceRecords})
			if err != nil {
				return err
			}
			whole = whole && len(list) < traceRecords
			for _, m := range list {
				r := rowOf(m)
				r.Data = nil
				all = append(all, r)
			}
		}
	}
	slices.SortStableFunc(all, func(x, y row) int { return x.Time.Compare(y.Time) })
	for _, r := range all {
		err = errors.Join(err, emit(r))
	}
	if !whole {
		err = errors.Join(err, emit(note("there is more than is shown here: souk event tail --stream order/"+a["order"]+" shows the order's own events")))
	}
	return err
}

// What is looked at for a trace: events of the order, and records of one log that have one correlation.
const (
	traceEvents  = 1000
	traceRecords = 10_000
)

// subscriptions names the subscriptions of a service.
func subscriptions(svc *backbone.Service) []string {
	names := []string{svc.Name}
	for _, v := range svc.Views {
		if !v.Inline {
			names = append(names, "view-"+v.Name)
		}
	}
	return names
}

// longerList is how more of a list is had.
const longerList = "say how many with --limit"

func listParked(ctx context.Context, h *house.House, a Args, emit Emit) error {
	n, err := number(a, "limit", 1000)
	if err != nil {
		return err
	}
	left := n
	for _, svc := range h.Runtime.Parts() {
		for _, sub := range subscriptions(svc) {
			rows, err := h.Store(svc.Name).ParkedRows(ctx, svc.Name, sub, a["key"], int(left)+1)
			if err != nil {
				return err
			}
			for _, p := range rows {
				if left--; left < 0 {
					return emit(cut(n, longerList))
				}
				if err := emit(struct {
					Service      string          `json:"service"`
					Subscription string          `json:"subscription"`
					Key          string          `json:"key"`
					ID           string          `json:"id"`
					State        string          `json:"state"`
					Attempts     int             `json:"attempts"`
					Cause        string          `json:"cause"`
					Message      json.RawMessage `json:"message"`
				}{svc.Name, sub, p.Key, p.ID, p.State, p.Attempts, p.Cause, p.Record}); err != nil {
					return err
				}
			}
		}
	}
	if a["key"] != "" && left == n {
		return fmt.Errorf("nothing is parked under key %q", a["key"])
	}
	return nil
}

// actOnParked leaves a request for the owner of the key: redrive, edit or discard.
func actOnParked(ctx context.Context, h *house.House, a Args, emit Emit) error {
	if a["why"] == "" {
		return errors.New("say why: --why \"...\"")
	}
	if err := noCard("why", a["why"]); err != nil {
		return err
	}
	if a["action"] == "edit" && !json.Valid([]byte(a["data"])) {
		return errors.New("the new data is not JSON")
	}
	sub := cmp.Or(a["subscription"], a["service"])
	rows, err := h.Store(a["service"]).ParkedRows(ctx, a["service"], sub, a["key"], 1)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("nothing is parked under key %q of %s", a["key"], sub)
	}
	id, err := h.Store(a["service"]).PutRequest(ctx, a["service"], driver.Request{
		Subject: "parked", Action: a["action"], Subscription: sub, Key: a["key"], Seq: rows[0].Seq, Data: []byte(a["data"]),
		Actor: "operator:" + a["actor"], Why: a["why"], Time: time.Now().UnixMicro(),
	})
	if err != nil {
		return err
	}
	return emit(requested{id, a["action"], a["key"]})
}

type requested struct {
	Request int64  `json:"request"`
	Action  string `json:"action"`
	Of      string `json:"of"`
}

func listSagas(ctx context.Context, h *house.House, a Args, emit Emit) error {
	n, err := number(a, "limit", 1000)
	if err != nil {
		return err
	}
	left := n
	for _, svc := range h.Runtime.Parts() {
		if len(svc.Sagas) == 0 {
			continue
		}
		rows, err := h.Store(svc.Name).SagaRows(ctx, svc.Name, "", a["id"], a["state"], int(left)+1)
		if err != nil {
			return err
		}
		for _, s := range rows {
			if left--; left < 0 {
				return emit(cut(n, longerList))
			}
			if err := emit(struct {
				Service string          `json:"service"`
				Saga    string          `json:"saga"`
				ID      string          `json:"id"`
				State   string          `json:"state"`
				Updated time.Time       `json:"updated"`
				Data    json.RawMessage `json:"data"`
			}{svc.Name, s.Name, s.ID, s.State, time.UnixMicro(s.Updated).UTC(), s.Data}); err != nil {
				return err
			}
		}
	}
	if a["id"] != "" && left == n {
		return fmt.Errorf("there is no saga %q", a["id"])
	}
	return nil
}

func actOnSaga(ctx context.Context, h *house.House, a Args, emit Emit) error {
	if a["why"] == "" {
		return errors.New("say why: --why \"...\"")
	}
	if err := noCard("why", a["why"]); err != nil {
		return err
	}
	rows, err := h.Store(a["service"]).SagaRows(ctx, a["service"], a["saga"], a["id"], "", 1)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s has no saga %s of %q; souk saga list names those that there are", a["service"], a["saga"], a["id"])
	}
	id, err := h.Store(a["service"]).PutRequest(ctx, a["service"], driver.Request{
		Subject: "saga", Action: a["action"], Subscription: a["saga"], Key: a["id"],
		Actor: "operator:" + a["actor"], Why: a["why"], Time: time.Now().UnixMicro(),
	})
	if err != nil {
		return err
	}
	return emit(requested{id, a["action"], a["id"]})
}

func listViews(_ context.Context, h *house.House, _ Args, emit Emit) error {
	for _, svc := range h.Runtime.Parts() {
		for _, v := range svc.Views {
			if err := emit(struct {
				Service string   `json:"service"`
				View    string   `json:"view"`
				Inline  bool     `json:"inline"`
				Tables  []string `json:"tables"`
			}{svc.Name, v.Name, v.Inline, v.Tables}); err != nil {
				return err
			}
		}
	}
	return nil
}

func rebuildView(ctx context.Context, h *house.House, a Args, emit Emit) error {
	var last time.Time
	return h.Rebuild(ctx, a["service"], a["view"], func(p backbone.RebuildProgress) {
		if p.Done < p.Total && time.Since(last) < 500*time.Millisecond {
			return
		}
		last = time.Now()
		_ = emit(struct { // whoever no longer reads the progress does not stop the rebuild
			Done      int64   `json:"done"`
			Total     int64   `json:"total"`
			Rate      float64 `json:"eventsPerSecond"`
			Remaining string  `json:"remaining"`
		}{p.Done, p.Total, p.Rate, p.Remaining.Round(time.Second).String()})
	})
}

func pause(ctx context.Context, h *house.House, a Args, emit Emit) error {
	silent, err := h.Pause(ctx, a["service"])
	if err != nil {
		return err
	}
	return steered(a["service"], "paused", silent, emit)
}

func resume(ctx context.Context, h *house.House, a Args, emit Emit) error {
	silent, err := h.Resume(ctx, a["service"])
	if err != nil {
		return err
	}
	return steered(a["service"], "resumed", silent, emit)
}

// steered tells that a service was paused or resumed, and which of its processes have not said that they heed it.
func steered(service, state string, silent []string, emit Emit) error {
	for _, s := range silent {
		if err := emit(note(s + "; it is noted, and the process heeds it within a second of when it works again")); err != nil {
			return err
		}
	}
	return emit(struct {
		Service string `json:"service"`
		State   string `json:"state"`
	}{service, state})
}

// verify checks every log against its seals and the head that was kept beside it.
func verify(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	var bad error
	for _, s := range h.Services() {
		head, err := h.Head(s)
		if err != nil {
			return err
		}
		report, err := h.Reader(s).Verify(ctx, head)
		var tampered *backbone.TamperError
		if err != nil && !errors.As(err, &tampered) {
			return err
		}
		bad = errors.Join(bad, err)
		if err := emit(struct {
			Service  string `json:"service"`
			Seals    int    `json:"seals"`
			Sealed   int64  `json:"sealed"`
			Unsealed int64  `json:"unsealed"`
			Whole    bool   `json:"whole"`
		}{s, report.Seals, report.Records, report.Unsealed, tampered == nil}); err != nil {
			return err
		}
	}
	return bad
}

func backup(ctx context.Context, h *house.House, a Args, emit Emit) error {
	store, err := h.SQLite()
	if err != nil {
		return err
	}
	if err := store.Backup(ctx, a["file"]); err != nil {
		return err
	}
	// What cannot be opened, or does not verify, is no backup.
	copied, err := sqlitestore.Open(ctx, sqlitestore.Config{Path: a["file"]})
	if err != nil {
		return fmt.Errorf("the copy cannot be opened: %w", err)
	}
	sealed := int64(0)
	for _, svc := range h.Runtime.Parts() {
		err = errors.Join(err, copied.Migrate(ctx, []driver.Schema{{Service: svc.Name, Migrations: svc.Migrations}}))
		if err != nil {
			break
		}
		report, failed := backbone.NewReader(svc.Name, copied).Verify(ctx, backbone.Seal{})
		err = errors.Join(err, failed)
		sealed += report.Records
	}
	if err := errors.Join(err, copied.Close(), os.Remove(a["file"]+".lock")); err != nil {
		return fmt.Errorf("the copy does not verify: %w", err)
	}
	return emit(struct {
		File     string `json:"file"`
		Verified int64  `json:"verified"`
	}{a["file"], sealed})
}

// wait returns once nothing is in flight.
func wait(ctx context.Context, h *house.House, a Args, emit Emit) error {
	limit, err := time.ParseDuration(cmp.Or(a["timeout"], "1m"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	busy := "the first look has not ended"
	for {
		began := time.Now()
		look, err := h.InFlight(ctx)
		if a["settled"] != "" && err == nil && look == "" {
			look, err = unsettled(ctx, h)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			busy = err.Error() // a broker that is away is asked again
		case err == nil && look == "":
			return emit(struct {
				Idle bool `json:"idle"`
			}{true})
		case err == nil:
			busy = look
		}
		// A look asks every log and every process, which are to get on meanwhile.
		select {
		case <-ctx.Done():
			return fmt.Errorf("still at work after %s: %s", limit, busy)
		case <-time.After(min(max(2*time.Since(began), 5*time.Millisecond), 500*time.Millisecond)):
		}
	}
}

// unsettled says what is to be done at some time, due or not: in a mall where nothing goes wrong that is nothing.
func unsettled(ctx context.Context, h *house.House) (string, error) {
	if busy, err := h.Runtime.Unsettled(ctx); busy != "" || err != nil {
		return busy, err
	}
	for _, svc := range h.Runtime.Parts() {
		calls, err := h.Store(svc.Name).Calls(ctx, svc.Name, 1)
		if err != nil {
			return "", err
		}
		if len(calls) > 0 {
			return fmt.Sprintf("%s has to call %s (%s): %s", svc.Name, calls[0].Name, calls[0].ID, calls[0].Cause), nil
		}
	}
	return "", nil
}

func authorizePayment(ctx context.Context, h *house.House, a Args, emit Emit) error {
	amount, err := mall.ParseMoney(json.Number(a["amount"]).String(), h.Currency())
	if err != nil {
		return err
	}
	c := command.AuthorizePayment{Payment: a["payment"], Customer: a["customer"], Amount: amount}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(struct {
		Payment string     `json:"payment"`
		Amount  mall.Money `json:"amount"`
	}{c.Payment, amount})
}

// listProcesses prints the processes of a mall that runs as several.
func listProcesses(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	list, err := h.Processes(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := emit(p); err != nil {
			return err
		}
	}
	return nil
}
