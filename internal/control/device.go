package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/stores"
)

// deviceLogin is what is told of a device that was added: its password this once.
type deviceLogin struct {
	Device   string `json:"device"`
	Store    string `json:"store"`
	Kind     string `json:"kind"`
	Password string `json:"password,omitempty"`
	Server   string `json:"server"`  // where it connects to; empty: the mall does not run, or takes no devices
	Example  string `json:"example"` // a command line that does what such a device does
}

// addDevice gives a device a login.
func addDevice(ctx context.Context, h *house.House, a Args, emit Emit) (err error) {
	l := devices.Login{Device: a["device"], Store: a["store"], Kind: devices.Kind(a["kind"])}
	if err := mall.ValidID(l.Device); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if l.Kind == "" {
		l.Kind, _ = devices.KindOf(l.Device)
	}
	if !known(l.Kind) {
		return fmt.Errorf("say what %s is with --kind: one of %v", l.Device, devices.Kinds())
	}
	if l.Kind == devices.Robot {
		l.Store = "" // it goes about in the whole mall
	} else if l.Store, err = storeOf(ctx, h, l.Store); err != nil {
		return err
	}
	password := devices.NewPassword()
	l.Hash = devices.HashOf(password)
	answer, err := h.Do(ctx, devices.AddDevice(l), backbone.By("operator:"+a["actor"]))
	if err := errors.Join(err, answer.Err()); err != nil {
		return err
	}
	ask := h.DevicesEntry
	if l.Kind == devices.Robot {
		ask = h.RobotsEntry
	}
	at, err := ask(ctx)
	if err != nil {
		return err
	}
	line := example(l, password, at)
	switch a["form"] {
	case "line":
		return emit(text{line + "\n"})
	case "text":
		return emit(text{fmt.Sprintf("device    %s, a %s in %s\npassword  %s\nserver    %s\ntry       %s\n",
			l.Device, l.Kind, cmp.Or(l.Store, "the mall"), password, cmp.Or(at.URL, "none: no mall runs, or it takes no devices"), line)})
	}
	return emit(deviceLogin{l.Device, l.Store, string(l.Kind), password, at.URL, line})
}

func known(kind devices.Kind) bool {
	for _, k := range devices.Kinds() {
		if k == kind {
			return true
		}
	}
	return false
}

// storeSeen is how long a store is waited for that is not there: one that was opened a moment ago is seen a moment later where a broker
// carries what the services tell.
const storeSeen = 3 * time.Second

// storeOf returns the store that a device is in, or that sells a product: the named one, or the only one.
func storeOf(ctx context.Context, h *house.House, name string) (string, error) {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	enough := time.NewTimer(storeSeen)
	defer enough.Stop()
	for {
		list, err := storesNamed(ctx, h, name)
		switch {
		case err != nil:
			return "", err
		case len(list) == 1:
			return list[0], nil
		case len(list) > 1:
			return "", fmt.Errorf("say which store it is in with --store: one of %s", strings.Join(list, ", "))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return "", ctx.Err()
		case <-enough.C:
			if name != "" {
				return "", fmt.Errorf("there is no store %q", name)
			}
			return "", errors.New("there is no store yet: souk store create makes one")
		}
	}
}

// storesNamed returns the ids of the stores that may be meant by a name, which are all where there is none.
func storesNamed(ctx context.Context, h *house.House, name string) ([]string, error) {
	if name != "" {
		_, found, err := stores.GetStore(ctx, h.Reader("stores"), name)
		if err != nil || !found {
			return nil, err
		}
		return []string{name}, nil
	}
	list, err := stores.ListStores(ctx, h.Reader("stores"), "", false, 1000)
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.Store
	}
	return ids, err
}

// example returns a complete line for the stock client, or for souk itself where no stock client speaks as the device does.
func example(l devices.Login, password string, at house.Entry) string {
	if l.Kind == devices.Robot {
		return fmt.Sprintf("SOUK_DEVICE_PASSWORD=%s souk device robot %s --server %s", password, l.Device, cmp.Or(at.URL, "http://127.0.0.1:8080"))
	}
	host, port := "127.0.0.1", "1883"
	if _, address, ok := strings.Cut(at.URL, "//"); ok {
		i := strings.LastIndexByte(address, ':')
		host, port = strings.Trim(address[:i], "[]"), address[i+1:]
	}
	login := fmt.Sprintf("-h %s -p %s -u %s -P %s", host, port, l.Device, password)
	if at.Certificate != "" {
		login += " --cafile " + at.Certificate
	}
	switch l.Kind {
	case devices.Gate, devices.GateIn:
		return "mosquitto_pub " + login + ` -q 1 -t CustomerArrival -m '{"timestamp":"2026-05-01T12:00:00Z","customer_id":"amina"}'`
	case devices.GateOut:
		return "mosquitto_pub " + login + ` -q 1 -t customer-departed -m '{"timestamp":"2026-05-01T12:00:00Z","customer_id":"amina","product_ids":["lamp"]}'`
	case devices.Display:
		return "mosquitto_sub " + login + " -q 1 -t display-welcome"
	case devices.Till, devices.Kiosk:
		return "mosquitto_sub " + login + " -q 1 -t payment-due"
	}
	return "mosquitto_pub " + login + fmt.Sprintf(" -q 1 -r -t souk/v1/%s/%s/%s/connection", l.Store, l.Kind, l.Device) + ` -m '{"state":"ONLINE"}'`
}

// revokeDevice takes a device's login away.
func revokeDevice(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := devices.RevokeDevice{Device: a["device"], Reason: a["why"]}
	if err := mall.ValidID(c.Device); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if err := noCard("why", c.Reason); err != nil {
		return err
	}
	answer, err := h.Do(ctx, c, backbone.By("operator:"+a["actor"]))
	if err := errors.Join(err, answer.Err()); err != nil {
		return err
	}
	return emit(struct {
		Device string `json:"device"`
		Status string `json:"status"`
	}{c.Device, "revoked"})
}

// listDevices tells which devices have a login.
func listDevices(ctx context.Context, h *house.House, _ Args, emit Emit) error {
	list, err := devices.Logins(ctx, h.Reader(devices.ServiceName), "")
	for _, l := range list {
		err = errors.Join(err, emit(struct {
			Device string `json:"device"`
			Store  string `json:"store"`
			Kind   string `json:"kind"`
		}{l.Device, l.Store, cmp.Or(string(l.Kind), "-")}))
	}
	return err
}
