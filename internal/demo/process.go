package demo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.org/souk/internal/house"
)

// process is souk as a process of its own, which is killed and started again. Its methods may be called concurrently.
type process struct {
	name    string
	program []string // empty: the running executable
	args    []string // without the addresses
	env     []string // NAME=value, beside our own

	mu        sync.Mutex
	cmd       *exec.Cmd     // nil: it was killed, ended or not begun
	ended     chan struct{} // closed when cmd is no more
	fate      error         // then: what became of it
	says      *tail
	web, gate string // its addresses at first with a port of its own choice, and from then on these; no gate: devices do not come here
	links     []house.SignIn
}

// begin runs it and returns when it is ready; where it runs it does nothing. It runs until it is killed or ended, whatever becomes of
// ctx.
func (p *process) begin(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return p.gone()
	}
	program := p.program
	if program == nil {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		program = []string{self}
	}
	args := append(program[1:len(program):len(program)], p.args...)
	args = append(args, "--http", strings.TrimPrefix(p.web, "http://"))
	if p.gate != "" {
		args = append(args, "--mqtt", strings.TrimPrefix(p.gate, "mqtt://"))
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program[0], args...) //nolint:gosec // this program, or one that the caller names
	// In a group of its own it does not hear of the key that ends the demo, which has it finish first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.says = &tail{}
	cmd.Stderr = p.says
	cmd.Env = append(os.Environ(), p.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	p.links = nil
	for lines.Scan() {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		switch rest = strings.TrimSpace(rest); what {
		case "online":
			p.web = strings.TrimSpace(strings.TrimPrefix(rest, "store"))
		case "web":
			p.web = rest
		case "devices":
			p.gate = rest
		case "sign":
			if f := strings.Fields(rest); len(f) == 3 {
				p.links = append(p.links, house.SignIn{Who: f[1], URL: f[2]})
			}
		case "ready":
			ended := make(chan struct{})
			go func() { p.fate = cmd.Wait(); close(ended) }()
			p.cmd, p.ended = cmd, ended
			return nil
		}
	}
	return fmt.Errorf("%s before it was ready: %w: %s", p.name, cmp.Or(cmd.Wait(), errGone), p.says)
}

// errGone says that a process ended that nobody had ended.
var errGone = errors.New("it ended by itself")

// gone is an error where it ended that nobody had ended. It is called with mu held.
func (p *process) gone() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s: %w (%w): %s", p.name, errGone, cmp.Or(p.fate, errors.New("exit 0")), p.says)
	default:
		return nil
	}
}

// kill ends it at once, as a power cut would; false where it does not run.
func (p *process) kill() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false, nil
	}
	if err := p.gone(); err != nil {
		p.cmd = nil
		return false, err
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
	return err == nil, err
}

// end lets it finish what it has begun.
func (p *process) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	cmd := p.cmd
	p.cmd = nil
	if err := p.gone(); err != nil {
		return err
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if <-p.ended; p.fate != nil {
		return fmt.Errorf("%s: %w: %s", p.name, p.fate, p.says)
	}
	return nil
}

func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.gone() == nil
}

// where returns how it is reached, with the links by which people come in.
func (p *process) where() (web, gate string, links []house.SignIn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.web, p.gate, p.links
}

// tail keeps the end of what is written to it, for the case that something goes wrong.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLength = 2000 // bytes

// Write implements io.Writer.
func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	t.text = t.text[max(0, len(t.text)-tailLength):]
	return len(text), nil
}

// String returns it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
