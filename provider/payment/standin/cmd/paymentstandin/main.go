// Command paymentstandin runs the stand-in for a payment provider as a process of its own. It moves no money.
//
//	paymentstandin --ledger payments.jsonl --api-key-file payments.key
//
// The API key is read from its file; a file that is not there is written first, with a new key, readable by its owner
// only. The first line on standard output is "listening on http://HOST:PORT". It stops on SIGINT and SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"example.org/souk/provider/internal/admin"
	"example.org/souk/provider/payment/standin"
)

func main() { admin.Main("paymentstandin", run) }

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("paymentstandin", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "loopback `address` to listen on; port 0 is a free one")
	ledger := flags.String("ledger", "", "ledger `file`, created if it is not there (required)")
	keyFile := flags.String("api-key-file", "", "`file` with the API key, created with a new key if it is not there (required)")
	callbackURL := flags.String("callback-url", "", "`URL` that is told about every execution")
	secretFile := flags.String("callback-secret-file", "", "`file` with the secret that signs callbacks, created like the API key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *keyFile == "":
		return errors.New("--api-key-file is required")
	case *callbackURL != "" && *secretFile == "":
		return errors.New("--callback-url needs --callback-secret-file")
	}
	config := standin.Config{Listen: *listen, Ledger: *ledger, CallbackURL: *callbackURL}
	var err error
	if config.APIKey, err = standin.KeyFile(*keyFile); err != nil {
		return err
	}
	if *secretFile != "" {
		if config.CallbackSecret, err = admin.KeyFile(*secretFile); err != nil {
			return err
		}
	}
	provider, err := standin.New(config)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, "listening on", provider.URL()); err != nil {
		return errors.Join(err, provider.Close())
	}
	return provider.Run(ctx)
}
