package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// listener finds the process of this machine that listens on an address of loopback, as far as it may be looked at.
func listener(address string) (pid int, found bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, false
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, false
	}
	sockets := listening(uint16(number))
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, false
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || !sockets[to] {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			return pid, true
		}
	}
	return 0, false
}

// listening names the sockets that listen on a port, as /proc/PID/fd does.
func listening(port uint16) map[string]bool {
	const (
		local, state, inode = 1, 3, 9 // fields of a line
		listens             = "0A"
	)
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) > inode && f[state] == listens && strings.HasSuffix(f[local], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+f[inode]+"]"] = true
			}
		}
	}
	return sockets
}

// cpuOfTree returns the processor time of a process and of all that it has begun, those included that have ended.
func cpuOfTree(pid int) time.Duration {
	stats := map[int]stat{}
	children := map[int][]int{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	for _, dir := range dirs {
		id, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if s, ok := statOf(id); ok {
			stats[id] = s
			children[s.parent] = append(children[s.parent], id)
		}
	}
	var sum func(pid int) time.Duration
	sum = func(pid int) time.Duration {
		total := stats[pid].own + stats[pid].ended
		for _, child := range children[pid] {
			total += sum(child)
		}
		return total
	}
	return sum(pid)
}
