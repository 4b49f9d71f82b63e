package house

import (
	"strings"
	"testing"

	"example.org/souk/backbone"
)

// A list of databases says of which services another process is asked. Red where such an entry is taken for a host of the address before it.
func TestDatabasesThatAreNotReached(t *testing.T) {
	t.Parallel()
	const url, other = "postgres://a,b:5433/mall?sslmode=disable", "postgres://c/orders"
	for text, want := range map[string]map[string]string{
		url + ",orders=rpc":                        {"orders": OverRPC},
		url + ",orders=rpc,stores=rpc":             {"orders": OverRPC, "stores": OverRPC},
		"orders=rpc," + url:                        {"orders": OverRPC},
		url + ",orders=" + other + ",stores=rpc":   {"orders": other, "stores": OverRPC},
		url + ",stores=rpc,orders=" + other:        {"orders": other, "stores": OverRPC},
		url + ",orders=rpc,orders=" + other:        nil,
		url + ",orders=" + other + ",orders=rpc":   nil,
		url + ",rpc":                               {}, // a host of that name
		"orders=rpc":                               nil,
		"rpc":                                      nil,
		url + ",orders=rpcs":                       {},
		url + ",stores=rpc,orders=elsewhere://c/d": nil,
	} {
		shared, own, err := ParseDatabases(text)
		if want == nil {
			if err == nil {
				t.Errorf("%s: taken, as %q and %v", text, shared, own)
			}
			continue
		}
		if err != nil || !strings.HasPrefix(shared, url) || len(own) != len(want) {
			t.Errorf("%s: %q, %v, %v", text, shared, own, err)
		}
		for service, address := range want {
			if own[service] != address {
				t.Errorf("%s: %s has %q, want %q", text, service, own[service], address)
			}
		}
	}
}

// A process without the database of a service is refused where it cannot do without. Red for each that begins and finds nothing.
func TestRefusedWithoutADatabase(t *testing.T) {
	t.Parallel()
	parts := Parts(Ports{Intake: true})
	for name, c := range map[string]struct {
		config Config
		abroad string
		says   string // "": it begins
	}{
		"over a broker":                     {Config{Run: []string{"search"}, Broker: "nats://b"}, "orders", ""},
		"over the log":                      {Config{Run: []string{"search"}}, "orders", "name one with --broker"},
		"in one process":                    {Config{Broker: "nats://b"}, "orders", "nobody to ask"},
		"it runs here":                      {Config{Run: []string{"orders", "search"}, Broker: "nats://b"}, "orders", "it runs here"},
		"the command line":                  {Config{Quiet: true, DB: "postgres://a/b"}, "orders", "the command line reads"},
		"nobody's":                          {Config{Run: []string{"search"}, Broker: "nats://b"}, "order", "there is no service"},
		"the console":                       {Config{Run: []string{"console"}, Broker: "nats://b"}, "orders", "console shows"},
		"staff":                             {Config{Run: []string{"staff"}, Broker: "nats://b"}, "analytics", "staff shows"},
		"a kiosk":                           {Config{Run: []string{"kiosk"}, Broker: "nats://b"}, "baskets", "kiosk shows"},
		"a kiosk, of what it does not show": {Config{Run: []string{"kiosk"}, Broker: "nats://b"}, "analytics", ""},
		"devices":                           {Config{Run: []string{"devices"}, Broker: "nats://b"}, "exitgate", "devices shows"},
		"the keys, which are lent":          {Config{Run: []string{"customers"}, Broker: "nats://b"}, "keys", ""},
	} {
		h := &House{cfg: c.config, stores: &databases{abroad: map[string]bool{c.abroad: true}}}
		run := []string{}
		for _, p := range parts {
			if h.runs(p.Name) {
				run = append(run, p.Name)
			}
		}
		err := h.reachable(parts, run)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if h := (&House{stores: &databases{}}); h.reachable([]*backbone.Service{}, nil) != nil {
		t.Error("with all databases it is refused")
	}
}
