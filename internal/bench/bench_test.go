package bench_test

import (
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	program "example.org/souk"
	"example.org/souk/internal/bench"
	"example.org/souk/internal/testserver"
)

// asProgram has this binary be souk instead of its tests: benchmarks start it.
const asProgram = "SOUK_BENCH_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		program.New().Main()
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// souk returns the command line that runs souk.
func souk(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self}
}

func none(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Error(v)
	}
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	for _, view := range []string{"outcomes", "sales", "products"} {
		res, err := bench.Rebuild{Program: souk(t), Events: 9000, View: view, Log: t.Output()}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		none(t, res.Violations)
		if res.EventsPerSecond <= 0 || res.PeakRSSBytes < 10<<20 || res.CPUSeconds <= 0 {
			t.Errorf("figures of %s are missing: %+v", view, res)
		}
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	res, err := bench.Backlog{Small: 500, Large: 2000, Rounds: 2, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.SmallPerSecond <= 0 || res.LargePerSecond <= 0 || res.Ratio <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	res, err := bench.Lanes{Lanes: 4, Handler: 2 * time.Millisecond, Duration: 300 * time.Millisecond, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Fold < 1.2 {
		t.Errorf("four lanes are not faster than one: %+v", res)
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	delivered(t, bench.Delivery{})
}

// From one runtime to another one, over the log and over a broker.
func TestDeliveryElsewhere(t *testing.T) {
	t.Parallel()
	delivered(t, bench.Delivery{DB: testserver.Postgres(t).Database(t)})
	delivered(t, bench.Delivery{DB: testserver.Postgres(t).Database(t), Broker: testserver.NATS(t).URL()})
}

func delivered(t *testing.T, d bench.Delivery) {
	t.Helper()
	d.Duration, d.Idle, d.Busy, d.Log = 300*time.Millisecond, 30, 200, t.Output()
	res, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	for _, d := range []bench.DeliveryTimes{res.Idle, res.Busy} {
		if d.Events == 0 || d.HandledMS.P50 <= 0 || d.SettledMS.P50 < d.HandledMS.P50 {
			t.Errorf("figures are missing or cannot be: %+v", d)
		}
	}
}

func TestOrdersBesideHandwrittenOnes(t *testing.T) {
	t.Parallel()
	res, err := bench.Orders{Program: souk(t), Duration: 300 * time.Millisecond, Clients: 8, Beside: true, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Accepted == 0 || res.Statuses[http.StatusAccepted] != res.Accepted || res.CPUMSPerOrder <= 0 || res.PeakRSSBytes < 10<<20 {
		t.Errorf("figures are missing: %+v", res)
	}
	if len(res.Beside) != 2 {
		t.Fatalf("%d ways by hand", len(res.Beside))
	}
	for _, b := range res.Beside {
		if b.Accepted == 0 || b.RateRatio <= 0 || b.CPURatio <= 0 {
			t.Errorf("figures are missing: %+v", b)
		}
	}
}

func TestOrdersOverSeveralProcesses(t *testing.T) {
	t.Parallel()
	if os.Getenv("SOUK_PROVE") == "" {
		t.Log("its processes take long to begin: make prove-short runs it")
		return
	}
	db := testserver.Postgres(t).Database(t)
	run := func() (bench.OrdersResult, error) {
		return bench.Orders{
			Program: souk(t), Duration: 300 * time.Millisecond, Clients: 8, Products: 4, Log: t.Output(),
			Apart: bench.Apart{DB: db, Split: []string{"online orders stores", "inventory"}, Idle: 100 * time.Millisecond},
		}.Run(t.Context())
	}
	res, err := run()
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Accepted == 0 || res.PlacedToApproved.P50 <= 0 || res.CPUMSPerOrder <= 0 || len(res.Processes) != 2 {
		t.Fatalf("figures are missing: %+v", res)
	}
	sum := 0.0
	for _, p := range res.Processes {
		sum += p.CPUMSPerOrder
		if p.CPUMSPerOrder <= 0 || p.PeakRSSBytes < 10<<20 {
			t.Errorf("figures of a process are missing: %+v", p)
		}
	}
	if math.Abs(sum-res.CPUMSPerOrder) > 1e-9 || !slices.Contains(res.Processes[1].Parts, "depot") {
		t.Errorf("a part that was not named runs nowhere, or the sum is none: %+v", res)
	}
	if len(res.Servers) != 1 || res.Servers[0].CPUMSPerOrder <= 0 {
		t.Errorf("PostgreSQL's own figures are missing: %+v", res.Servers)
	}
	if _, err := run(); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("a database that a mall is in: %v", err)
	}
}

func TestOrdersAtKiosks(t *testing.T) {
	t.Parallel()
	res, err := bench.Orders{Program: souk(t), Duration: 300 * time.Millisecond, Clients: 4, Products: 4, Kiosk: true, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Accepted == 0 || res.PlacedToApproved.P50 <= 0 || res.CPUMSPerOrder <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}

func TestDepartures(t *testing.T) {
	t.Parallel()
	res, err := bench.Departures{Program: souk(t), Duration: 300 * time.Millisecond, Gates: 4, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Acknowledged == 0 || res.Greeted == 0 || res.AckMS.P50 <= 0 || res.GreetingMS.P50 <= 0 || res.HandledPerS <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}

func TestRobots(t *testing.T) {
	t.Parallel()
	res, err := bench.Robots{Program: souk(t), Robots: 4, Lists: 2, Duration: 500 * time.Millisecond, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Lists != 2 || res.PositionsPerS <= 0 || res.CPUPercent <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	res, err := bench.Sockets{Program: souk(t), Sockets: 60, Rate: 10, Duration: 300 * time.Millisecond, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Orders == 0 || res.Events < 2*res.Orders || res.FrameMS.P50 <= 0 {
		t.Errorf("figures are missing: %+v", res)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	res, err := bench.Orders{Program: souk(t), Duration: 300 * time.Millisecond, Clients: 200, Log: t.Output()}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	if res.Accepted == 0 {
		t.Error("nobody was answered")
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	res, err := bench.Depth{
		Program: souk(t), Short: 100, Long: 2000, Rounds: 2, Duration: 300 * time.Millisecond, Rate: 100, Log: t.Output(),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	none(t, res.Violations)
	for _, c := range []bench.DepthCost{res.Short, res.Long} {
		if c.CPUMSPerOrder <= 0 || c.ApproveP50MS <= 0 || c.DatabaseBytes == 0 {
			t.Errorf("figures are missing: %+v", c)
		}
	}
}
