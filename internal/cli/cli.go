// Package cli is the command line of souk: noun, then verb. What concerns a mall
// that runs is done through the socket in its data directory; where nothing runs,
// the command line takes the directory's lock and does it itself.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/alecthomas/kong"

	"example.org/souk/backbone"
)

// Env is what a command line runs in.
type Env struct {
	Args           []string
	Stdout, Stderr io.Writer
	Added          []*backbone.Service
}

type root struct {
	Data   string `help:"Directory of the database, the keys and what the stand-ins keep." default:"./souk-data" env:"SOUK_DATA" type:"path"`
	DB     string `help:"URL of a PostgreSQL database, and of those of services that have one of their own: URL,orders=URL; default the file souk.db in the data directory." name:"db" env:"SOUK_DB" placeholder:"URL"`
	Output string `help:"How results are written: table, json or jsonl." short:"o" enum:"table,json,jsonl" default:"table" env:"SOUK_OUTPUT"`

	Up        upCommand        `cmd:"" help:"Run the whole mall in this process: the online store, all services, a demo shop on first start."`
	Demo      demoCommand      `cmd:"" help:"Run a mall that lives, on throw-away data, and check that what must hold does."`
	Run       runCommand       `cmd:"" help:"Run parts of the mall in this process, as one of several on the same PostgreSQL databases."`
	Process   processCommand   `cmd:"" help:"The processes of a mall."`
	Basket    basketCommand    `cmd:"" help:"What customers want, before it is an order."`
	Order     orderCommand     `cmd:"" help:"Orders."`
	Store     storeCommand     `cmd:"" help:"Shops."`
	Product   productCommand   `cmd:"" help:"What is sold, and at which price."`
	Catalogue catalogueCommand `cmd:"" help:"The whole catalogue, as a table."`
	Visit     visitCommand     `cmd:"" help:"Visits to shops."`
	Shopping  shoppingCommand  `cmd:"" help:"What robots fetch for orders."`
	Purchase  purchaseCommand  `cmd:"" help:"What is bought to refill the shelves."`
	Customer  customerCommand  `cmd:"" help:"Customers."`
	Stock     stockCommand     `cmd:"" help:"Stock."`
	Sales     salesCommand     `cmd:"" help:"What was sold, by hour, shop or product."`
	Funnel    funnelCommand    `cmd:"" help:"How far baskets, orders and visitors came, and how long it took."`
	Device    deviceCommand    `cmd:"" help:"What stands in shops: gates, displays, tills."`
	Payment   paymentGroup     `cmd:"" help:"Payments."`
	Event     eventCommand     `cmd:"" help:"What stands in the logs."`
	Trace     traceCommand     `cmd:"" help:"Everything that an order led to, over all services."`
	Topic     topicCommand     `cmd:"" help:"What carries the messages: the logs, or the topics at a broker."`
	Map       mapCommand       `cmd:"" help:"The map of services: who handles, publishes and subscribes to what."`
	Saga      sagaCommand      `cmd:"" help:"Processes over several services."`
	DLQ       dlqCommand       `cmd:"" name:"dlq" help:"Messages that failed and wait."`
	View      viewCommand      `cmd:"" help:"Tables that are made from events."`
	Service   serviceCommand   `cmd:"" help:"Services."`
	Audit     auditCommand     `cmd:"" help:"The seals over the logs."`
	Contracts contractsCommand `cmd:"" help:"What crosses the borders of services."`
	Doctor    doctorCommand    `cmd:"" help:"Find out what is wrong with a mall, and what to do about it."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the tables up to date without starting the mall."`
	Backup    backupCommand    `cmd:"" help:"Copy the database while it is in use."`
	Restore   restoreCommand   `cmd:"" help:"Make a data directory from a backup."`
	Wait      waitCommand      `cmd:"" help:"Wait until nothing is in flight."`
	Token     tokenCommand     `cmd:"" help:"Bearer tokens, and the keys that sign them."`
	Bench     benchCommand     `cmd:"" help:"Measure the mall on this machine."`
	Help      helpCommand      `cmd:"" help:"Show what a command does, as --help after it. Example: souk help stock receive"`
	Provider  providerCommand  `cmd:"" help:"Run a stand-in for something outside of the mall." hidden:""`
}

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, env Env) int {
	var r root
	parser, err := kong.New(&r, kong.Name("souk"), kong.Description("souk runs a mall on events: one binary, one database file, nothing else."),
		kong.Writers(env.Stdout, env.Stderr), kong.Exit(func(int) { panic(errExit) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(env, &r), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(env.Stderr, "souk:", err)
		return 2
	}
	return parse(parser, env)
}

var errExit = errors.New("exit")

// parse runs the command; --help ends it early with success.
func parse(parser *kong.Kong, env Env) (code int) {
	defer func() {
		if p := recover(); p == errExit { //nolint:errorlint // the very value that Exit panics with
			code = 0
		} else if p != nil {
			panic(p)
		}
	}()
	command, err := parser.Parse(env.Args)
	if err != nil {
		fmt.Fprintln(env.Stderr, "souk:", err)
		return 2
	}
	if err := command.Run(); err != nil {
		fmt.Fprintln(env.Stderr, "souk:", err)
		if _, ok := errors.AsType[usageError](err); ok {
			return 2
		}
		return 1
	}
	return 0
}

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command; default all of them."`
}

// Run shows the help of a command, which ends the program.
func (c *helpCommand) Run(at *kong.Context) error {
	_, err := at.Kong.Parse(append(slices.Clone(c.Command), "--help"))
	return usageError{err}
}

// usageError is a mistake in the command line that its grammar does not know.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }
