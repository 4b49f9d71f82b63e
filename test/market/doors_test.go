package market

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// keepsToItself fails the test where souk or one of the stand-ins that it starts has a door that it does not tell of, or tells a secret.
func (m *market) keepsToItself() {
	m.t.Helper()
	family := append([]int{m.Proc.Pid()}, children(m.t, m.Proc.Pid())...)
	said, doors := m.Proc.Stdout()+m.Proc.Stderr(), 0
	for i, pid := range family {
		for _, at := range listening(m.t, pid) {
			doors++
			if !strings.HasPrefix(at, "127.0.0.1:") || i == 0 && !strings.Contains(said, "://"+at) {
				m.t.Errorf("process %d of them listens on %s", i, at)
			}
		}
	}
	if len(family) != 3 || doors != 5 { // pages and devices; a bus and its faults; payments
		m.t.Errorf("processes %v have %d doors", family, doors)
	}
	for _, secret := range m.secrets() {
		for i, pid := range family {
			for _, of := range []string{"cmdline", "environ"} {
				if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, of)); err != nil || strings.Contains(string(text), secret) {
					m.t.Errorf("a secret stands in the %s of process %d of them, %v", of, i, err)
				}
			}
		}
		if strings.Contains(said, secret) {
			m.t.Error("a secret was printed")
		}
	}
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil && !os.IsNotExist(err) { // threads end
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, child)
		}
	}
	return list
}

// listening returns where a process takes connections.
func listening(t *testing.T, pid int) (list []string) {
	t.Helper()
	own := map[string]bool{}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, f.Name())); err == nil { // files are closed meanwhile
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if f[3] != "0A" || !own[f[9]] { // another state, another's
				continue
			}
			at, port, _ := strings.Cut(f[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			if at == "0100007F" { // in the order of the machine
				at = "127.0.0.1"
			}
			list = append(list, fmt.Sprintf("%s:%d", at, n))
		}
	}
	return list
}

// secrets are the keys and passwords that souk has made in its data directory.
func (m *market) secrets() (list []string) {
	m.t.Helper()
	err := filepath.WalkDir(m.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.Contains(d.Name(), "key") && !strings.Contains(d.Name(), "password") && !strings.Contains(d.Name(), "secret") {
			return err
		}
		text, err := os.ReadFile(path)
		list = append(list, strings.TrimSpace(string(text)))
		return err
	})
	if err != nil || len(list) == 0 {
		m.t.Fatal(list, err)
	}
	return list
}
