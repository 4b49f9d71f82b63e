package house

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/souk/backbone"
	gateway "example.org/souk/gateway/logistics"
	"example.org/souk/mall/logistics"
)

const logisticsPart = "logistics"

// openLogistics prepares the gateway to the bus of the logistics department: the one at the configured URL, or that of a
// supplier's stand-in, which is this same program run once more as a process of its own. "off" is none; then purchases wait.
func (h *House) openLogistics(ctx context.Context, p *Ports) error {
	if h.cfg.Quiet || h.cfg.Logistics == "off" || !h.runs(logisticsPart) {
		return nil
	}
	p.Bus = bus{h}
	if h.cfg.Logistics != "" {
		return h.meetLogistics(ctx, h.cfg.Logistics)
	}
	dir := h.supplierDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	program, err := h.program()
	if err != nil {
		return err
	}
	h.supplier = &standIn{name: "supplier stand-in", program: program, args: []string{
		"provider", "supplier", "--ledger", filepath.Join(dir, "ledger.jsonl"),
		"--password-file", filepath.Join(dir, "password"), "--delay", "2000",
	}}
	return h.supplier.start()
}

func (h *House) supplierDir() string { return filepath.Join(h.cfg.Data, "supplier-stand-in") }

// meetSupplier waits for the stand-in, which has come up meanwhile.
func (h *House) meetSupplier(ctx context.Context) error {
	if h.supplier == nil {
		return nil
	}
	address, err := h.supplier.address()
	if err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(h.supplierDir(), "password"))
	if err != nil {
		return fmt.Errorf("supplier stand-in: %w", err)
	}
	at, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("supplier stand-in: %w", err)
	}
	at.User = url.UserPassword("souk", strings.TrimSpace(string(password)))
	return h.meetLogistics(ctx, at.String())
}

func (h *House) meetLogistics(ctx context.Context, at string) (err error) {
	c := gateway.Config{Logger: h.cfg.Logger}
	if c.URL, c.Login, err = login(at); err != nil {
		return fmt.Errorf("logistics: %w", err)
	}
	if c.Instance, err = h.instance(ctx); err != nil {
		return err
	}
	h.logistics, err = gateway.Open(c)
	return err
}

// Logistics returns the address of the bus of the logistics department without what is secret, "" where there is none.
func (h *House) Logistics() string {
	if h.logistics == nil {
		return ""
	}
	at, err := url.Parse(h.logistics.URL)
	if err != nil {
		return ""
	}
	at.User = nil
	return at.String()
}

// bus sends purchases out. It does so only after Start, which meets the supplier first.
type bus struct{ house *House }

// Send implements logistics.Bus.
func (b bus) Send(ctx context.Context, o logistics.Order) error {
	err := b.house.logistics.Send(ctx, gateway.Needed{
		Purchase: o.Purchase, SKU: o.SKU, Location: o.Location, Quantity: o.Quantity, Threshold: o.Threshold,
		Asked: time.UnixMicro(o.Asked), Canceled: o.Canceled,
	})
	if err != nil {
		return backbone.Transient(err)
	}
	return nil
}

// takeNotices begins to take in what the logistics department says.
func (h *House) takeNotices(ctx context.Context) {
	if h.logistics != nil {
		h.taking.Go(func() { h.logistics.Run(ctx, h) })
	}
}

// closeLogistics ends the connections to the bus, and the stand-in.
func (h *House) closeLogistics() {
	if h.logistics != nil {
		h.logistics.Close()
		h.logistics = nil
	}
	if h.supplier != nil {
		h.supplier.stop()
		h.supplier = nil
	}
}

// program is the command that runs this program once more.
func (h *House) program() ([]string, error) {
	if len(h.cfg.Payment.Program) > 0 {
		return h.cfg.Payment.Program, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Join(errors.New("stand-ins: this program does not know where it lies"), err)
	}
	return []string{self}, nil
}
