package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
)

// theMall is the mall that is played with.
type theMall interface {
	// start runs it and returns when it takes orders; where it runs it does nothing. It runs until stop, whatever becomes of ctx.
	start(ctx context.Context) error
	// kill ends it at once, as a power cut would; false where it cannot be killed.
	kill() bool
	stop() error
	url() string
	mqtt() string
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

func (*inside) kill() bool { return false }

func (m *inside) stop() error {
	if m.h == nil {
		return nil
	}
	m.end()
	m.h = nil
	return <-m.ended
}

func (m *inside) url() string  { return m.h.URL() }
func (m *inside) mqtt() string { return m.h.MQTT() }

// apart is a mall in a process of its own.
type apart struct {
	config  house.Config
	program []string

	mu        sync.Mutex
	cmd       *exec.Cmd
	web, gate string // where it was first, and is again
}

func (m *apart) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		return nil
	}
	program := m.program
	if program == nil {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		program = []string{self}
	}
	web, gate := m.config.HTTP, m.config.MQTT.Address
	if m.web != "" {
		web, gate = strings.TrimPrefix(m.web, "http://"), strings.TrimPrefix(m.gate, "mqtt://")
	}
	args := append(program[1:len(program):len(program)], "--data", m.config.Data, "up", "--http", web, "--mqtt", gate,
		"--payment", m.config.Payment.URL, "--payment-key", m.config.Payment.KeyFile, "--smtp", m.config.Mail.SMTP, "--smtp-plain",
		"--caller-rate", fmt.Sprint(m.config.CallerRate), "--robot-lease", m.config.RobotLease.String())
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program[0], args...) //nolint:gosec // this program, or one that the caller names
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		switch rest = strings.TrimSpace(rest); what {
		case "online":
			m.web = strings.TrimSpace(strings.TrimPrefix(rest, "store"))
		case "devices":
			m.gate = rest
		case "ready":
			m.cmd = cmd
			return nil
		}
	}
	return errors.Join(errors.New("the mall ended before it was ready"), cmd.Wait())
}

func (m *apart) kill() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return false
	}
	_ = m.cmd.Process.Kill() // it may have ended by itself, which Wait tells
	_ = m.cmd.Wait()         // it was killed
	m.cmd = nil
	return true
}

func (m *apart) stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return nil
	}
	cmd := m.cmd
	m.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	return cmd.Wait()
}

func (m *apart) url() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.web
}

func (m *apart) mqtt() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gate
}
