package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// cleanUp waits for the test process to end, however it ends (its end of the pipe closes), and removes the directory.
// It tries again for a while because servers that die with their parent may still be writing.
const cleanUp = `while read -r line; do :; done
i=0
while [ $i -lt 50 ]; do
	rm -rf -- "$1" 2>/dev/null && exit 0
	i=$((i + 1)); sleep 0.1
done`

// scratch is the directory of this test process for what its tests share: the shared server's data and built
// programs. A test process has no last moment in which it could remove them, so a janitor outside does it.
var scratch = sync.OnceValues(func() (scratchSpace, error) {
	dir, err := os.MkdirTemp("", "souk-test-")
	if err != nil {
		return scratchSpace{}, err
	}
	// Servers that refuse to run as root reach their own directories through this one.
	if err := os.Chmod(dir, 0o711); err != nil {
		return scratchSpace{}, errors.Join(err, os.RemoveAll(dir))
	}
	wait, hold, err := os.Pipe()
	if err != nil {
		return scratchSpace{}, errors.Join(err, os.RemoveAll(dir))
	}
	janitor := exec.Command("/bin/sh", "-c", cleanUp, "sh", dir)
	janitor.Stdin = wait
	// A group of its own, so that an interrupt at the terminal does not take the janitor away before it has cleaned.
	janitor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := janitor.Start(); err != nil {
		return scratchSpace{}, errors.Join(err, wait.Close(), hold.Close(), os.RemoveAll(dir))
	}
	return scratchSpace{dir: dir, hold: hold}, wait.Close()
})

type scratchSpace struct {
	dir  string
	hold *os.File // our end of the janitor's pipe, kept from being collected and so closed
}

func scratchDir(t testing.TB) string {
	t.Helper()
	space, err := scratch()
	if err != nil {
		t.Fatalf("make a directory for what tests share: %v", err)
	}
	return space.dir
}

// Ports from here on are given to outgoing connections, one of which may hold the port of a server that restarts.
const firstEphemeral = 32768

// ports hands out candidates, a different stretch to each process of a test run.
var ports struct {
	sync.Mutex
	next int
}

// freePort returns a TCP port on loopback below the ephemeral ones that nobody listens on.
func freePort() (int, error) {
	const lowest = 12000
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = lowest + os.Getpid()*101%(firstEphemeral-lowest)
	}
	for range firstEphemeral - lowest {
		port := ports.next
		if ports.next++; ports.next == firstEphemeral {
			ports.next = lowest
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1")
}
