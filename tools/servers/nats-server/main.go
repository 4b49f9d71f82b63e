// Command nats-server is the NATS server, wrapped as its own main does it, so that the version that the tests run is
// pinned in this module. Tests start it through internal/testserver, which builds it with scripts/server.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	const name = "nats-server"
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.Usage = func() {
		fmt.Printf("usage: %s [-a HOST] [-p PORT] [-js] [-sd DIR] [-c FILE] [-P PIDFILE] ...\n", name)
		flags.PrintDefaults()
		os.Exit(0)
	}
	options, err := server.ConfigureOptions(flags, os.Args[1:], server.PrintServerAndExit, flags.Usage, server.PrintTLSHelpAndDie)
	if err != nil {
		server.PrintAndDie(fmt.Sprintf("%s: %s", name, err))
	}
	if options.CheckConfig {
		fmt.Fprintf(os.Stderr, "%s: configuration file %s is valid\n", name, options.ConfigFile)
		os.Exit(0)
	}
	s, err := server.NewServer(options)
	if err != nil {
		server.PrintAndDie(fmt.Sprintf("%s: %s", name, err))
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		server.PrintAndDie(err.Error())
	}
	s.WaitForShutdown()
}
