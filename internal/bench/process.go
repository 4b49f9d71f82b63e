package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a mall that runs beside the load.
type process struct {
	cmd     *exec.Cmd
	out     *bufio.Scanner
	gone    bool
	devices string // where devices connect, as it has said
}

// startProcess starts souk, waits until it is ready, and returns the address of what it serves.
func startProcess(cmd *exec.Cmd, log io.Writer) (*process, string, error) {
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	p, url := &process{cmd: cmd, out: bufio.NewScanner(out)}, ""
	for p.out.Scan() {
		for _, what := range []string{"online store", "web "} { // of souk up, of souk run
			if rest, found := strings.CutPrefix(p.out.Text(), what); found {
				url = strings.TrimSpace(rest)
			}
		}
		if rest, found := strings.CutPrefix(p.out.Text(), "devices "); found {
			p.devices = strings.TrimSpace(rest)
		}
		if p.out.Text() == "ready" {
			return p, url, nil
		}
	}
	p.kill()
	return nil, "", errors.New("souk ended before it was ready")
}

// cpu returns the processor time that the process has used.
func (p *process) cpu() time.Duration {
	s, _ := statOf(p.cmd.Process.Pid) // one that has ended has used none since
	return s.own
}

// stat is what /proc/PID/stat says of a process.
type stat struct {
	parent int
	own    time.Duration // processor time of the process
	ended  time.Duration // likewise, of its children that have ended
}

func statOf(pid int) (s stat, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return s, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i]) // a field that is no number counts as none
		return n
	}
	const tick = time.Second / 100 // on Linux
	s.parent = number(1)
	s.own = time.Duration(number(11)+number(12)) * tick
	s.ended = time.Duration(number(13)+number(14)) * tick
	return s, true
}

// status returns a figure of /proc/PID/status in bytes.
func (p *process) status(name string) int64 { return statusOf(p.cmd.Process.Pid, name) }

func statusOf(pid int, name string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), name)
	kb, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64) // a field that is no number counts as none
	return kb << 10
}

// stop ends the process in good order.
func (p *process) stop() error {
	p.gone = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for p.out.Scan() { // until it closes its output
	}
	return p.cmd.Wait()
}

func (p *process) kill() {
	if !p.gone {
		p.gone = true
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
	}
}
