// Command mailstandin runs the stand-in for a mail server as a process of its own. It delivers nothing.
//
//	mailstandin --ledger mail.jsonl --api-key-file mail.key
//
// The API key of its HTTP side is read from its file; a file that is not there is written first, with a new key,
// readable by its owner only. The first line on standard output is "listening on smtp://HOST:PORT http://HOST:PORT". It
// stops on SIGINT and SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/mail/standin"
)

func main() { admin.Main("mailstandin", run) }

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("mailstandin", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "loopback `address` for SMTP; port 0 is a free one")
	listenAdmin := flags.String("listen-admin", "127.0.0.1:0", "loopback `address` for HTTP; port 0 is a free one")
	ledger := flags.String("ledger", "", "ledger `file`, created if it is not there (required)")
	keyFile := flags.String("api-key-file", "", "`file` with the API key, created with a new key if it is not there (required)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *keyFile == "":
		return errors.New("--api-key-file is required")
	}
	key, err := admin.KeyFile(*keyFile)
	if err != nil {
		return err
	}
	catcher, err := standin.New(standin.Config{Listen: *listen, ListenAdmin: *listenAdmin, Ledger: *ledger, APIKey: key})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "listening on smtp://%s %s\n", catcher.Address(), catcher.URL()); err != nil {
		return errors.Join(err, catcher.Close())
	}
	return catcher.Run(ctx)
}
