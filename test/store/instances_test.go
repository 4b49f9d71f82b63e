package store

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// F17: a service whose handler takes 10 ms does more with each process that runs it: in four at least 3.5 times what it does in one, and
// each has its share of that. Processes come to those that run, and find their part by themselves. Red when a process keeps the slices
// that another one should have.
func TestF17_ThroughputRises(t *testing.T) {
	if !proving(t) { // it measures for half a minute and wants the machine for itself
		return
	}
	binary := testserver.Build(t, "example.org/souk/test/store/patient")
	for carrier, url := range map[string]func(*testing.T) string{
		"log":      func(*testing.T) string { return "" },
		"NATS":     func(t *testing.T) string { return testserver.NATSOwn(t).URL() },
		"RabbitMQ": func(t *testing.T) string { return testserver.RabbitOwn(t).URL() },
		"Kafka": func(t *testing.T) string {
			return "kafka://" + strings.Join(testserver.KafkaOwn(t, 1).Addresses(), ",")
		},
	} {
		t.Run(carrier, func(t *testing.T) {
			const questions = 30_000
			db, broker := testserver.PostgresOwn(t).Database(t), url(t)
			var running []*testserver.Process
			begin := func(args ...string) {
				p := testserver.Start(t, append([]string{binary, db, fmt.Sprintf("p%d", len(running)), broker}, args...)...)
				p.WaitLine("ready")
				running = append(running, p)
			}
			begin(strconv.Itoa(questions))
			rates := map[int]float64{}
			for _, processes := range []int{1, 2, 4} {
				for len(running) < processes {
					begin()
				}
				rates[processes] = rateOf(t, db, processes)
			}
			// What else the machine does takes away from four processes and leaves one alone, which does not need it all.
			for tries := 1; rates[4] < 3.5*rates[1] && tries < 3; tries++ {
				rates[4] = max(rates[4], rateOf(t, db, 4))
			}
			if rates[4] < 3.5*rates[1] {
				t.Errorf("four processes do %.2f times what one does", rates[4]/rates[1])
			}
			if left := answered(t, db); left["all"] >= questions {
				t.Errorf("all %d questions were answered before the end of the measurement", questions)
			}
			for _, p := range running {
				p.Signal(syscall.SIGTERM)
				if e := p.Wait(); e.Code != 0 {
					t.Errorf("a process ended with %v\n%s", e, p.Stderr())
				}
			}
			t.Logf("messages a second by processes: %v", rates)
		})
	}
}

// answered counts what each process has done, and "all" of them together.
func answered(t *testing.T, db string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, row := range rowsOf(t, db, `SELECT process, count(*) FROM patient.answered GROUP BY process`) {
		process, n, _ := strings.Cut(row, "|")
		number, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		count[process] = number
		count["all"] += number
	}
	return count
}

// rateOf waits until so many processes have a fair part of the slices each, and measures for some seconds what they do a second. Each must
// do its share of that.
func rateOf(t *testing.T, db string, processes int) float64 {
	t.Helper()
	await(t, "the slices are shared", func() bool {
		// What divides the work over a broker are partitions, under a name of their own.
		owned := rowsOf(t, db, `SELECT owner, count(DISTINCT slice), (SELECT count(DISTINCT slice) FROM patient.bb_checkpoint AS a WHERE a.subscription = c.subscription)
			FROM patient.bb_checkpoint AS c WHERE subscription IN ('patient', 'patient/partitions') AND owner <> '' GROUP BY owner, subscription`)
		for _, row := range owned {
			parts := strings.Split(row, "|")
			has, err := strconv.Atoi(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			if strconv.Itoa(has*processes) != parts[2] {
				return false
			}
		}
		return len(owned) == processes
	})
	before, begun := answered(t, db), time.Now()
	await(t, "so many are answered", func() bool { return answered(t, db)["all"] >= before["all"]+processes*1000 })
	after, took := answered(t, db), time.Since(begun).Seconds()
	all := after["all"] - before["all"]
	for process := range after {
		if process == "all" {
			continue
		}
		share := float64(after[process]-before[process]) * float64(processes) / float64(all)
		if share < 0.8 || share > 1.2 {
			t.Errorf("of %d processes, %s does %.2f of an even share", processes, process, share)
		}
	}
	return float64(all) / took
}
