package house

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/kiosk"
	"example.org/souk/gateway/online"
	"example.org/souk/gateway/partner"
	"example.org/souk/internal/peers"
)

// consolePart is the page of engineers.
const consolePart = "console"

// kioskPart is the way in for people at kiosks.
const kioskPart = kiosk.Gate

// gateways are the parts that are no services.
var gateways = []string{consolePart, kioskPart}

// PartNames lists what can run in a process of its own, services and gateways, each once, but for the gateway to partners, which needs a
// broker.
func PartNames() []string {
	names := slices.Clone(gateways)
	for _, p := range Parts(Ports{Intake: true}) {
		if !slices.Contains(names, p.Name) { // a gateway that takes in by a service of its own is both
			names = append(names, p.Name)
		}
	}
	return names
}

// Several tells whether the mall runs as several processes on databases that they share.
func (h *House) Several() bool { return h.cfg.Run != nil || h.cfg.Quiet && h.cfg.DB != "" }

// choose lists the services that run here; the zero list stands for none, nil for all.
func (h *House) choose(parts []*backbone.Service) ([]string, error) {
	known := slices.Clone(gateways)
	for _, p := range parts {
		if p.Name == doorTables || p.Name == peers.Schema().Service {
			return nil, fmt.Errorf("no service can be named %q: tables of the mall stand under that name", p.Name)
		}
		known = append(known, p.Name)
	}
	for _, name := range h.cfg.Run {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no part %q to run; there are %v", name, known)
		}
	}
	for _, name := range h.cfg.Without {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no part %q to leave out", name)
		}
	}
	run := []string{}
	for _, p := range parts {
		if h.runs(p.Name) {
			run = append(run, p.Name)
		}
	}
	return run, nil
}

// runs tells whether a part runs in this process.
func (h *House) runs(part string) bool {
	switch {
	case h.cfg.Quiet && part == partner.ServiceName: // the command line has no connections; what is for partners waits for the mall
		return false
	case h.cfg.Run != nil:
		return slices.Contains(h.cfg.Run, part)
	}
	return !slices.Contains(h.cfg.Without, part)
}

// Reader reads a service, wherever it runs.
func (h *House) Reader(service string) *backbone.Reader {
	if h.Runtime != nil && h.Runtime.Runs(service) {
		return h.Runtime.Reader(service)
	}
	return backbone.NewReader(service, h.stores.of(service))
}

// join makes this process one of several: it finds the others, and they find it.
func (h *House) join(ctx context.Context) error {
	if h.cfg.Quiet {
		if lacks, err := h.lacksOf(ctx, h.stores.shared, peers.Schema()); err != nil || len(lacks) > 0 {
			return err // no process has ever run here
		}
		p, err := h.open(ctx, peers.Process{Parts: []string{"operator"}})
		h.peers = p
		return err
	}
	if err := h.stores.shared.Migrate(ctx, []driver.Schema{peers.Schema(), doorSchema()}); err != nil {
		return err
	}
	listen := h.cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := h.bind(ctx, listensProcesses, listen)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	address := h.cfg.Advertise
	if address == "" {
		address = l.Addr().String()
	}
	h.peers, err = h.open(ctx, peers.Process{Host: host, PID: os.Getpid(), Version: version(), Parts: h.cfg.Run, Address: address})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	h.between, h.stores.others = h.peers.Listener(l), newOthersLogs(h.peers.Client())
	return nil
}

func (h *House) open(ctx context.Context, p peers.Process) (*peers.Peers, error) {
	if p.ID = h.owner; p.ID == "" {
		p.ID = "operator-" + strings.ToLower(rand.Text())
	}
	return peers.Open(ctx, peers.Config{Store: h.stores.shared, Clock: clock{}, Logger: h.cfg.Logger, Process: p})
}

// version names the build of this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

// refreshEvery bounds for how long a process does not know of a token that was revoked through another one.
const refreshEvery = 2 * time.Second

// keepUp takes over what other processes change of tokens, until ctx ends.
func (h *House) keepUp(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, refreshEvery)
		if err := h.Authority.Refresh(bounded); err != nil && ctx.Err() == nil {
			h.cfg.Logger.WarnContext(ctx, "tokens that were revoked elsewhere may still be taken here", "error", err)
		}
		cancel()
	}
}

// Do has a command decided: here where its service runs here, else by the process that runs it.
func (h *House) Do(ctx context.Context, c backbone.Command, options ...backbone.DoOption) (backbone.Answer, error) {
	service := h.Runtime.HandlerOf(c.CommandType())
	if h.Several() && h.peers == nil {
		return backbone.Answer{}, errors.New("no mall has run on this database yet")
	}
	if h.here(service) || service == "" {
		return h.Runtime.Do(ctx, c, options...)
	}
	return elsewhere{h.peers.Client()}.do(ctx, service, c, options...)
}

// here tells whether a service runs in this process.
func (h *House) here(service string) bool {
	return h.peers == nil || !h.cfg.Quiet && h.Runtime.Runs(service)
}

// Processes lists the processes of a mall that runs as several, oldest first.
func (h *House) Processes(ctx context.Context) ([]peers.Process, error) {
	if h.peers == nil {
		return nil, errors.New("this mall runs in one process; those of several are listed with --db")
	}
	return h.peers.Processes(ctx)
}

// onlineStore returns what stands behind the online store: the services themselves, or an intake where they run in other processes.
func (h *House) onlineStore() online.Config {
	c := online.Config{Pulses: &h.hub, Seeder: worlds{h}, Currency: h.cfg.Currency}
	if h.peers == nil {
		c.Commands, c.Catalogue, c.Orders = h.Runtime, catalogue{h.Reader("stores")}, orderBook{h.Reader("orders")}
		c.Stock = stock{h.Reader("stores"), h.Reader("inventory")}
		return c
	}
	others := elsewhere{h.peers.Client()}
	intake := online.Intake{Local: h.Runtime, Log: h.Reader(online.ServiceName), Owner: others}
	c.Commands, c.Catalogue, c.Orders, c.Stock = intake, intake, intake, remoteStock{intake, others}
	return c
}

// followFeeds wakes the feeds of customers whose orders went on in another process, until ctx ends.
func (h *House) followFeeds(ctx context.Context) {
	const again = time.Second
	for ctx.Err() == nil {
		err := elsewhere{h.peers.Client()}.follow(ctx, h.hub.Notify)
		if ctx.Err() == nil {
			h.cfg.Logger.InfoContext(ctx, "feeds look by themselves until orders can be followed again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// serverOfOthers is the server that other processes call.
func serverOfOthers(programs http.Handler) *http.Server {
	server := &http.Server{Handler: programs, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	bound(server)
	return server
}

// serveOthers answers other processes, until the house stops.
func (h *House) serveOthers(run context.Context, programs http.Handler) error {
	server := serverOfOthers(programs)
	server.ErrorLog = h.peers.ErrorLog()
	server.BaseContext = func(net.Listener) context.Context { return run }
	h.servers = append(h.servers, server)
	h.loops.Go(func() {
		if err := server.Serve(h.between); !errors.Is(err, http.ErrServerClosed) {
			h.cfg.Logger.Error("the server for other processes ended", "error", err)
		}
	})
	if err := h.peers.Join(run); err != nil {
		return err
	}
	h.joined.Store(true)
	h.loops.Go(func() { h.peers.Run(run) })
	h.loops.Go(func() { h.keepUp(run) })
	if h.runs(online.ServiceName) {
		h.loops.Go(func() { h.followFeeds(run) })
	}
	return nil
}
