package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.org/souk/internal/control"
	"example.org/souk/mall"
)

// do runs an operation and writes its rows as the user asked for them.
func (r *root) do(ctx context.Context, env Env, name string, a control.Args) error {
	return r.doOr(ctx, env, name, a, "")
}

// doOr is do, and a table without rows says nothing instead.
func (r *root) doOr(ctx context.Context, env Env, name string, a control.Args, nothing string) error {
	return r.ask(ctx, env, r.mall(env), name, a, nothing)
}

// mall is the one that the flags mean.
func (r *root) mall(env Env) control.Mall {
	return control.Mall{
		Data: r.Data, DB: r.DB, Added: env.Added,
		Waiting: func(err error) { fmt.Fprintln(env.Stderr, "souk: waiting:", err) },
		Noted:   func(text string) { fmt.Fprintln(env.Stderr, "souk:", text) },
	}
}

// ask runs an operation on a mall and writes its rows.
func (r *root) ask(ctx context.Context, env Env, mall control.Mall, name string, a control.Args, nothing string) error {
	t := newTable(env.Stdout, r.Output)
	t.live = a["follow"] != "" || name == "view rebuild"
	switch name {
	case "sales":
		t.minor = []string{"sold", "walkInSold", "refunded", "net"}
	case "order search":
		t.hidden = []string{"history"} // order show tells it
	}
	err := call(ctx, mall, name, a, t.row)
	if err == nil && t.header == "" && t.form == "table" && nothing != "" {
		fmt.Fprintln(env.Stdout, nothing)
	}
	if err != nil && t.form == "json" && len(t.rows) == 0 {
		return err // an empty list would say that there is nothing
	}
	if flushed := t.end(); err == nil {
		err = flushed
	}
	return err
}

// call runs an operation as the user of this machine, and hands on its rows.
func (r *root) call(ctx context.Context, env Env, name string, a control.Args, row func(json.RawMessage) error) error {
	return call(ctx, r.mall(env), name, a, row)
}

func call(ctx context.Context, mall control.Mall, name string, a control.Args, row func(json.RawMessage) error) error {
	if u, err := user.Current(); err == nil {
		a["actor"] = u.Username
	}
	return control.Call(ctx, mall, name, a, row)
}

// table writes rows, which are JSON objects, as a table, as one JSON array, or one a line.
type table struct {
	out    io.Writer
	form   string
	tabs   *tabwriter.Writer
	header string
	live   bool // rows are shown as they come
	wide   bool // values are shown whole
	rows   []json.RawMessage
	minor  []string // members that are minor units of the member currency
	hidden []string // members that no table shows, only JSON
}

// maxCell is how much of a value a table shows; -o json shows it all.
const maxCell = 48

func newTable(out io.Writer, form string) *table {
	return &table{out: out, form: form, tabs: tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)}
}

func (t *table) row(data json.RawMessage) error {
	switch t.form {
	case "jsonl":
		_, err := fmt.Fprintf(t.out, "%s\n", data)
		return err
	case "json":
		t.rows = append(t.rows, data)
		return nil
	}
	names, values, err := members(data)
	if err != nil {
		return err
	}
	if len(names) == 1 && names[0] == "text" {
		_, err := fmt.Fprint(t.out, values[0])
		return err
	}
	names, values = t.shown(t.major(names, values))
	for i, v := range values {
		if r := []rune(v); len(r) > maxCell && !t.wide {
			values[i] = string(r[:maxCell-1]) + "…"
		}
	}
	if header := strings.ToUpper(strings.Join(names, "\t")); header != t.header {
		t.header = header
		fmt.Fprintln(t.tabs, header)
	}
	fmt.Fprintln(t.tabs, strings.Join(values, "\t"))
	if t.live {
		return t.tabs.Flush()
	}
	return nil
}

// shown leaves out what a table does not show.
func (t *table) shown(names, values []string) (_, _ []string) {
	for _, name := range t.hidden {
		if at := slices.Index(names, name); at >= 0 {
			names, values = slices.Delete(names, at, at+1), slices.Delete(values, at, at+1)
		}
	}
	return names, values
}

// major has amounts that stand apart from their currency told together with it.
func (t *table) major(names, values []string) (_, _ []string) {
	at := slices.Index(names, "currency")
	if len(t.minor) == 0 || at < 0 || mall.ValidCurrency(values[at]) != nil {
		return names, values
	}
	for i, name := range names {
		if n, err := strconv.ParseInt(values[i], 10, 64); err == nil && slices.Contains(t.minor, name) {
			values[i] = mall.Money{Amount: n, Currency: values[at]}.String()
		}
	}
	return slices.Delete(names, at, at+1), slices.Delete(values, at, at+1)
}

func (t *table) end() error {
	if t.form == "json" {
		data, err := json.MarshalIndent(append([]json.RawMessage{}, t.rows...), "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "%s\n", data)
		return err
	}
	return t.tabs.Flush()
}

// members returns the names and values of a JSON object in their order.
func members(data []byte) (names, values []string, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, err
		}
		names = append(names, fmt.Sprint(name))
		values = append(values, cell(value))
	}
	return names, values, nil
}

// cell is a value as people read it: an amount in major units with its currency, a list without brackets, nothing for null.
func cell(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s // "" for null, too
	}
	var words []string
	if json.Unmarshal(value, &words) == nil {
		return strings.Join(words, ", ")
	}
	var m mall.Money
	strict := json.NewDecoder(bytes.NewReader(value))
	strict.DisallowUnknownFields()
	if strict.Decode(&m) != nil || !bytes.Contains(value, []byte(`"currency"`)) {
		return string(value)
	}
	if m == (mall.Money{}) {
		return ""
	}
	return m.String()
}

type mapCommand struct {
	Form string `help:"text, json, mermaid or hexagons." enum:"text,json,mermaid,hexagons" default:"text"`
}

// Help implements kong's long help.
func (mapCommand) Help() string { return "Example:\n  souk map --form mermaid" }

// Run prints who handles, publishes and subscribes to what.
func (c *mapCommand) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "map", control.Args{"form": c.Form})
}

type orderCommand struct {
	Place  orderPlace  `cmd:"" help:"Place an order."`
	Search orderSearch `cmd:"" help:"Find orders."`
	Show   orderShow   `cmd:"" help:"Show the states that an order came through. Example: souk order show ORDER_001"`
}

type orderShow struct {
	Order string `arg:""`
}

// Run shows an order.
func (c *orderShow) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "order show", control.Args{"order": c.Order})
}

type stockCommand struct {
	Receive stockReceive `cmd:"" help:"Take goods in. Example: souk stock receive LAMP-01 20"`
	Adjust  stockAdjust  `cmd:"" help:"Correct what is on hand by a difference."`
	Count   stockCount   `cmd:"" help:"Set what is on hand to what somebody counted."`
	Show    stockShow    `cmd:"" help:"Show what is there. Example: souk stock show -o json"`
}

type stockReceive struct {
	SKU      string `arg:"" name:"sku"`
	Quantity string `arg:""`
	Location string `help:"Where; default the main location."`
}

// Run takes goods in.
func (c *stockReceive) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "stock receive", control.Args{"sku": c.SKU, "quantity": c.Quantity, "location": c.Location})
}

type stockAdjust struct {
	SKU      string `arg:"" name:"sku"`
	Delta    string `arg:"" help:"How many more are there, such as +2; for fewer write -- before it."`
	Reason   string `help:"Why; it is kept with who did it." required:""`
	Location string `help:"Where; default the main location."`
}

// Help implements kong's long help.
func (stockAdjust) Help() string {
	return `Examples:
  souk stock adjust LAMP-01 +2 --reason "found behind the shelf"
  souk stock adjust --reason "broken" -- LAMP-01 -1

No less can be on hand than is held and committed for orders: cancel some of them first.`
}

// Run corrects what is on hand.
func (c *stockAdjust) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "stock adjust", control.Args{"sku": c.SKU, "delta": c.Delta, "reason": c.Reason, "location": c.Location})
}

type stockCount struct {
	SKU      string `arg:"" name:"sku"`
	Counted  string `arg:"" help:"How many pieces are there, with those that are held or committed for orders."`
	Reason   string `help:"Why it was counted; it is kept with who did it." default:"counted"`
	Location string `help:"Where; default the main location."`
}

// Help implements kong's long help.
func (stockCount) Help() string {
	return `Examples:
  souk stock count LAMP-01 38
  souk stock count LAMP-01 3 --location cellar --reason "stocktaking"
  souk event tail --service inventory --type souk.inventory.StockAdjusted.v1

What differs is an event StockAdjusted, with who counted; a count that agrees changes nothing. What is committed lies on
the shelf until its customer has collected it, so count it as well. No fewer can be counted than are held and committed for
orders: cancel some of them first.`
}

// Run sets what is on hand to what was counted.
func (c *stockCount) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "stock count", control.Args{"sku": c.SKU, "counted": c.Counted, "reason": c.Reason, "location": c.Location})
}

type stockShow struct {
	SKU string `arg:"" optional:"" name:"sku"`
}

// Run shows stock.
func (c *stockShow) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "stock show", control.Args{"sku": c.SKU}, "Nothing was ever received.")
}

type eventCommand struct {
	Tail   eventTail   `cmd:"" help:"Show the newest records. Example: souk event tail --service orders -f -o jsonl"`
	Show   eventShow   `cmd:"" help:"Show one record by its id. Example: souk event show 06b1... -o json"`
	Replay eventReplay `cmd:"" help:"Show the state that a stream had at any past time, event by event."`
}

type eventTail struct {
	Service string `help:"Of this service's log only."`
	Stream  string `help:"Of this stream only, as order/ORDER_001."`
	Type    string `help:"Of this type only."`
	Last    string `help:"So many." short:"n" default:"20"`
	Follow  bool   `help:"Go on with what comes." short:"f"`
}

// Run shows records.
func (c *eventTail) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"service": c.Service, "stream": c.Stream, "type": c.Type, "last": c.Last}
	if c.Follow {
		a["follow"] = "yes"
		return r.do(ctx, env, "event tail", a)
	}
	return r.doOr(ctx, env, "event tail", a, "No record is like that.")
}

type eventShow struct {
	ID string `arg:"" name:"id"`
}

// Run shows a record.
func (c *eventShow) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "event tail", control.Args{"id": c.ID})
}

type eventReplay struct {
	Stream string `arg:"" help:"As order/ORDER_001, stock/LAMP-01--main, payment/PAY_1."`
	Until  string `help:"Up to this version, or this time (RFC 3339); default the end." placeholder:"VERSION|TIME"`
}

// Help implements kong's long help.
func (eventReplay) Help() string {
	return `Example:
  souk event replay order/ORDER_001 --until 2 -o json
  souk event replay order/ORDER_001 --until 2026-05-01T12:00:00Z

It folds the stream from its first event with the code that decides on it, and
prints each event with the state after it. Nothing is sent and nothing changes.`
}

// Run replays a stream.
func (c *eventReplay) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "event replay", control.Args{"stream": c.Stream, "until": c.Until})
}

type traceCommand struct {
	Order string `arg:""`
}

// Help implements kong's long help.
func (traceCommand) Help() string { return "Example:\n  souk trace ORDER_001" }

// Run shows the whole conversation that an order belongs to.
func (c *traceCommand) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "trace", control.Args{"order": c.Order})
}

type topicCommand struct {
	List topicList `cmd:"" help:"List the logs, or the topics at the broker, with the most that one group has not settled."`
	Show topicShow `cmd:"" help:"Show the partitions of a topic, and what each group has not settled of each."`
}

// brokerFlag names the broker of a mall that is not asked itself.
type brokerFlag struct {
	Broker string `help:"URL of the broker that carries the mall's messages; one that runs in a single process is asked itself." env:"SOUK_BROKER" placeholder:"URL"`
}

func (f *brokerFlag) read(ctx context.Context, env Env, r *root, name string, a control.Args) error {
	mall := r.mall(env)
	mall.Broker = f.Broker
	return r.ask(ctx, env, mall, name, a, "there are no topics yet")
}

type topicList struct {
	brokerFlag `embed:""`
}

// Help implements kong's long help.
func (topicList) Help() string {
	return `Example:
  souk topic list
  souk --db postgres://localhost/mall topic list --broker nats://127.0.0.1:4222 -o json`
}

// Run lists topics.
func (c *topicList) Run(ctx context.Context, env Env, r *root) error {
	return c.read(ctx, env, r, "topic list", control.Args{})
}

type topicShow struct {
	Topic      string `arg:"" help:"As souk.orders, or souk.orders.commands for what is addressed to a service."`
	brokerFlag `embed:""`
}

// Help implements kong's long help.
func (topicShow) Help() string {
	return `Example:
  souk topic show souk.orders
  souk --db postgres://localhost/mall topic show souk.orders.commands --broker amqp://127.0.0.1

first and next are the numbers of the first message that a partition holds and of the
next one to come; RabbitMQ numbers nothing and keeps messages in the queues of the groups
only, one for all topics of a group. NATS numbers a topic over all partitions. lag counts
what a group takes of a topic and has not settled; on Kafka also what it passes over.`
}

// Run shows a topic.
func (c *topicShow) Run(ctx context.Context, env Env, r *root) error {
	return c.read(ctx, env, r, "topic show", control.Args{"topic": c.Topic})
}

type dlqCommand struct {
	List    dlqList    `cmd:"" help:"List what is parked: the head of each blocked key. Example: souk dlq list"`
	Show    dlqShow    `cmd:"" help:"Show all that waits behind a key. Example: souk dlq show order/ORDER_001"`
	Redrive dlqRedrive `cmd:"" help:"Try a head again. Example: souk dlq redrive notifications order/ORDER_001 --why \"mail server is back\""`
	Edit    dlqEdit    `cmd:"" help:"Change a head's data, then try it again. Example: souk dlq edit notifications order/ORDER_001 --new-data '{...}' --why \"typing error\""`
	Discard dlqDiscard `cmd:"" help:"Pass over a head. Example: souk dlq discard notifications order/ORDER_001 --why \"test order\""`
}

// limitFlag bounds a list; what is left out is told beside it.
type limitFlag struct {
	Limit int `help:"How many at most." short:"n" default:"1000"`
}

type dlqList struct {
	limitFlag `embed:""`
}

// Run lists parked messages.
func (c *dlqList) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "dlq list", control.Args{"limit": strconv.Itoa(c.Limit)}, "Nothing is parked.")
}

type dlqShow struct {
	Key       string `arg:""`
	limitFlag `embed:""`
}

// Run shows the messages of a key.
func (c *dlqShow) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "dlq list", control.Args{"key": c.Key, "limit": strconv.Itoa(c.Limit)})
}

type dlqAct struct {
	Service      string `arg:""`
	Key          string `arg:""`
	Subscription string `help:"Default the service's own; view-NAME for a view's."`
	NewData      string `help:"The new data, for edit."`
	Why          string `help:"Kept with the request." required:""`
}

type (
	dlqRedrive struct{ dlqAct }
	dlqEdit    struct{ dlqAct }
	dlqDiscard struct{ dlqAct }
)

// Run leaves the request.
func (c *dlqRedrive) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "redrive")
}

// Run leaves the request.
func (c *dlqEdit) Run(ctx context.Context, env Env, r *root) error { return c.act(ctx, env, r, "edit") }

// Run leaves the request.
func (c *dlqDiscard) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "discard")
}

func (c *dlqAct) act(ctx context.Context, env Env, r *root, action string) error {
	return r.do(ctx, env, "dlq act", control.Args{
		"service": c.Service, "key": c.Key, "subscription": c.Subscription, "data": c.NewData, "why": c.Why, "action": action,
	})
}

type sagaCommand struct {
	List  sagaList  `cmd:"" help:"List sagas. Example: souk saga list --state stuck"`
	Show  sagaShow  `cmd:"" help:"Show a saga. Example: souk saga show ORDER_001 -o json"`
	Retry sagaRetry `cmd:"" help:"Send the command again that a stuck saga waits for. Example: souk saga retry orders checkout ORDER_001 --why \"provider is back\""`
	Abort sagaAbort `cmd:"" help:"Undo what a saga did before its pivot, or give up an undo. Example: souk saga abort orders checkout ORDER_001 --why \"customer called\""`
}

type sagaList struct {
	State     string `help:"In this state: running, waiting, compensating, stuck, completed or compensated." enum:",running,waiting,compensating,stuck,completed,compensated" default:"" placeholder:"STATE"`
	limitFlag `embed:""`
}

// Help implements kong's long help.
func (sagaList) Help() string { return "The oldest first." }

// Run lists sagas.
func (c *sagaList) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "saga list", control.Args{"state": c.State, "limit": strconv.Itoa(c.Limit)}, "No saga is like that.")
}

type sagaShow struct {
	ID string `arg:"" name:"id"`
}

// Run shows a saga.
func (c *sagaShow) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "saga list", control.Args{"id": c.ID})
}

type sagaAct struct {
	Service string `arg:""`
	Saga    string `arg:""`
	ID      string `arg:"" name:"id"`
	Why     string `help:"Kept with the request." required:""`
}

type (
	sagaRetry struct{ sagaAct }
	sagaAbort struct{ sagaAct }
)

// Run leaves the request.
func (c *sagaRetry) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "retry")
}

// Run leaves the request.
func (c *sagaAbort) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "abort")
}

func (c *sagaAct) act(ctx context.Context, env Env, r *root, action string) error {
	return r.do(ctx, env, "saga act", control.Args{"service": c.Service, "saga": c.Saga, "id": c.ID, "why": c.Why, "action": action})
}

type viewCommand struct {
	List    viewList    `cmd:"" help:"List views. Example: souk view list"`
	Rebuild viewRebuild `cmd:"" help:"Make a view again from the log, beside the live one. Example: souk view rebuild analytics sales"`
}

type viewList struct{}

// Run lists views.
func (viewList) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "view list", control.Args{})
}

type viewRebuild struct {
	Service string `arg:""`
	View    string `arg:""`
}

// Run rebuilds a view.
func (c *viewRebuild) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "view rebuild", control.Args{"service": c.Service, "view": c.View})
}

type serviceCommand struct {
	Pause  servicePause  `cmd:"" help:"Let a service's messages wait. Example: souk service pause inventory"`
	Resume serviceResume `cmd:"" help:"End a pause. Example: souk service resume inventory"`
}

type serviceAct struct {
	Service string `arg:""`
}

type (
	servicePause  struct{ serviceAct }
	serviceResume struct{ serviceAct }
)

// Run pauses a service.
func (c *servicePause) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "pause")
}

// Run ends a pause.
func (c *serviceResume) Run(ctx context.Context, env Env, r *root) error {
	return c.act(ctx, env, r, "resume")
}

func (c *serviceAct) act(ctx context.Context, env Env, r *root, action string) error {
	return r.do(ctx, env, "service "+action, control.Args{"service": c.Service})
}

type auditCommand struct {
	Verify auditVerify `cmd:"" help:"Check every log against its seals; exit 1 names the first bad record. Example: souk audit verify"`
}

type auditVerify struct{}

// Run verifies the logs.
func (auditVerify) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "audit verify", control.Args{})
}

type waitCommand struct {
	Idle    bool   `help:"Until nothing is in flight." required:""`
	Settled bool   `help:"Until no call to the outside waits for its next attempt, either."`
	Timeout string `help:"No longer than this." default:"1m"`
}

// Help implements kong's long help.
func (waitCommand) Help() string {
	return "Of a mall in several processes it counts what is to be done in any of them, also for a service that none of them runs.\n\n" +
		"Example:\n  souk wait --idle --timeout 30s"
}

// Run waits.
func (c *waitCommand) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"timeout": c.Timeout}
	if c.Settled {
		a["settled"] = "yes"
	}
	return r.do(ctx, env, "wait", a)
}

type backupCommand struct {
	File string `arg:"" type:"path"`
}

// Help implements kong's long help.
func (backupCommand) Help() string {
	return `Example:
  souk backup /backups/souk-monday.db
  cp -a ./souk-data/keys /vault/souk-keys

The copy is consistent while the mall runs, and its logs are checked against their
seals before it is called done. It holds all that the services know, with the keys
under which names and addresses of persons are sealed: guard it like the data
directory. It does not hold the keys that sign tokens (the folder keys), on purpose:
copy them to another place, or let everybody sign in again after a restore.
Put it back with: souk restore.`
}

// Run copies the database and checks the copy.
func (c *backupCommand) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "backup", control.Args{"file": c.File})
}

type paymentGroup struct {
	Authorize paymentAuthorize `cmd:"" help:"Have money set aside for an order to come. Example: souk payment authorize PAY_1 amina 49.00"`
}

type paymentAuthorize struct {
	Payment  string `arg:""`
	Customer string `arg:""`
	Amount   string `arg:"" help:"In major units."`
}

// Run asks for the authorization.
func (c *paymentAuthorize) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "payment authorize", control.Args{"payment": c.Payment, "customer": c.Customer, "amount": c.Amount})
}

type processCommand struct {
	List processList `cmd:"" help:"List the processes that run parts of a mall."`
}

type processList struct{}

// Help implements kong's long help.
func (processList) Help() string {
	return "Example:\n  souk --db postgres://localhost/mall process list"
}

// Run lists the processes.
func (processList) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "process list", control.Args{}, "no process runs")
}
