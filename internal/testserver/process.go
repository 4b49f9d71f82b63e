package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that should take milliseconds: long enough for a machine that does
// much else, short enough that a hanging test names itself.
const patience = 60 * time.Second

// Command says how a child process is started. The zero value of a field is the default.
type Command struct {
	Args  []string // the program and its arguments
	Dir   string   // the directory that it starts in; default: the test's
	Env   []string // NAME=value, added to the test's own environment
	Stdin string   // what it reads; default: nothing
}

// Start starts a child process; see [Command.Start].
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	return Command{Args: args}.Start(t)
}

// Start starts the process and returns at once. Its output is kept, and shown when the test fails. It is killed with
// its process group when the test ends, and when the test process dies.
func (c Command) Start(t testing.TB) *Process {
	t.Helper()
	if len(c.Args) == 0 {
		t.Fatal("testserver: a command without a program")
	}
	p := &Process{t: t, name: c.Args[0], ended: make(chan struct{}), grown: make(chan struct{})}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout = &stream{process: p, text: &p.stdout}
	cmd.Stderr = &stream{process: p, text: &p.stderr}
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
	// A grandchild that holds the output open must not keep us from seeing the child's end.
	cmd.WaitDelay = 2 * time.Second

	started := make(chan error)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", c.Args[0], err)
	}
	t.Cleanup(p.end)
	return p
}

// Process is a child process of a test. Its methods may be called from several goroutines; those that fail the test
// only from the test's own.
type Process struct {
	t    testing.TB
	name string
	pid  int

	ended  chan struct{}
	status *os.ProcessState // after ended

	mu     sync.Mutex
	stdout bytes.Buffer
	stderr bytes.Buffer
	grown  chan struct{} // closed and replaced whenever output arrives
}

// run starts the child and waits for it on one thread that it keeps to itself: the kernel's promise to end the child
// with its parent counts from the thread that started it.
func (p *Process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	// The error says what the state says too, or that a grandchild still held the output.
	_ = cmd.Wait()
	p.status = cmd.ProcessState
	close(p.ended)
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stdout returns what the process has written to its standard output so far.
func (p *Process) Stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

// Stderr returns what the process has written to its standard error so far.
func (p *Process) Stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// WaitLine returns the first complete line, on either output and from the very start, that contains part. It fails
// the test when the process ends, or three minutes pass, without one.
func (p *Process) WaitLine(part string) string {
	p.t.Helper()
	const patience = 3 * patience // twenty processes that begin at once are a minute's work for a busy machine
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		// Whether it has ended is asked before the output is read: all of it is there by then.
		ended := false
		select {
		case <-p.ended:
			ended = true
		default:
		}
		line, grown, found := p.findLine(part)
		switch {
		case found:
			return line
		case ended:
			p.t.Fatalf("%s ended (%v) without a line that contains %q\n%s", p.name, p.status, part, p.tail())
		}
		select {
		case <-grown:
		case <-p.ended:
		case <-deadline.C:
			p.t.Fatalf("%s wrote no line that contains %q within %v\n%s", p.name, part, patience, p.tail())
		}
	}
}

func (p *Process) findLine(part string) (line string, grown <-chan struct{}, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range []string{p.stdout.String(), p.stderr.String()} {
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, part) {
				return strings.TrimRight(line, "\r\n"), nil, true
			}
		}
	}
	return "", p.grown, false
}

// Signal sends a signal to the process alone. A process that has ended is left alone.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	p.send(p.pid, signal)
}

// Pause stops the process and its group where they stand (SIGSTOP), until Resume.
func (p *Process) Pause() {
	p.t.Helper()
	p.send(-p.pid, syscall.SIGSTOP)
}

// Resume lets a paused process and its group go on.
func (p *Process) Resume() {
	p.t.Helper()
	p.send(-p.pid, syscall.SIGCONT)
}

// Kill9 kills the process and its group, as a power cut would, and returns when the process is gone.
func (p *Process) Kill9() {
	p.t.Helper()
	p.send(-p.pid, syscall.SIGKILL)
	p.Wait()
}

func (p *Process) send(pid int, signal syscall.Signal) {
	p.t.Helper()
	select {
	case <-p.ended:
		return
	default:
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Fatalf("send %v to %s: %v", signal, p.name, err)
	}
}

// Exit is how a process ended.
type Exit struct {
	Code   int            // its exit status; -1 when a signal ended it
	Signal syscall.Signal // the signal that ended it; 0 when it ended by itself
}

func (e Exit) String() string {
	if e.Signal != 0 {
		return "killed: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Wait waits until the process has ended and says how. It fails the test after three minutes.
func (p *Process) Wait() Exit {
	p.t.Helper()
	const patience = 3 * patience // a command that changes many services is a minute's work for a busy machine
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended within %v\n%s", p.name, patience, p.tail())
	}
	exit := Exit{Code: p.status.ExitCode()}
	if status, ok := p.status.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal()
	}
	return exit
}

// end is the test's clean-up. The group is killed even when its leader has ended, for what the leader left behind.
func (p *Process) end() {
	if err := syscall.Kill(-p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("kill the process group of %s: %v", p.name, err)
	}
	<-p.ended
	if p.t.Failed() {
		p.t.Logf("%s (%v)\n%s", p.name, p.status, p.tail())
	}
}

// tail returns the last of both outputs, for a failure's message.
func (p *Process) tail() string {
	return "stdout: " + lastLines(p.Stdout()) + "\nstderr: " + lastLines(p.Stderr())
}

func lastLines(text string) string {
	const most = 8 << 10
	if len(text) > most {
		return "..." + text[len(text)-most:]
	}
	return text
}

// stream appends what the child writes to one of the buffers and wakes whoever waits for a line.
type stream struct {
	process *Process
	text    *bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error) {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.text.Write(b)
	close(s.process.grown)
	s.process.grown = make(chan struct{})
	return len(b), nil
}
