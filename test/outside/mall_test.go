package loyalty

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/loyalty/points"
	// The programs are built from it; without the import the go command would not run the tests anew when it changes.
	_ "example.org/souk"
	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// build makes both programs from here, as their owner would: souk as it is, and the one with points in it.
func build(t *testing.T) (plain, added string) {
	t.Helper()
	for _, source := range []string{"cmd/mall/main.go", "go.mod", "go.sum"} { // read, so that the go command knows of them
		if _, err := os.ReadFile(source); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/mall", "example.org/souk/cmd/souk").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "souk"), filepath.Join(dir, "mall")
}

// shop is a mall that runs as a process.
type shop struct {
	binary, dir, url, token string
	cmd                     *exec.Cmd
}

// open starts a program on a data directory and waits until it takes orders.
func open(t *testing.T, binary, dir string) *shop {
	t.Helper()
	s := &shop{binary: binary, dir: dir}
	s.cmd = exec.Command(binary, "--data", dir, "up", "--http", "127.0.0.1:0")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its stand-ins end with it
	var faults strings.Builder
	s.cmd.Stderr = &faults
	output, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // gone already when all went well
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote\n%s", binary, faults.String())
		}
	})
	patience := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer patience.Stop()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if address, found := strings.CutPrefix(lines.Text(), "online store"); found {
			s.url = strings.TrimSpace(address)
		}
		if lines.Text() == "ready" {
			go func() { _, _ = io.Copy(io.Discard, output) }() // whatever it says later
			s.token = strings.TrimSpace(s.ask(t, "token", "--role", "customer", "--subject", "amina"))
			return s
		}
	}
	t.Fatalf("%s ended, or hung, before it was ready: %v", binary, lines.Err())
	return nil
}

// ask runs a command line on the mall and returns what it printed.
func (s *shop) ask(t *testing.T, args ...string) string {
	t.Helper()
	var faults strings.Builder
	cmd := exec.CommandContext(t.Context(), s.binary, append([]string{"--data", s.dir}, args...)...)
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, faults.String())
	}
	return string(out)
}

// call makes a request as the customer amina.
func (s *shop) call(t *testing.T, method, path, body string, want int, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(data, answer)
	}
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %d %s (%v), want %d", method, path, resp.StatusCode, data, err, want)
	}
}

// order places an order for tea, which is 6.90 a packet, and waits until it is approved.
func (s *shop) order(t *testing.T, id string, packets int) {
	t.Helper()
	var o struct{ Status string }
	total := fmt.Sprintf("%d.%02d", 690*packets/100, 690*packets%100)
	s.call(t, http.MethodPost, "/order", fmt.Sprintf(`{"data":{"id":"m-%[1]s","order":{"orderId":"%[1]s","customerId":"amina",
		"totalPrice":%[2]s,"totalQuantity":%[3]d,"items":[{"productId":"tea","price":6.90,"quantity":%[3]d}]}}}`,
		id, total, packets), http.StatusAccepted, &o)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for o.Status != "APPROVED" {
		select {
		case <-tick.C:
			s.call(t, http.MethodGet, "/order/"+id, "", http.StatusOK, &o)
		case <-ctx.Done():
			t.Fatalf("order %s is %s", id, o.Status)
		}
	}
}

// close waits until nothing is in flight, and ends the mall in good order.
func (s *shop) close(t *testing.T) {
	t.Helper()
	s.ask(t, "wait", "--idle", "--timeout", "30s")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("%s ended with %v", s.binary, err)
	}
}

// pointsIn reads a customer's points from the database of a mall that does not run.
func pointsIn(t *testing.T, dir, customer string) int64 {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(dir, "souk.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	storeOf := func(string) driver.Store { return store }
	r, err := backbone.New(backbone.Config{
		Parts: []*backbone.Service{orders(), points.Service()}, Store: storeOf, Transport: logbus.New(logbus.Config{Store: storeOf}),
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := points.Of(t.Context(), r.Reader("points"), customer)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// D3: orders are placed in souk as it is; then the program of another repository, which has a consumer more, runs on the
// same data. The consumer has every order from the first on, and nothing of souk was changed for it. Red when the view
// begins from now, or is not added.
func TestD3_AConsumerOfAnotherRepositoryGetsEveryOrder(t *testing.T) {
	t.Parallel()
	plain, added := build(t)
	dir := t.TempDir()

	before := open(t, plain, dir)
	before.order(t, "ORDER_1", 2) // 13.80
	before.order(t, "ORDER_2", 1) // 6.90
	if parts := before.ask(t, "map"); strings.Contains(parts, "points") {
		t.Errorf("souk as it is has points on its map:\n%s", parts)
	}
	before.close(t)

	with := open(t, added, dir)
	with.close(t)
	if n := pointsIn(t, dir, "amina"); n != 13+6 {
		t.Errorf("%d points for the orders that were there before the consumer, want 19", n)
	}

	again := open(t, added, dir)
	again.order(t, "ORDER_3", 10) // 69.00
	for _, place := range [][]string{{"map"}, {"view", "list"}} {
		if out := again.ask(t, place...); !strings.Contains(out, "points") {
			t.Errorf("%v does not show the consumer:\n%s", place, out)
		}
	}
	again.ask(t, "wait", "--idle", "--timeout", "30s")
	again.ask(t, "view", "rebuild", "points", "points") // the same rows once more, from the log
	again.ask(t, "audit", "verify")
	again.close(t)
	if n := pointsIn(t, dir, "amina"); n != 13+6+69 {
		t.Errorf("%d points in the end, want 88", n)
	}
	if n := pointsIn(t, dir, "bruno"); n != 0 {
		t.Errorf("bruno, who ordered nothing, has %d points", n)
	}
}
