package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/souk/mall"
	"example.org/souk/provider/payment"
)

// asProgram makes the test binary behave as the program, so that a test can kill a real process.
const asProgram = "PAYMENTSTANDIN_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func launch(t *testing.T, folder string) (*exec.Cmd, *payment.Client) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(folder, "key")
	command := exec.CommandContext(t.Context(), program, "--ledger", filepath.Join(folder, "ledger"), "--api-key-file", keyFile)
	command.Env = append(os.Environ(), asProgram+"=1")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // mostly dead already
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("first line %q", line)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	client, err := payment.New(payment.Config{BaseURL: address, APIKey: strings.TrimSpace(string(key)), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return command, client
}

func TestWhatWasAnsweredSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	command, client := launch(t, folder)
	info, err := os.Stat(filepath.Join(folder, "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", info.Mode(), err)
	}
	// Callers keep going while the process is killed under them: those that got an answer must find it again, and the
	// rest must not have been told anything.
	answers := make(chan map[string]payment.Result)
	enough := make(chan struct{})
	for caller := range 4 {
		go func() {
			got := map[string]payment.Result{}
			for i := 0; ; i++ {
				key := fmt.Sprintf("k-%d-%d", caller, i)
				result, err := client.Authorize(t.Context(), key, payment.Authorization{
					Payment: key, Customer: "c1", Amount: mall.Money{Amount: 10, Currency: "EUR"},
				})
				if err != nil {
					break
				}
				got[key] = result
				if caller == 0 && i == 50 {
					close(enough)
				}
			}
			answers <- got
		}()
	}
	<-enough
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, again := launch(t, folder)
	total := 0
	for range 4 {
		for key, want := range <-answers {
			total++
			got, found, err := again.Ask(t.Context(), key)
			if err != nil || !found || got != want {
				t.Errorf("%s: got %+v, %v, %v, want %+v", key, got, found, err, want)
			}
		}
	}
	if total < 50 {
		t.Errorf("only %d answers before the kill", total)
	}
}
