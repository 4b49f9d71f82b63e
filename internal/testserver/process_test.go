package testserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// eventually waits until what holds, and fails the test when it has not after some seconds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestStartCapturesOutputAndExit(t *testing.T) {
	t.Parallel()
	p := testserver.Command{
		Args:  []string{"/bin/sh", "-c", `read -r word; echo "out $word $NAME"; echo "err" >&2; exit 7`},
		Env:   []string{"NAME=value"},
		Stdin: "hello\n",
	}.Start(t)
	if line := p.WaitLine("out"); line != "out hello value" {
		t.Errorf("WaitLine returned %q", line)
	}
	if exit := p.Wait(); exit != (testserver.Exit{Code: 7}) {
		t.Errorf("it ended by %v", exit)
	}
	if p.Stdout() != "out hello value\n" || p.Stderr() != "err\n" {
		t.Errorf("stdout %q, stderr %q", p.Stdout(), p.Stderr())
	}
	if line := p.WaitLine("err"); line != "err" {
		t.Errorf("WaitLine after the end returned %q", line)
	}
}

func TestSignalAndKill9(t *testing.T) {
	t.Parallel()
	polite := testserver.Start(t, "/bin/sh", "-c", `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	polite.WaitLine("ready")
	polite.Signal(syscall.SIGTERM)
	if exit := polite.Wait(); exit.Code != 3 || polite.WaitLine("bye") != "bye" {
		t.Errorf("it ended by %v", exit)
	}

	stubborn := testserver.Start(t, "/bin/sh", "-c", `trap '' TERM INT; sleep 1000 & echo "child $!"; wait`)
	child := pidIn(t, stubborn.WaitLine("child"))
	stubborn.Kill9()
	if exit := stubborn.Wait(); exit.Signal != syscall.SIGKILL {
		t.Errorf("it ended by %v", exit)
	}
	eventually(t, "the killed process's child ends with it", func() bool { return !running(child) })
}

func TestPauseStopsAProcess(t *testing.T) {
	t.Parallel()
	p := testserver.Start(t, "/bin/sh", "-c", `while :; do echo tick; sleep 0.01; done`)
	p.WaitLine("tick")
	p.Pause()
	eventually(t, "a paused process is stopped", func() bool {
		s := state(p.Pid())
		return s == "T" || s == "D" // D: caught in a vfork, it waits for a child that is stopped
	})
	p.Resume()
	ticks := p.Stdout()
	eventually(t, "a resumed process goes on", func() bool { return len(p.Stdout()) > len(ticks) })
}

func TestWaitLineFailsWhenTheProcessEnds(t *testing.T) {
	t.Parallel()
	failed := failureOf(t, func(inner testing.TB) {
		testserver.Start(inner, "/bin/sh", "-c", "echo only this; exit 1").WaitLine("something else")
	})
	if !strings.Contains(failed, "something else") || !strings.Contains(failed, "only this") {
		t.Errorf("it failed with %q", failed)
	}
}

// The processes and files of a test process must go with it when it is killed. The inner run is this test again, in
// a process of its own.
func TestNothingOutlivesTheTestProcess(t *testing.T) {
	if os.Getenv("SOUK_TEST_INNER") != "" {
		child := testserver.Start(t, "/bin/sleep", "1000")
		url := testserver.Postgres(t).URL()
		dir := filepath.Dir(filepath.Dir(testserver.Build(t, "example.org/souk/internal/testserver/testdata/hello")))
		servers, err := filepath.Glob(filepath.Join(dir, "pg-*", "data", "postmaster.pid"))
		if err != nil || len(servers) != 1 {
			t.Fatalf("%s has the servers %v, %v", url, servers, err)
		}
		text, err := os.ReadFile(servers[0])
		if err != nil {
			t.Fatal(err)
		}
		server, _, _ := strings.Cut(string(text), "\n")
		fmt.Printf("dir %s\nserver %s\nchild %d\n", dir, server, child.Pid())
		select {} // until it is killed
	}
	t.Parallel()
	testserver.Postgres(t) // left out together with the inner one
	inner := testserver.Command{
		Args: []string{os.Args[0], "-test.run=^" + t.Name() + "$"},
		Env:  []string{"SOUK_TEST_INNER=1"},
	}.Start(t)
	child := pidIn(t, inner.WaitLine("child "))
	server := pidIn(t, inner.WaitLine("server "))
	_, dir, _ := strings.Cut(inner.WaitLine("dir "), " ")
	if !running(child) || !running(server) {
		t.Fatal("the processes do not run while the test process does")
	}
	inner.Kill9()
	eventually(t, "its child ends", func() bool { return !running(child) })
	eventually(t, "its server ends", func() bool { return !running(server) })
	eventually(t, "its directory is removed", func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
}

func TestBuild(t *testing.T) {
	t.Parallel()
	const hello = "example.org/souk/internal/testserver/testdata/hello"
	plain, tagged := testserver.Build(t, hello), testserver.Build(t, hello, "loud")
	if again := testserver.Build(t, hello); again != plain {
		t.Errorf("built twice: %s and %s", plain, again)
	}
	for program, want := range map[string]string{plain: "hello\n", tagged: "HELLO\n"} {
		p := testserver.Start(t, program)
		p.Wait()
		if p.Stdout() != want {
			t.Errorf("it printed %q, want %q", p.Stdout(), want)
		}
	}
	failed := failureOf(t, func(inner testing.TB) { testserver.Build(inner, hello+"/absent") })
	if !strings.Contains(failed, "absent") {
		t.Errorf("a build of nothing failed with %q", failed)
	}
}

// pidIn returns the number at the end of a line.
func pidIn(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(line[strings.LastIndex(line, " ")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func running(pid int) bool { return !strings.Contains("ZX", state(pid)) }

// state returns the letter of the process's state; "Z" also for one that does not exist.
func state(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "Z"
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

// failureOf runs a test body that should fail, and returns what it failed with.
func failureOf(t *testing.T, body func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(r)
	}()
	<-done
	if r.failure == "" {
		t.Error("it did not fail")
	}
	return r.failure
}
