package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.org/souk/provider/mail"
	"example.org/souk/provider/mail/standin"
)

// asProgram makes the test binary behave as the program, so that a test can kill a real process.
const asProgram = "MAILSTANDIN_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

var firstLine = regexp.MustCompile(`^listening on smtp://(\S+) (http://\S+)\n$`)

// launch starts the program and returns it with a sender and the address of its HTTP side.
func launch(t *testing.T, folder string) (*exec.Cmd, *mail.Sender, string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program,
		"--ledger", filepath.Join(folder, "ledger"), "--api-key-file", filepath.Join(folder, "key"))
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
	found := firstLine.FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("first line %q", line)
	}
	sender, err := mail.NewSender(mail.SenderConfig{
		Address: found[1], From: "shop@shop.example", TLS: mail.NoTLS, Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return command, sender, found[2]
}

func TestWhatWasTakenSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	command, sender, _ := launch(t, folder)
	// Senders keep going while the process is killed under them: what it said it had taken must be there afterwards.
	taken := make(chan []string)
	enough := make(chan struct{})
	for number := range 4 {
		go func() {
			var ids []string
			for i := 0; ; i++ {
				id := fmt.Sprintf("m-%d-%d@shop.example", number, i)
				if sender.Send(t.Context(), mail.Message{ID: id, To: "ann@example.org", Subject: "x", Text: "y"}) != nil {
					break
				}
				ids = append(ids, id)
				if number == 0 && i == 20 {
					close(enough)
				}
			}
			taken <- ids
		}()
	}
	<-enough
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _, address := launch(t, folder)
	key, err := os.ReadFile(filepath.Join(folder, "key"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var report standin.Report
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	total := 0
	for range 4 {
		for _, id := range <-taken {
			total++
			if report.Copies[id] != 1 {
				t.Errorf("%s is there %d times", id, report.Copies[id])
			}
		}
	}
	if total < 20 {
		t.Errorf("only %d messages before the kill", total)
	}
}
