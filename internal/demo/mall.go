package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"example.org/souk/backbone"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

// theMall is the mall that is played with.
type theMall interface {
	// start runs it and returns when it takes orders; where it runs it does nothing. It runs until stop, whatever becomes of ctx.
	start(ctx context.Context) error
	// kill ends its next process at once, as a power cut would, and returns which; "" where it cannot be killed.
	kill() (string, error)
	// second returns a process that does what one of them does, and is not begun; nil where there can be none.
	second(chance *rand.Rand) *process
	// processes names what can be killed, and down what does not run just now.
	processes() []string
	down() []string
	stop() error
	// url is where people and robots find a service or gateway, and mqtt where devices do. They stay the same.
	url(part string) string
	mqtt() string
	// pages returns the links by which people see it, each good for once, with who they are for.
	pages() []house.SignIn
	// operate has it run an operation of the command line; it fails while what does it is down. emit may be nil.
	operate(ctx context.Context, name string, a control.Args, emit func(json.RawMessage) error) error
	// head returns the newest seal of a service's log, as it was kept beside the database.
	head(service string) (backbone.Seal, error)
}

// ask has the mall that runs on a data directory run an operation.
func ask(ctx context.Context, data, name string, a control.Args, emit func(json.RawMessage) error) error {
	return control.Ask(ctx, data, name, a, listening(emit))
}

// listening is emit, or what listens to nothing.
func listening(emit func(json.RawMessage) error) func(json.RawMessage) error {
	if emit == nil {
		return func(json.RawMessage) error { return nil }
	}
	return emit
}

// inside is a mall in this process.
type inside struct {
	config house.Config
	h      *house.House
	end    context.CancelFunc
	ended  chan error
}

func (m *inside) start(ctx context.Context) error {
	if m.h != nil {
		return nil
	}
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	begun := make(chan *house.House, 1)
	m.end, m.ended = end, make(chan error, 1)
	go func() {
		m.ended <- control.Host(run, m.config, func(h *house.House) error { begun <- h; return nil })
	}()
	select {
	case m.h = <-begun:
		return nil
	case err := <-m.ended:
		end()
		return err
	}
}

func (*inside) kill() (string, error) { return "", nil }
func (*inside) processes() []string   { return nil }

func (*inside) second(*rand.Rand) *process { return nil }
func (*inside) down() []string             { return nil }

func (m *inside) stop() error {
	if m.h == nil {
		return nil
	}
	m.end()
	m.h = nil
	return <-m.ended
}

func (m *inside) url(string) string { return m.h.URL() }
func (m *inside) mqtt() string      { return m.h.MQTT() }

func (m *inside) pages() []house.SignIn {
	links, _ := m.h.SignIns() // without keys nobody would have been let in so far
	return links
}

func (m *inside) operate(ctx context.Context, name string, a control.Args, emit func(json.RawMessage) error) error {
	return ask(ctx, m.config.Data, name, a, emit)
}

func (m *inside) head(service string) (backbone.Seal, error) {
	return house.HeadIn(m.config.Data, service)
}

// apart is a mall in a process of its own.
type apart struct {
	data string
	all  process
}

// newApart prepares a mall in one process.
func newApart(c house.Config, program []string) *apart {
	args := append([]string{"--data", c.Data, "up"}, flags(c)...)
	return &apart{data: c.Data, all: process{name: "the mall", program: program, args: args, env: secrets(c), web: c.HTTP, gate: c.MQTT.Address}}
}

// flags are those of a mall that knows what is outside of it.
func flags(c house.Config) []string {
	list := []string{
		"--payment", c.Payment.URL, "--payment-key", c.Payment.KeyFile, "--smtp", c.Mail.SMTP, "--smtp-plain",
		"--sms", c.SMS.URL, "--sms-key", c.SMS.KeyFile,
		"--caller-rate", fmt.Sprint(c.CallerRate), "--robot-lease", c.RobotLease.String(),
	}
	if c.Payment.CallbackSecretFile != "" {
		list = append(list, "--payment-callback-secret", c.Payment.CallbackSecretFile)
	}
	return list
}

// secrets are what is told by the environment, where others do not see it.
func secrets(c house.Config) []string { return []string{"SOUK_LOGISTICS=" + c.Logistics} }

func (m *apart) start(ctx context.Context) error { return m.all.begin(ctx) }

func (m *apart) kill() (string, error) {
	if killed, err := m.all.kill(); !killed {
		return "", err
	}
	return m.all.name, nil
}

// second is none: a database in a file has one process.
func (*apart) second(*rand.Rand) *process { return nil }

func (m *apart) processes() []string { return []string{m.all.name} }

func (m *apart) down() []string {
	if m.all.runs() {
		return nil
	}
	return m.processes()
}

func (m *apart) stop() error { return m.all.end() }

func (m *apart) url(string) string {
	web, _, _ := m.all.where()
	return web
}

func (m *apart) mqtt() string {
	_, gate, _ := m.all.where()
	return gate
}

func (m *apart) pages() []house.SignIn {
	_, _, links := m.all.where()
	return links
}

func (m *apart) operate(ctx context.Context, name string, a control.Args, emit func(json.RawMessage) error) error {
	return ask(ctx, m.data, name, a, emit)
}

func (m *apart) head(service string) (backbone.Seal, error) { return house.HeadIn(m.data, service) }
