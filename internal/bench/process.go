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
	cmd  *exec.Cmd
	out  *bufio.Scanner
	gone bool
}

// startProcess starts souk and waits until it is ready.
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
		if rest, found := strings.CutPrefix(p.out.Text(), "online store"); found {
			url = strings.TrimSpace(rest)
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
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64) // a field that is no number counts as none
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100 // in hundredths of a second on Linux
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
