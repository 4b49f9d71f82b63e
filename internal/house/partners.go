package house

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/partner"
	"example.org/souk/internal/peers"
	"example.org/souk/mall"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/stores"
)

const defaultPartner = "PARTNER_001"

// openPartners opens the gateway to partners. The command line has one without connections where a mall has kept
// something for partners, so that it can be looked at.
func (h *House) openPartners(ctx context.Context) (_ *partner.Gateway, err error) {
	c := partner.Config{URLs: h.cfg.Partners, Account: h.cfg.PartnerAccount, Logger: h.cfg.Logger, Settled: h.countPartners, Up: h.showPartner}
	if c.Account == "" {
		c.Account = defaultPartner
	}
	if h.cfg.Quiet && h.Several() {
		c.Instance, c.URLs = "souk-operator", nil // it has no connections
	} else if c.Instance, err = h.placeName(); err != nil { // two of one name would take each other's connections
		return nil, err
	}
	switch {
	case h.Several():
		switch {
		case !h.runs(partner.ServiceName):
			c.URLs = nil // other processes have the connections
		case len(c.URLs) == 0:
			return nil, errors.New("the part that speaks to partners runs here, and no partner is named")
		}
	case h.cfg.Quiet:
		if ran, err := h.ranHere(ctx, partner.ServiceName); !ran || err != nil {
			return nil, err
		}
		c.URLs = nil
	case len(c.URLs) == 0:
		return nil, nil
	case slices.Contains(h.cfg.Without, partner.ServiceName):
		return nil, errors.New("partners are named, and the part that speaks to them is left out: leave out one of the two")
	}
	c.Logins, c.Accounts = map[string]partner.Login{}, map[string]string{}
	c.URLs = slices.Clone(c.URLs)
	for i, text := range c.URLs {
		account, address, err := partner.SplitAccount(text)
		if err != nil {
			return nil, fmt.Errorf("partner: %w", err)
		}
		rest, now, err := login(address)
		if err != nil {
			return nil, fmt.Errorf("partner: %w", err)
		}
		if c.URLs[i] = rest; now != nil {
			c.Logins[rest] = now
		}
		if account != "" {
			c.Accounts[rest] = account
		}
	}
	g, err := partner.Open(c)
	h.partners = g
	return g, err
}

// instanceSecret is where processes keep how their mall is named at brokers.
const instanceSecret = "partner-instance"

// instance names this mall, for brokers that several malls read from: by its data directory, or by what its processes have agreed on.
func (h *House) instance(ctx context.Context) (name string, err error) {
	if h.Several() {
		err = peers.NewVault(h.stores.shared).Change(ctx, instanceSecret, func(old []byte) ([]byte, error) {
			if old == nil {
				old = []byte("souk-" + strings.ToLower(rand.Text()))
			}
			name = string(old)
			return old, nil
		})
		return name, err
	}
	return h.placeName()
}

// placeName names this process, for brokers that several processes of a mall read from as well: by its data directory, which each has for itself.
func (h *House) placeName() (string, error) {
	dir, err := filepath.Abs(h.cfg.Data)
	if err != nil {
		return "", err
	}
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(host + "\n" + dir))
	return "souk-" + hex.EncodeToString(sum[:12]), nil
}

// ranHere tells whether a service has tables in the file that the command line reads, without making any.
func (h *House) ranHere(ctx context.Context, service string) (bool, error) {
	store, err := h.SQLite()
	if err != nil {
		return false, nil //nolint:nilerr // the command line reads files only
	}
	all, err := store.Plan(ctx, []driver.Schema{{Service: "nobody"}})
	if err != nil {
		return false, err
	}
	lacks, err := store.Plan(ctx, []driver.Schema{{Service: service}})
	return len(lacks) < len(all), err
}

// takeFromPartners begins to take in what partners send.
func (h *House) takeFromPartners(ctx context.Context) {
	if h.partners == nil {
		return
	}
	if !h.runs(partner.ServiceName) {
		return
	}
	h.taking.Go(func() {
		for _, account := range h.partners.AccountsInUse() {
			h.warnOfUnknown(ctx, account)
		}
		var list partner.Catalogue = offers{h.Reader("stores")}
		if h.Several() {
			list = elsewhere{h.peers.Client()}
		}
		h.partners.Run(ctx, h.Runtime, list)
	})
}

// warnOfUnknown says that a partner's account is no customer, where this process can tell.
func (h *House) warnOfUnknown(ctx context.Context, account string) {
	if h.stores.of("customers") == nil || h.cfg.TestMode {
		return
	}
	if c, err := customers.Get(ctx, h.Reader("customers"), account); err == nil && c.Status == customers.Unknown {
		h.cfg.Logger.Warn("orders of partners are rejected until their customer is registered", "customer", account)
	}
}

// offers shows partners what can be ordered.
type offers struct{ stores *backbone.Reader }

// Find implements partner.Catalogue.
func (o offers) Find(ctx context.Context, skuOrName string) (mall.Item, bool, error) {
	p, found, err := stores.Find(ctx, o.stores, skuOrName)
	if err != nil || !found {
		return mall.Item{}, false, err
	}
	return mall.Item{Product: p.Product, SKU: p.SKU, Name: p.Name, Price: p.Price}, true, nil
}

// partnerMetrics is what Prometheus is shown of partners.
type partnerMetrics struct {
	messages *prometheus.CounterVec
	up       *prometheus.GaugeVec
}

func newPartnerMetrics() *partnerMetrics {
	return &partnerMetrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "souk_partner_messages_total", Help: "Messages of partners that were settled, by connection and by what became of them.",
		}, []string{"connection", "outcome"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "souk_partner_up", Help: "Whether orders of partners are taken in, by connection.",
		}, []string{"connection"}),
	}
}

func (h *House) countPartners(connection string, o partner.Outcome) {
	h.metrics.partners.messages.WithLabelValues(connection, string(o)).Inc()
}

func (h *House) showPartner(connection string, up bool) {
	value := 0.0
	if up {
		value = 1
	}
	h.metrics.partners.up.WithLabelValues(connection).Set(value)
}
