package cli

import (
	"context"

	"example.org/souk/internal/control"
)

type deviceCommand struct {
	Add    deviceAdd    `cmd:"" help:"Give a device a login."`
	List   deviceList   `cmd:"" help:"Which devices have a login."`
	Revoke deviceRevoke `cmd:"" help:"Take a device's login away; its connections are cut."`
}

type deviceAdd struct {
	Device string `arg:"" help:"The device's id, such as gate-1."`
	Kind   string `help:"What it is: gate, gate-in, gate-out, display, till, kiosk, shelf or scale; default what its id begins with."`
	Store  string `help:"The store that it is in; default the only one."`
}

// Help implements kong's long help.
func (deviceAdd) Help() string {
	return `Example:
  souk device add gate-1 -o json

It prints the password this once; what is kept of it does not let anybody in. With it comes a
complete line for mosquitto_pub or mosquitto_sub that does what such a device does.`
}

// Run gives a device a login.
func (c *deviceAdd) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "device add", control.Args{"device": c.Device, "kind": c.Kind, "store": c.Store})
}

type deviceList struct{}

// Help implements kong's long help.
func (deviceList) Help() string { return "Example:\n  souk device list" }

// Run lists devices.
func (c *deviceList) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "device list", nil)
}

type deviceRevoke struct {
	Device string `arg:"" help:"The device's id."`
	Why    string `help:"Why, for whoever asks later."`
}

// Help implements kong's long help.
func (deviceRevoke) Help() string {
	return "Example:\n  souk device revoke gate-1 --why \"it was stolen\""
}

// Run takes a device's login away.
func (c *deviceRevoke) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "device revoke", control.Args{"device": c.Device, "why": c.Why})
}
