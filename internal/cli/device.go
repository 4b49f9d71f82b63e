package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.org/souk/device/display"
	"example.org/souk/device/gate"
	"example.org/souk/device/robot"
	"example.org/souk/device/shopper"
	"example.org/souk/internal/control"
)

type deviceCommand struct {
	Add    deviceAdd    `cmd:"" help:"Give a device a login."`
	List   deviceList   `cmd:"" help:"Which devices have a login."`
	Revoke deviceRevoke `cmd:"" help:"Take a device's login away; its connections are cut."`

	Gate    deviceGate    `cmd:"" help:"Play a gate that people pass."`
	Display deviceDisplay `cmd:"" help:"Play a display that welcomes them."`
	Shopper deviceShopper `cmd:"" help:"Play people who shop at a kiosk."`
	Robot   deviceRobot   `cmd:"" help:"Play robots that fetch what customers ordered."`
}

// deviceLink is where a device that souk plays connects, and as whom.
type deviceLink struct {
	Device       string `arg:"" help:"The device's id."`
	Server       string `help:"The MQTT server: mqtt://host:port, or mqtts:// for TLS." default:"mqtt://127.0.0.1:1883" env:"SOUK_DEVICE_SERVER" placeholder:"URL"`
	CAFile       string `help:"File with the certificate by which the server is trusted." name:"ca-file" type:"path" env:"SOUK_DEVICE_CA_FILE" placeholder:"FILE"`
	Password     string `help:"Its password; better in the environment or a file." env:"SOUK_DEVICE_PASSWORD"`
	PasswordFile string `help:"File with its password." type:"path" env:"SOUK_DEVICE_PASSWORD_FILE" placeholder:"FILE"`
	Store        string `help:"The store that it is in." default:"main-hall" env:"SOUK_DEVICE_STORE"`
	MQTT         int    `help:"Version of MQTT: 3, which is 3.1.1, or 5." name:"mqtt-version" enum:"3,5" default:"5"`
}

// atARate refuses a rate that is none, which the programs would take for the one that is usual.
func atARate(rate float64) error {
	if !(rate > 0) {
		return usageError{errors.New("--rate is more than 0")}
	}
	return nil
}

func (l *deviceLink) password() (string, error) {
	if l.PasswordFile == "" {
		return l.Password, nil
	}
	text, err := os.ReadFile(l.PasswordFile)
	return strings.TrimSpace(string(text)), err
}

type deviceGate struct {
	deviceLink
	Kind       string   `help:"gate, gate-in or gate-out." enum:"gate,gate-in,gate-out" default:"gate"`
	Older      bool     `help:"Publish under the names of older systems."`
	Seed       uint64   `help:"The same seed gives the same people and bags." default:"1"`
	Rate       float64  `help:"People a second who pass." default:"1"`
	Visitors   int      `help:"How many come; 0 for as many as until it is stopped." default:"0"`
	After      int      `help:"Go on behind so many messages of the sequence, which were before." default:"0" placeholder:"N"`
	Customers  []string `help:"Who come: ids or cards." default:"amina,bruno,chen"`
	Products   []string `help:"What they carry: ids, SKUs or barcodes." default:"lamp,tea,saffron,tray,bowl"`
	Duplicates int      `help:"Percent of the messages that are sent twice."`
	Reorder    int      `help:"Percent that are sent after the next one."`
	Misreads   int      `help:"Percent with something in them that nobody knows."`
	Loss       int      `help:"Percent that are never sent."`
	Offline    int      `help:"Percent that begin a spell without a connection."`
	OfflineMS  int      `help:"For how many milliseconds it is without one." name:"offline-ms" default:"500"`
	Admin      string   `help:"Loopback address at which faults are switched while it runs; port 0 is a free one." placeholder:"ADDRESS"`
}

// Help implements kong's long help.
func (deviceGate) Help() string {
	return `Example:
  SOUK_DEVICE_PASSWORD=... souk device gate gate-1 --rate 2 --visitors 20 --duplicates 10

It prints a line for everybody who passes, and where the mall has it opened by hand. With --admin faults are switched while it runs, and those that are not named are 0 then:
  curl -X PUT -H "Authorization: Bearer $SOUK_DEVICE_PASSWORD" -d '{"duplicates":50}' http://127.0.0.1:PORT/faults`
}

// Run plays a gate until everybody has left.
func (c *deviceGate) Run(ctx context.Context, env Env) error {
	password, err := c.password()
	if err := errors.Join(err, atARate(c.Rate)); err != nil {
		return err
	}
	return gate.Run(ctx, gate.Config{
		Server: c.Server, CAFile: c.CAFile, Store: c.Store, Kind: c.Kind, Device: c.Device, Password: password, Version: c.MQTT, Older: c.Older,
		Seed: c.Seed, Rate: c.Rate, Visitors: c.Visitors, After: c.After, Customers: c.Customers, Products: c.Products, Admin: c.Admin, Out: env.Stdout, Trouble: env.Stderr,
		Faults: gate.Faults{Duplicates: c.Duplicates, Reorder: c.Reorder, Misreads: c.Misreads, Loss: c.Loss, Offline: c.Offline, OfflineMS: c.OfflineMS},
	})
}

type deviceDisplay struct {
	deviceLink
	Page string `help:"Loopback address of a page that shows the same, for a browser; port 0 is a free one." placeholder:"ADDRESS"`
}

// Help implements kong's long help.
func (deviceDisplay) Help() string {
	return `Example:
  SOUK_DEVICE_PASSWORD=... souk device display display-1
  SOUK_DEVICE_PASSWORD=... souk device display display-1 --page 127.0.0.1:8081`
}

// Run plays a display until ctx ends.
func (c *deviceDisplay) Run(ctx context.Context, env Env) error {
	password, err := c.password()
	if err != nil {
		return err
	}
	return display.Run(ctx, display.Config{
		Server: c.Server, CAFile: c.CAFile, Store: c.Store, Device: c.Device, Password: password, Version: c.MQTT, Out: env.Stdout,
		Page: c.Page,
	})
}

type deviceRobot struct {
	Robot        string  `arg:"" help:"The robot's id; with --count what their ids begin with."`
	Server       string  `help:"The mall's address: http://host:port, or https:// for TLS." default:"http://127.0.0.1:8080" env:"SOUK_ROBOT_SERVER" placeholder:"URL"`
	CAFile       string  `help:"File with the certificate by which the server is trusted." name:"ca-file" type:"path" env:"SOUK_DEVICE_CA_FILE" placeholder:"FILE"`
	Password     string  `help:"Its password; better in the environment or a file." env:"SOUK_DEVICE_PASSWORD"`
	PasswordFile string  `help:"File with its password, or with --count a line with id and password for each." type:"path" env:"SOUK_DEVICE_PASSWORD_FILE" placeholder:"FILE"`
	Count        int     `help:"How many robots: ROBOT-1, ROBOT-2 and so on." default:"0" placeholder:"N"`
	Seed         uint64  `help:"The same seed gives the same robots the same faults at their stops." default:"1"`
	Speed        float64 `help:"Centimetres a second." default:"150"`
	Carries      int64   `help:"Pieces at a time." default:"20"`
	Positions    int     `help:"How many positions are said a second, at most 10." default:"10"`
	Steady       bool    `help:"Say positions also when standing still."`
	Short        int     `help:"Percent of the stops where less is found than is wanted."`
	Block        int     `help:"Percent of the stops whose way is barred."`
	Vanish       int     `help:"Percent of the stops before which the robot vanishes: it says nothing and does not move."`
	VanishFor    int     `help:"For how many milliseconds it vanishes; 0 for good." name:"vanish-ms"`
	Duplicates   int     `help:"Percent of the stops that are reported twice."`
	Drops        int     `help:"Percent of the stops after which the link breaks."`
	Drain        int     `help:"Percent of the stops after which the battery is all but empty, so that the robot has to charge when its list is done."`
	Admin        string  `help:"Loopback address at which faults are switched while it runs; port 0 is a free one." placeholder:"ADDRESS"`
}

// Help implements kong's long help.
func (deviceRobot) Help() string {
	return `Example:
  SOUK_DEVICE_PASSWORD=... souk device robot robot-1
  souk device add robot --count 20 --password-file fleet.txt
  souk device robot robot --count 20 --password-file fleet.txt --short 5 --drops 10

It prints a line for everything that a robot does. With --admin faults are switched while it runs, and those that are not named are 0 then:
  curl -X PUT -H "Authorization: Bearer $SOUK_DEVICE_PASSWORD" -d '{"vanish":50}' http://127.0.0.1:PORT/faults
The password is that of the first robot.`
}

// logins returns as whom the robots come.
func (c *deviceRobot) logins() ([]robot.Login, error) {
	password := c.Password
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, err
		}
		password = strings.TrimSpace(string(text))
	}
	if c.Count == 0 {
		return []robot.Login{{Robot: c.Robot, Password: password}}, nil
	}
	known := map[string]string{}
	for line := range strings.Lines(password) {
		id, secret, _ := strings.Cut(strings.TrimSpace(line), " ")
		known[id] = secret
	}
	var list []robot.Login
	for _, id := range numbered(c.Robot, c.Count) {
		if known[id] == "" {
			return nil, fmt.Errorf("%s has no line for %s: give it a login with souk device add", c.PasswordFile, id)
		}
		list = append(list, robot.Login{Robot: id, Password: known[id]})
	}
	return list, nil
}

// numbered returns the ids of so many devices.
func numbered(name string, count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", name, i+1)
	}
	return list
}

// Run lets robots work until ctx ends.
func (c *deviceRobot) Run(ctx context.Context, env Env) error {
	list, err := c.logins()
	if err != nil {
		return err
	}
	return robot.Run(ctx, robot.Config{
		Server: c.Server, CAFile: c.CAFile, Robots: list, Seed: c.Seed, Speed: c.Speed, Carries: c.Carries, Positions: c.Positions, Steady: c.Steady,
		Faults: robot.Faults{Short: c.Short, Block: c.Block, Vanish: c.Vanish, VanishMS: c.VanishFor, Duplicates: c.Duplicates, Drops: c.Drops, Drain: c.Drain},
		Admin:  c.Admin, Out: env.Stdout,
	})
}

type deviceShopper struct {
	Device     string        `arg:"" help:"The kiosk's id."`
	Server     string        `help:"The mall: http://host:port, or https://." default:"http://127.0.0.1:8080" env:"SOUK_KIOSK_SERVER" placeholder:"URL"`
	CAFile     string        `help:"File with the certificate by which the mall is trusted." name:"ca-file" type:"path" env:"SOUK_DEVICE_CA_FILE" placeholder:"FILE"`
	Token      string        `help:"The kiosk's login, in the role of a device; better in the environment or a file." env:"SOUK_KIOSK_TOKEN"`
	TokenFile  string        `help:"File with it." type:"path" env:"SOUK_KIOSK_TOKEN_FILE" placeholder:"FILE"`
	Seed       uint64        `help:"The same seed gives the same people and wishes." default:"1"`
	Rate       float64       `help:"People a second who come." default:"1"`
	People     int           `help:"How many come; 0 for as many as until it is stopped." default:"0"`
	After      int           `help:"Go on behind so many people of the sequence, who have come before." default:"0" placeholder:"N"`
	Cards      []string      `help:"Cards that some of them have." default:"1001,1002,1003"`
	Patience   time.Duration `help:"How long somebody waits for their order." default:"60s"`
	AtOnce     int           `help:"How many are there at the same time." default:"64"`
	Abandon    int           `help:"Percent of the people who leave their basket behind."`
	Cancel     int           `help:"Percent who call their order off."`
	NoShow     int           `help:"Percent who never come to the depot."`
	Duplicates int           `help:"Percent of the requests that are sent twice."`
	Loss       int           `help:"Percent of the answers that are not heard, so that the request is sent again."`
	Admin      string        `help:"Loopback address at which faults are switched while it runs; port 0 is a free one." placeholder:"ADDRESS"`
}

// Help implements kong's long help.
func (deviceShopper) Help() string {
	return `Example:
  SOUK_KIOSK_TOKEN=$(souk token --role device --subject kiosk-1) souk device shopper kiosk-1 --rate 2 --people 20 --cancel 10

It prints a line for everything that somebody does. With --admin faults are switched while it runs, and those that are not named are 0 then:
  curl -X PUT -H "Authorization: Bearer $SOUK_KIOSK_TOKEN" -d '{"abandon":50}' http://127.0.0.1:PORT/faults`
}

// Run plays people until all have left.
func (c *deviceShopper) Run(ctx context.Context, env Env) error {
	if err := atARate(c.Rate); err != nil {
		return err
	}
	token := c.Token
	if c.TokenFile != "" {
		text, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(text))
	}
	return shopper.Run(ctx, shopper.Config{
		Server: c.Server, CAFile: c.CAFile, Device: c.Device, Token: token, Seed: c.Seed, Rate: c.Rate, People: c.People, After: c.After, Cards: c.Cards,
		Patience: c.Patience, AtOnce: c.AtOnce, Admin: c.Admin, Out: env.Stdout, Trouble: env.Stderr,
		Faults: shopper.Faults{Abandon: c.Abandon, Cancel: c.Cancel, NoShow: c.NoShow, Duplicates: c.Duplicates, Loss: c.Loss},
	})
}

type deviceAdd struct {
	Device string `arg:"" help:"The device's id, such as gate-1; with --count what their ids begin with."`
	Kind   string `help:"What it is: gate, gate-in, gate-out, display, till, kiosk, shelf, scale or robot; default what its id begins with."`
	Count  int    `help:"Give so many devices a login: DEVICE-1, DEVICE-2 and so on. Their passwords go into the password file, a line with id and password each." default:"0" placeholder:"N"`
	Store  string `help:"The store that it is in; default the only one."`

	Line         bool   `help:"Print a complete command line that does what such a device does, and nothing else." xor:"how"`
	PasswordFile string `help:"Write the password into a file, which only you can read, and print nothing." type:"path" placeholder:"FILE" xor:"how"`
}

// Help implements kong's long help.
func (deviceAdd) Help() string {
	return `Example:
  souk device add gate-1

It prints the password this once; what is kept of it does not let anybody in. With it comes a
complete line for mosquitto_pub or mosquitto_sub that does what such a device does.`
}

// Run gives a device a login.
func (c *deviceAdd) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"device": c.Device, "kind": c.Kind, "store": c.Store}
	switch {
	case c.Count > 0 && c.PasswordFile == "":
		return errors.New("say with --password-file where the passwords of so many devices go")
	case c.PasswordFile != "":
		return c.intoFile(ctx, env, r, a)
	case c.Line:
		a["form"] = "line"
	case r.Output == "table":
		a["form"] = "text"
	}
	return r.do(ctx, env, "device add", a)
}

// intoFile gives logins and writes the passwords down.
func (c *deviceAdd) intoFile(ctx context.Context, env Env, r *root, a control.Args) error {
	ids := []string{c.Device}
	if c.Count > 0 {
		ids = numbered(c.Device, c.Count)
	}
	var text strings.Builder
	for _, id := range ids {
		a["device"] = id
		err := control.Call(ctx, r.mall(env), "device add", a, func(row json.RawMessage) error {
			var added struct{ Password string }
			err := json.Unmarshal(row, &added)
			if c.Count > 0 {
				text.WriteString(id + " ")
			}
			text.WriteString(added.Password + "\n")
			return err
		})
		if err != nil {
			return errors.Join(err, os.WriteFile(c.PasswordFile, []byte(text.String()), 0o600)) // those that have one keep it
		}
	}
	return os.WriteFile(c.PasswordFile, []byte(text.String()), 0o600)
}

type deviceList struct{}

// Help implements kong's long help.
func (deviceList) Help() string { return "Example:\n  souk device list" }

// Run lists devices.
func (c *deviceList) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "device list", control.Args{}, "No device has a login.")
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
