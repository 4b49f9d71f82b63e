package house

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/mall/depot"
	"example.org/souk/mall/entrance"
	"example.org/souk/mall/exitgate"
)

// MQTTConfig says where devices connect.
type MQTTConfig struct {
	// Address of the MQTT server; "" or "off" for none. Other than on loopback it speaks TLS.
	Address string
	// TLS speaks TLS on loopback, too.
	TLS bool
	// CertFile and KeyFile hold a certificate with its key; default one that is made in the data directory and that devices
	// trust by the file mqtt/certificate.pem there.
	CertFile, KeyFile string
	// Chain is the first level of the topics of older systems; default "souk".
	Chain string
	// Sessions bounds the sessions that outlive their connections, SessionsEach those of one device, FiltersEach the filters of one device
	// in all its sessions; defaults 20,000, 32 and 256.
	Sessions, SessionsEach, FiltersEach int
}

func (c MQTTConfig) off() bool { return c.Address == "" || c.Address == "off" }

// secure tells whether the server speaks TLS.
func (c MQTTConfig) secure() bool { return c.TLS || c.CertFile != "" || !Loopback(c.Address) }

// openDevices opens the port of devices, which wait there until the mall has started. The command line has none.
func (h *House) openDevices(ctx context.Context) (_ *devices.Gateway, err error) {
	if h.cfg.Quiet {
		return nil, nil
	}
	c := devices.Config{
		Chain: h.cfg.MQTT.Chain, Logger: h.cfg.Logger, Keys: h.Keys, Settled: h.countDevices,
		Shop:   visitors{h.Reader("entrance"), h.Reader("exitgate")},
		Reader: h.Reader(devices.ServiceName), Intake: h.Several(), Sessions: filepath.Join(h.cfg.Data, "mqtt", "sessions.jsonl"),
		MostSessions: h.cfg.MQTT.Sessions, MostOfOne: h.cfg.MQTT.SessionsEach, MostFilters: h.cfg.MQTT.FiltersEach,
	}
	if !h.cfg.MQTT.off() && h.runs(devices.ServiceName) {
		if c.Listener, err = h.listenMQTT(ctx); err != nil {
			return nil, err
		}
	}
	h.devices, err = devices.Open(c)
	if err != nil && c.Listener != nil {
		err = errors.Join(err, c.Listener.Close())
	}
	return h.devices, err
}

func (h *House) listenMQTT(ctx context.Context) (net.Listener, error) {
	m := h.cfg.MQTT
	var config *tls.Config
	if _, _, err := net.SplitHostPort(m.Address); err != nil {
		return nil, fmt.Errorf("port of devices: %w; write --mqtt HOST:PORT, or --mqtt off for none", err)
	}
	if m.secure() {
		var err error
		if config, err = certified(filepath.Join(h.cfg.Data, "mqtt"), m.Address, m.CertFile, m.KeyFile); err != nil {
			return nil, fmt.Errorf("certificate of the MQTT server: %w", err)
		}
	}
	l, err := h.bind(ctx, listensDevices, m.Address)
	if err != nil {
		return nil, fmt.Errorf("port of devices: %w; choose another with --mqtt, or none with --mqtt off", err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

// letDevicesIn begins to take in what devices send.
func (h *House) letDevicesIn(ctx context.Context) error {
	if h.devices == nil || !h.runs(devices.ServiceName) {
		return nil
	}
	if err := h.devices.Serve(ctx, h); err != nil {
		return err
	}
	if err := h.noteEntry(ctx, devices.ServiceName, h.entryOfDevices()); err != nil {
		return err
	}
	h.loops.Go(func() { h.devices.Watch(ctx) })
	return nil
}

// Entry is where something outside connects, and the file by which it trusts what answers there, "" where it needs none.
type Entry struct {
	URL         string `json:"url"`
	Certificate string `json:"certificate,omitempty"`
}

// entryNote names the value, beside the tables of a service, in which the process that runs it says where its devices connect.
const entryNote = "entry"

// noteEntry tells the command line, which is none of the processes of a mall that runs as several, where what a service of this process
// answers connects.
func (h *House) noteEntry(ctx context.Context, service string, e Entry) error {
	if !h.Several() || !h.runs(service) {
		return nil
	}
	if e.Certificate != "" {
		var err error
		if e.Certificate, err = filepath.Abs(e.Certificate); err != nil {
			return err
		}
	}
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return h.stores.of(service).SetValue(ctx, service, entryNote, value)
}

// DevicesEntry returns where devices connect, and RobotsEntry where robots do; the zero Entry where no mall runs or it takes none. Of several processes
// that take them it is the one that began last.
func (h *House) DevicesEntry(ctx context.Context) (Entry, error) {
	return h.entry(ctx, devices.ServiceName, h.entryOfDevices())
}

// RobotsEntry is DevicesEntry for robots.
func (h *House) RobotsEntry(ctx context.Context) (Entry, error) {
	return h.entry(ctx, depot.ServiceName, Entry{URL: h.URL()})
}

func (h *House) entry(ctx context.Context, service string, here Entry) (e Entry, err error) {
	store := h.stores.of(service)
	if !h.cfg.Quiet || !h.Several() || store == nil {
		return here, nil
	}
	value, err := store.Value(ctx, service, entryNote)
	if err != nil || value == nil {
		return Entry{}, err
	}
	return e, json.Unmarshal(value, &e)
}

func (h *House) entryOfDevices() Entry {
	e := Entry{URL: h.MQTT()}
	if h.cfg.MQTT.secure() && e.URL != "" {
		e.Certificate = h.MQTTCertificate()
	}
	return e
}

// MQTT returns the address that devices connect to as a URL, "" where they do not.
func (h *House) MQTT() string {
	if h.devices == nil || h.devices.Address() == "" {
		return ""
	}
	if h.cfg.MQTT.secure() {
		return "mqtts://" + h.devices.Address()
	}
	return "mqtt://" + h.devices.Address()
}

// MQTTCertificate returns the file by which devices trust the MQTT server.
func (h *House) MQTTCertificate() string {
	return cmp.Or(h.cfg.MQTT.CertFile, filepath.Join(h.cfg.Data, "mqtt", "certificate.pem"))
}

// visitors knows what devices scan.
type visitors struct{ entrance, exitgate *backbone.Reader }

// Visitor implements devices.Shop.
func (v visitors) Visitor(ctx context.Context, scanned string) (string, bool, error) {
	return entrance.Known(ctx, v.entrance, scanned)
}

// Place implements devices.Shop.
func (v visitors) Place(ctx context.Context, store string) (string, bool, error) {
	return exitgate.Place(ctx, v.exitgate, store)
}

// StoresAt implements devices.Shop.
func (v visitors) StoresAt(ctx context.Context, location string) ([]string, error) {
	return exitgate.StoresAt(ctx, v.exitgate, location)
}

// SKU implements devices.Shop.
func (v visitors) SKU(ctx context.Context, store, scanned string) (string, bool, error) {
	return exitgate.SKU(ctx, v.exitgate, store, scanned)
}

func newDeviceMetrics() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "souk_device_messages_total", Help: "Messages of devices that were settled, by name and by what became of them.",
	}, []string{"name", "outcome"})
}

func (h *House) countDevices(name string, o devices.Outcome) {
	h.metrics.devices.WithLabelValues(name, string(o)).Inc()
}
