// Command smsstandin runs the stand-in for a text message provider as a process of its own. It sends nothing.
//
//	smsstandin --ledger sms.jsonl --api-key-file sms.key
//
// The API key is read from its file; a file that is not there is written first, with a new key, readable by its owner only. The first
// line on standard output is "listening on http://HOST:PORT". It stops on SIGINT and SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/sms/standin"
)

func main() { admin.Main("smsstandin", run) }

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("smsstandin", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "loopback `address`; port 0 is a free one")
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
	p, err := standin.New(standin.Config{Listen: *listen, Ledger: *ledger, APIKey: key})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "listening on %s\n", p.URL()); err != nil {
		return errors.Join(err, p.Close())
	}
	return p.Run(ctx)
}
