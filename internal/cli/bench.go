package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"example.org/souk/internal/bench"
)

type benchCommand struct {
	Orders     benchOrdersCommand     `cmd:"" help:"Measure the full path of an order, from the HTTP request to its approval."`
	Rebuild    benchRebuildCommand    `cmd:"" help:"Measure how fast a view is made again from the log."`
	Backlog    benchBacklogCommand    `cmd:"" help:"Measure how fast a service that joins later takes what has happened before."`
	Lanes      benchLanesCommand      `cmd:"" help:"Measure how much sooner a slow handler is through in several lanes."`
	Delivery   benchDeliveryCommand   `cmd:"" help:"Measure from the commit of an event to the end of its handler in another service."`
	Kiosk      benchKioskCommand      `cmd:"" help:"Measure the full path of an order at a kiosk, from the basket to its approval."`
	Departures benchDeparturesCommand `cmd:"" help:"Measure how many visitors may leave a supermarket in a second, through gates that speak MQTT."`
	Robots     benchRobotsCommand     `cmd:"" help:"Measure how many robots the mall takes that say all the time where they are."`
	Sockets    benchSocketsCommand    `cmd:"" help:"Measure from the commit of an event to its frame on many screens of staff."`
	Clients    benchClientsCommand    `cmd:"" help:"Measure many clients at once: how they are answered, and what memory that takes."`
	Depth      benchDepthCommand      `cmd:"" help:"Measure what an order costs at a long log against one at a short log."`
	Part       benchPartCommand       `cmd:"" help:"A part of a benchmark that runs as a process of its own." hidden:""`
}

// benchPartCommand is run by the benchmarks, not by people.
type benchPartCommand struct {
	Rebuild     benchPartRebuild     `cmd:""`
	Handwritten benchPartHandwritten `cmd:""`
}

// report prints a result as JSON, or its rows for people, and fails if what was measured was not right.
func report(env Env, r *root, result any, violations []string, rows ...[2]string) error {
	if r.Output == "table" {
		for _, row := range rows {
			fmt.Fprintf(env.Stdout, "%-36s%s\n", row[0], row[1])
		}
	} else if err := json.NewEncoder(env.Stdout).Encode(result); err != nil {
		return err
	}
	if len(violations) > 0 {
		return fmt.Errorf("what came of it is not right, so the figures are worth nothing: %q", violations)
	}
	return nil
}

func say(format string, args ...any) string { return fmt.Sprintf(format, args...) }

type benchRebuildCommand struct {
	Events int    `help:"Events in the log, an even number. Ten million take about 12 GB of disk while it lasts." default:"10000000"`
	View   string `help:"View of the analytics service; outcomes takes every event." enum:"outcomes,sales,products" default:"outcomes"`
}

// Help implements kong's long help.
func (benchRebuildCommand) Help() string {
	return `Example:
  souk bench rebuild --events 1000000 -o json

It fills a log on throw-away data and rebuilds a view over it in a process that has one core.
It exits with 1 when the view does not show the sums over the log.`
}

// Run fills a log, rebuilds the view and prints what that took.
func (c *benchRebuildCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Rebuild{Program: []string{self}, Events: c.Events, View: c.View, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"view", say("%s, %d of %d events applied", res.View, res.Applied, res.Events)},
		[2]string{"events a second", say("%.0f", res.EventsPerSecond)},
		[2]string{"time", say("%.1f s, CPU %.1f s", res.Seconds, res.CPUSeconds)},
		[2]string{"memory", say("peak %d MB", res.PeakRSSBytes>>20)},
	)
}

type benchBacklogCommand struct {
	Small  int `help:"Events of the small backlog, an even number." default:"5000"`
	Large  int `help:"Events of the large backlog, an even number." default:"1000000"`
	Rounds int `help:"How often the small one is taken; the median counts." default:"5"`
}

// Help implements kong's long help.
func (benchBacklogCommand) Help() string {
	return `Example:
  souk bench backlog --large 100000 -o json

Each event goes through a handler with one statement and through a view, in this process, on throw-away data.
It exits with 1 when what they made of it differs from the sums over the log.`
}

// Run consumes a small and a large backlog and prints the rates.
func (c *benchBacklogCommand) Run(ctx context.Context, env Env, r *root) error {
	res, err := bench.Backlog{Small: c.Small, Large: c.Large, Rounds: c.Rounds, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"small backlog", say("%d events, %.0f/s", res.Small, res.SmallPerSecond)},
		[2]string{"large backlog", say("%d events, %.0f/s", res.Large, res.LargePerSecond)},
		[2]string{"ratio", say("%.2f", res.Ratio)},
	)
}

type benchLanesCommand struct {
	Lanes    int           `help:"Lanes that work side by side." default:"16"`
	Handler  time.Duration `help:"How long the handler takes." default:"10ms"`
	Duration time.Duration `help:"How long each of the two runs lasts, about." default:"10s"`
}

// Help implements kong's long help.
func (benchLanesCommand) Help() string {
	return `Example:
  souk bench lanes --lanes 16 --handler 10ms -o json

It handles messages in one lane and then in all of them, in this process, on throw-away data.`
}

// Run measures one lane and all of them, and prints the rates.
func (c *benchLanesCommand) Run(ctx context.Context, env Env, r *root) error {
	res, err := bench.Lanes{Lanes: c.Lanes, Handler: c.Handler, Duration: c.Duration, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"one lane", say("%.1f/s", res.OneLane)},
		[2]string{say("%d lanes", res.Lanes), say("%.1f/s", res.AllLanes)},
		[2]string{"fold", say("%.2f, %.2f of what is possible", res.Fold, res.OfPossible)},
		[2]string{"in handlers", say("%.2f of the lanes' time", res.InHandlers)},
	)
}

type benchDeliveryCommand struct {
	Duration time.Duration `help:"How long each of the two runs lasts." default:"10s"`
	Idle     int           `help:"Events a second of the first run." default:"20"`
	Busy     int           `help:"Events a second of the second run." default:"1000"`
	Broker   string        `help:"With --db: URL of a broker, new too, that carries the messages; default none, the log does." placeholder:"URL"`
}

// Help implements kong's long help.
func (benchDeliveryCommand) Help() string {
	return `Example:
  souk bench delivery --busy 1000 -o json
  souk --db postgres://localhost/empty bench delivery --broker nats://127.0.0.1:4222

Two services run in this process on throw-away data; each event has a stream of its own. With --db each has a
runtime, connections and relay of its own on that database, which must be empty and is left there; the clock is one.`
}

// Run measures both rates and prints the latencies.
func (c *benchDeliveryCommand) Run(ctx context.Context, env Env, r *root) error {
	if r.DB == "" && c.Broker != "" {
		return usageError{errors.New("services that are apart share a database: name it with --db URL")}
	}
	res, err := bench.Delivery{
		DB: r.DB, Broker: c.Broker, Duration: c.Duration, Idle: c.Idle, Busy: c.Busy, Log: env.Stderr,
	}.Run(ctx)
	if err != nil {
		return err
	}
	var rows [][2]string
	for _, d := range []bench.DeliveryTimes{res.Idle, res.Busy} {
		rows = append(
			rows,
			[2]string{say("at %d/s, handled after", d.PerSecond), say("p50 %.2f ms, p99 %.2f ms", d.HandledMS.P50, d.HandledMS.P99)},
			[2]string{say("at %d/s, settled after", d.PerSecond), say("p50 %.2f ms, p99 %.2f ms", d.SettledMS.P50, d.SettledMS.P99)},
		)
	}
	return report(env, r, res, res.Violations, rows...)
}

type benchDepthCommand struct {
	Events   int           `help:"Events in the long log, an even number. Ten million take about 12 GB of disk while it lasts." default:"10000000"`
	Short    int           `help:"Events in the short log, an even number." default:"10000"`
	Rounds   int           `help:"Rounds of each, by turns; medians count." default:"3"`
	Duration time.Duration `help:"How long the load of a round lasts." default:"15s"`
	Rate     int           `help:"Orders a second, the same for both." default:"200"`
}

// Help implements kong's long help.
func (benchDepthCommand) Help() string {
	return `Example:
  souk bench depth --events 500000 -o json

Two malls on throw-away data differ in the length of their orders log alone and get the same load by turns.
It exits with 1 when what a mall kept is not what it accepted.`
}

// Run measures both and prints what an order costs.
func (c *benchDepthCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Depth{
		Program: []string{self}, Short: c.Short, Long: c.Events, Rounds: c.Rounds, Duration: c.Duration, Rate: c.Rate, Log: env.Stderr,
	}.Run(ctx)
	if err != nil {
		return err
	}
	var rows [][2]string
	for _, d := range []bench.DepthCost{res.Short, res.Long} {
		rows = append(
			rows,
			[2]string{say("at %d events, CPU an order", d.Events), say("%.3f ms", d.CPUMSPerOrder)},
			[2]string{"", say("accepted p50 %.2f ms, approved p50 %.2f ms", d.AcceptP50MS, d.ApproveP50MS)},
			[2]string{"", say("ready after %.0f ms, peak %d MB, database %d MB", d.ReadyMS, d.PeakRSSBytes>>20, d.DatabaseBytes>>20)},
		)
	}
	rows = append(rows, [2]string{"long to short", say("CPU %.2f, approved p50 %.2f", res.CPURatio, res.P50Ratio)})
	return report(env, r, res, res.Violations, rows...)
}

type benchPartRebuild struct {
	View string `arg:""`
}

// Run rebuilds a view of the mall in the data directory.
func (c *benchPartRebuild) Run(ctx context.Context, env Env, r *root) error {
	tuneCollector() // as in the mall that would rebuild it
	res, err := bench.RebuildPart(ctx, r.Data, c.View, env.Stderr)
	if err != nil {
		return err
	}
	return json.NewEncoder(env.Stdout).Encode(res)
}

type benchOrdersCommand struct {
	Duration time.Duration `help:"How long the load lasts." default:"10s"`
	Clients  int           `help:"Clients that send at the same time." default:"64"`
	Rate     int           `help:"Orders a second, sent whatever comes back; 0 sends the next when the last is answered." default:"0"`
	Beside   bool          `help:"Measure in the same run the same order as one hand-written SQLite transaction: the price of events."`
	Broker   string        `help:"With --db: URL of a broker, new too, that carries messages between the processes; default none, the log does." placeholder:"URL"`
	Process  []string      `help:"With --db: parts that run in one process, apart by spaces; give it once a process. What none names runs in the last. Default: each step of a checkout runs in one of its own." sep:"none" placeholder:"PARTS"`
	Idle     time.Duration `help:"With --db: for how long it is measured what the processes cost that wait." default:"10s"`
}

// Help implements kong's long help.
func (benchOrdersCommand) Help() string {
	return `Example:
  souk bench orders --rate 1000 --duration 20s -o json
  souk bench orders --beside
  souk --db postgres://localhost/empty bench orders --broker nats://127.0.0.1:4222 \
    --process "online keys stores customers" --process orders --process "inventory payments"

It starts a mall of its own on throw-away data, so no other may be disturbed. With --db it is a mall of
several processes on PostgreSQL; the databases must be empty, and the mall is left there.
It exits with 1 when what the mall kept is not what it accepted.`
}

// Run runs the load and prints what came of it.
func (c *benchOrdersCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if r.DB == "" && (c.Broker != "" || c.Process != nil) {
		return usageError{errors.New("several processes share a database: name it with --db URL")}
	}
	if r.DB != "" && c.Beside {
		return usageError{errors.New("--beside compares with a transaction in SQLite: leave --db out")}
	}
	res, err := bench.Orders{
		Program: []string{self}, Duration: c.Duration, Clients: c.Clients, Rate: c.Rate, Beside: c.Beside, Log: env.Stderr,
		Apart: bench.Apart{DB: r.DB, Broker: c.Broker, Split: c.Process, Idle: c.Idle},
	}.Run(ctx)
	if err != nil {
		return err
	}
	return report(env, r, res, res.Violations, orderRows(&res)...)
}

func orderRows(res *bench.OrdersResult) [][2]string {
	rows := [][2]string{
		{"loop", res.Loop},
		{"orders a second", say("%.0f (%d accepted, %d refused)", res.OrdersPerSecond, res.Accepted, res.Refused)},
		{"accepted after", say("p50 %.2f ms, p99 %.2f ms, max %.2f ms", res.AcceptMS.P50, res.AcceptMS.P99, res.AcceptMS.Max)},
		{"approved after", say("p50 %.2f ms, p99 %.2f ms, max %.2f ms", res.PlacedToApproved.P50, res.PlacedToApproved.P99, res.PlacedToApproved.Max)},
		{"CPU an order", say("%.3f ms", res.CPUMSPerOrder)},
		{"memory", say("idle %d MB, peak %d MB", res.IdleRSSBytes>>20, res.PeakRSSBytes>>20)},
		{"ready after", say("%.0f ms", res.ReadyMS)},
	}
	for _, p := range res.Processes {
		rows = append(
			rows,
			[2]string{say("process of %s", p.Parts[0]), strings.Join(p.Parts, " ")},
			[2]string{"", say("CPU an order %.3f ms, idle %.2f %% of a core", p.CPUMSPerOrder, p.IdlePercent)},
			[2]string{"", say("memory idle %d MB, peak %d MB", p.IdleRSSBytes>>20, p.PeakRSSBytes>>20)},
		)
	}
	for _, s := range res.Servers {
		rows = append(rows, [2]string{s.Name, say("CPU an order %.3f ms, idle %.2f %% of a core", s.CPUMSPerOrder, s.IdlePercent)})
	}
	for _, b := range res.Beside {
		rows = append(
			rows,
			[2]string{"by hand, " + b.Way, say("%.0f orders a second, the mall does %.2f of that", b.OrdersPerSecond, b.RateRatio)},
			[2]string{"", say("accepted after p50 %.2f ms, p99 %.2f ms", b.AcceptMS.P50, b.AcceptMS.P99)},
			[2]string{"", say("CPU an order %.3f ms, %.2f of the mall's", b.CPUMSPerOrder, b.CPURatio)},
		)
	}
	return rows
}

type benchKioskCommand struct {
	Duration time.Duration `help:"How long the load lasts." default:"10s"`
	Clients  int           `help:"People who order at the same time." default:"64"`
	Rate     int           `help:"Orders a second, begun whatever becomes of them; 0 begins the next when the last is accepted." default:"0"`
}

// Help implements kong's long help.
func (benchKioskCommand) Help() string {
	return `Example:
  souk bench kiosk
  souk bench kiosk --rate 1000 --duration 20s -o json

Each order is four requests: a basket is begun, two products are put in, and it is checked out. All services run, in one
process on throw-away data. It exits with 1 when what the mall kept is not what it accepted.`
}

// Run runs the load and prints what came of it.
func (c *benchKioskCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Orders{
		Program: []string{self}, Duration: c.Duration, Clients: c.Clients, Rate: c.Rate, Kiosk: true, Log: env.Stderr,
	}.Run(ctx)
	if err != nil {
		return err
	}
	return report(env, r, res, res.Violations, orderRows(&res)...)
}

type benchDeparturesCommand struct {
	Duration time.Duration `help:"How long the load lasts." default:"10s"`
	Gates    int           `help:"Gates that people leave through, each with a connection of its own." default:"128"`
	Rate     int           `help:"Departures a second, told whatever becomes of them; 0 has each gate tell the next when the last is acknowledged." default:"0"`
	Arrivals int           `help:"How many come in a second, at most, each when the one before was greeted." default:"20"`
}

// Help implements kong's long help.
func (benchDeparturesCommand) Help() string {
	return `Example:
  souk bench departures
  souk bench departures --rate 1000 --duration 20s -o json

Gates publish with QoS 1 and wait for the acknowledgement. All services run, in one process on throw-away data. It exits
with 1 when a departure that was acknowledged was not issued and charged once, or when somebody was not greeted.`
}

// Run runs the load and prints what came of it.
func (c *benchDeparturesCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Departures{
		Program: []string{self}, Duration: c.Duration, Gates: c.Gates, Rate: c.Rate, Arrivals: c.Arrivals, Log: env.Stderr,
	}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"loop", res.Loop},
		[2]string{"departures a second", say("%.0f acknowledged, %.0f handled (%d in all)", res.AcknowledgedPerS, res.HandledPerS, res.Acknowledged)},
		[2]string{"acknowledged after", say("p50 %.2f ms, p99 %.2f ms, max %.2f ms", res.AckMS.P50, res.AckMS.P99, res.AckMS.Max)},
		[2]string{"greeted after", say("p50 %.2f ms, p99 %.2f ms, max %.2f ms (%d)", res.GreetingMS.P50, res.GreetingMS.P99, res.GreetingMS.Max, res.Greeted)},
		[2]string{"CPU a departure", say("%.3f ms", res.CPUMSPerDeparture)},
		[2]string{"memory", say("peak %d MB", res.PeakRSSBytes>>20)},
	)
}

type benchRobotsCommand struct {
	Robots   int           `help:"How many there are." default:"1000"`
	Duration time.Duration `help:"For how long they are watched." default:"20s"`
	Lists    int           `help:"Lists of goods that are fetched meanwhile; 0 is one for every tenth robot." default:"0"`
}

// Help implements kong's long help.
func (benchRobotsCommand) Help() string {
	return `Example:
  souk bench robots --robots 1000 -o json

Each robot has a stream and says ten times a second where it is. The mall runs in this process on throw-away data, the
robots in another. It exits with 1 when a robot is lost, when one has not said how it is, or when goods were not fetched.
Positions may be missed: how many is a figure.`
}

// Run watches the robots and prints what came of it.
func (c *benchRobotsCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tuneCollector() // as in the mall that it is
	res, err := bench.Robots{Program: []string{self}, Robots: c.Robots, Duration: c.Duration, Lists: c.Lists, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"robots", say("%d", res.Robots)},
		[2]string{"positions a second", say("%.0f taken, %.0f came too early, %.1f %% did not come", res.PositionsPerS, res.EarlyPerS, res.MissingPercent)},
		[2]string{"lists", say("%d fetched after %.1f s", res.Lists, res.ListsSeconds)},
		[2]string{"CPU", say("%.0f %% of a core, the robots %.0f %%", res.CPUPercent, res.RobotsCPUPercent)},
		[2]string{"memory", say("peak %d MB", res.PeakRSSBytes>>20)},
	)
}

type benchSocketsCommand struct {
	Sockets  int           `help:"How many there are." default:"1000"`
	Duration time.Duration `help:"How long orders come in." default:"10s"`
	Rate     int           `help:"Orders a second; each has a dozen events or more, and each socket is told of all." default:"5"`
}

// Help implements kong's long help.
func (benchSocketsCommand) Help() string {
	return `Example:
  souk bench sockets --sockets 1000 -o json

It counts from an event's time to the frame on each socket. The sockets are in this process, the mall in another on
throw-away data. It exits with 1 when a socket ends or was not told of every event.`
}

// Run opens the sockets and prints how soon they were told.
func (c *benchSocketsCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Sockets{Program: []string{self}, Sockets: c.Sockets, Duration: c.Duration, Rate: c.Rate, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	return report(
		env, r, res, res.Violations,
		[2]string{"sockets", say("%d, told of %d events of %d orders", res.Sockets, res.Events, res.Orders)},
		[2]string{"frames a second", say("%.0f", res.FramesPerS)},
		[2]string{"frame after", say("p50 %.2f ms, p99 %.2f ms, max %.2f ms", res.FrameMS.P50, res.FrameMS.P99, res.FrameMS.Max)},
		[2]string{"CPU", say("%.0f %% of a core", res.CPUPercent)},
		[2]string{"memory", say("peak %d MB", res.PeakRSSBytes>>20)},
	)
}

type benchClientsCommand struct {
	Clients  int           `help:"Clients that send at the same time." default:"1000"`
	Duration time.Duration `help:"How long they do." default:"20s"`
}

// Help implements kong's long help.
func (benchClientsCommand) Help() string {
	return `Example:
  souk bench clients --clients 1000 -o json

Each sends its next order when the last is answered. It exits with 1 when a request fails, when one is
answered with anything but 202, 429 or 503, or when what the mall kept is not what it accepted.`
}

// Run puts many clients on a mall and prints how they were answered.
func (c *benchClientsCommand) Run(ctx context.Context, env Env, r *root) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	res, err := bench.Orders{Program: []string{self}, Duration: c.Duration, Clients: c.Clients, Log: env.Stderr}.Run(ctx)
	if err != nil {
		return err
	}
	rows := [][2]string{{"clients", say("%d", c.Clients)}}
	for _, status := range slices.Sorted(maps.Keys(res.Statuses)) {
		rows = append(rows, [2]string{say("answered %d", status), say("%d", res.Statuses[status])})
	}
	return report(env, r, res, res.Violations, append(rows, orderRows(&res)...)...)
}

type benchPartHandwritten struct {
	Group    int `default:"1"`
	Products int `default:"50"`
}

// Run serves orders that are written by hand until ctx ends.
func (c *benchPartHandwritten) Run(ctx context.Context, env Env, r *root) error {
	tuneCollector() // as in the mall that it is compared with
	return bench.Handwritten{Dir: r.Data, Products: c.Products, Group: c.Group}.Serve(ctx, env.Stdout)
}
