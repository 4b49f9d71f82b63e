package cli

import (
	"context"
	"fmt"

	"example.org/souk/provider/payment/standin"
	supplier "example.org/souk/provider/supplier/standin"
)

type providerCommand struct {
	Payment  paymentCommand  `cmd:"" help:"Run the stand-in for a payment provider. It moves no money."`
	Supplier supplierCommand `cmd:"" help:"Run the stand-in for a supplier with a message bus. It delivers nothing."`
}

type paymentCommand struct {
	Listen     string `help:"Loopback address; port 0 is a free one." default:"127.0.0.1:0"`
	Ledger     string `help:"File of its ledger." required:"" type:"path"`
	APIKeyFile string `help:"File with the API key; made if it is not there." required:"" name:"api-key-file" type:"path"`

	CallbackURL        string `help:"URL that is told about every execution; default nobody is." name:"callback-url" placeholder:"URL" and:"callback"`
	CallbackCert       string `help:"File with the certificate of that server; default those that the machine trusts." type:"path" placeholder:"FILE"`
	CallbackSecretFile string `help:"File with the secret that signs callbacks; made if it is not there." type:"path" placeholder:"FILE" and:"callback"`
}

// Run runs the stand-in until ctx ends.
func (c *paymentCommand) Run(ctx context.Context, env Env) error {
	key, err := standin.KeyFile(c.APIKeyFile)
	if err != nil {
		return err
	}
	config := standin.Config{Listen: c.Listen, Ledger: c.Ledger, APIKey: key, CallbackURL: c.CallbackURL, CallbackCert: c.CallbackCert}
	if c.CallbackURL != "" {
		if config.CallbackSecret, err = standin.KeyFile(c.CallbackSecretFile); err != nil {
			return err
		}
	}
	p, err := standin.New(config)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "listening on", p.URL())
	return p.Run(ctx)
}

type supplierCommand struct {
	Listen       string `help:"Loopback address of the bus; port 0 is a free one." default:"127.0.0.1:0"`
	Admin        string `help:"Loopback address of the faults and the ledger." default:"127.0.0.1:0"`
	Ledger       string `help:"File of its ledger." required:"" type:"path"`
	PasswordFile string `help:"File with the password of the bus; made if it is not there." required:"" type:"path"`
	Hold         bool   `help:"Deliver nothing until it is asked for."`
	Delay        int    `help:"How long a delivery takes, in milliseconds." default:"0"`
}

// Run runs the stand-in until ctx ends.
func (c *supplierCommand) Run(ctx context.Context, env Env) error {
	password, err := supplier.PasswordFile(c.PasswordFile)
	if err != nil {
		return err
	}
	s, err := supplier.New(supplier.Config{
		Listen: c.Listen, Admin: c.Admin, Ledger: c.Ledger, Password: password, Faults: supplier.Faults{Hold: c.Hold, DelayMS: c.Delay},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "listening on", s.URL())
	fmt.Fprintln(env.Stdout, "faults at", s.Admin())
	return s.Run(ctx)
}
