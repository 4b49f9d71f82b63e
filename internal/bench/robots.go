package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/robots"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// Robots measures how many robots a mall takes that say where they are ten times a second, each on a stream of its own, while some of
// them fetch goods. The mall runs in this process, and all robots in another one.
type Robots struct {
	Program  []string      // runs souk; its arguments follow
	Robots   int           // default 1,000
	Duration time.Duration // for how long they are watched; default 20 s
	Lists    int           // that are fetched meanwhile; default one for every tenth robot
	Log      io.Writer     // hears of the progress; may be nil
}

// RobotsResult is what a run found.
type RobotsResult struct {
	Robots           int      `json:"robots"`
	PositionsPerS    float64  `json:"positionsPerSecond"` // taken
	EarlyPerS        float64  `json:"earlyPerSecond"`     // dropped, since they came too soon after another one
	MissingPercent   float64  `json:"missingPercent"`     // of those that were due
	Lists            int64    `json:"lists"`              // that were fetched
	ListsSeconds     float64  `json:"listsSeconds"`       // until the last one was
	CPUPercent       float64  `json:"cpuPercent"`         // of a core, that the mall took
	RobotsCPUPercent float64  `json:"robotsCpuPercent"`   // that the robots took
	PeakRSSBytes     int64    `json:"peakRssBytes"`
	Violations       []string `json:"violations"`
}

// positionsOfOne is how many positions a robot says in a second.
const positionsOfOne = 10

func (b *Robots) setDefaults() {
	if b.Robots <= 0 {
		b.Robots = 1000
	}
	if b.Duration <= 0 {
		b.Duration = 20 * time.Second
	}
	if b.Lists <= 0 {
		b.Lists = max(b.Robots/10, 1)
	}
	if b.Log == nil {
		b.Log = io.Discard
	}
}

// Run opens a mall, lets the robots in, and watches them. What counts as right: all robots stay, each says how it is, and every list
// is fetched. Positions may be missed.
func (b Robots) Run(ctx context.Context) (res RobotsResult, err error) {
	b.setDefaults()
	res.Robots, res.Violations = b.Robots, []string{}
	dir, err := os.MkdirTemp("", "souk-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h, err := house.Open(ctx, house.Config{
		Data: filepath.Join(dir, "mall"), HTTP: "127.0.0.1:0", Empty: true, Logistics: "off", Payment: house.PaymentConfig{Program: b.Program},
		Logger: slog.New(slog.NewTextHandler(b.Log, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	if err := h.Start(ctx); err != nil {
		return res, err
	}
	do := func(c backbone.Command) error {
		a, err := h.Do(ctx, c)
		return errors.Join(err, a.Err())
	}
	program, err := b.fleet(ctx, dir, h.URL(), do)
	if err != nil {
		return res, err
	}
	defer func() {
		_ = program.Process.Kill() // it may have ended
		_ = program.Wait()
	}()
	arrived := time.Minute + time.Duration(b.Robots)*20*time.Millisecond
	there := until(ctx, arrived, func() bool { return h.Robots().Counts().Robots == b.Robots })
	if !there {
		return res, fmt.Errorf("%d of %d robots are there after %s", h.Robots().Counts().Robots, b.Robots, arrived)
	}
	before, cpu, robotsCPU, began := h.Robots().Counts(), cpuOfThis(), cpuOfTree(program.Process.Pid), time.Now()
	if err := fillWith(nil, b.lists(), do); err != nil {
		return res, err
	}
	if err := fillWith(nil, b.begin(), do); err != nil {
		return res, err
	}
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		res.Lists = b.fetched(ctx, h)
		res.ListsSeconds = time.Since(began).Seconds()
	}()
	select {
	case <-time.After(time.Until(began.Add(b.Duration))):
	case <-ctx.Done():
		<-fetched
		return res, ctx.Err()
	}
	after, took := h.Robots().Counts(), time.Since(began)
	res.CPUPercent = 100 * (cpuOfThis() - cpu).Seconds() / took.Seconds()
	res.RobotsCPUPercent = 100 * (cpuOfTree(program.Process.Pid) - robotsCPU).Seconds() / took.Seconds()
	res.PeakRSSBytes = statusOf(os.Getpid(), "VmHWM:")
	res.PositionsPerS = float64(after.Positions-before.Positions) / took.Seconds()
	res.EarlyPerS = float64(after.Dropped-before.Dropped) / took.Seconds()
	res.MissingPercent = max(0, 100*(1-(res.PositionsPerS+res.EarlyPerS)/float64(b.Robots*positionsOfOne)))
	<-fetched
	if res.Lists != int64(b.Lists) {
		res.Violations = append(res.Violations, fmt.Sprintf("%d of %d lists were fetched", res.Lists, b.Lists))
	}
	if after.Robots != b.Robots || after.Positions == before.Positions {
		res.Violations = append(res.Violations, fmt.Sprintf("%d of %d robots stayed, and said %d positions", after.Robots, b.Robots, after.Positions-before.Positions))
	}
	if list, _ := h.Robots().Sightings(0); len(list) != b.Robots || slices.ContainsFunc(list, silent) {
		res.Violations = append(res.Violations, "not every robot has said how it is")
	}
	return res, nil
}

// silent tells whether a robot is away or has not said how it is.
func silent(s robots.Sighting) bool { return !s.Online || s.State == "" }

func robotName(i int) string { return fmt.Sprintf("robot-%d", i+1) }

// fleet gives the robots their logins, and starts them.
func (b Robots) fleet(ctx context.Context, dir, url string, do func(backbone.Command) error) (*exec.Cmd, error) {
	var logins strings.Builder
	first := []backbone.Command{command.CreateStore{Store: "s", Name: "Store", Location: mall.MainLocation}}
	var rest []backbone.Command
	for i := range b.Robots {
		password := devices.NewPassword()
		fmt.Fprintln(&logins, robotName(i), password)
		rest = append(rest, devices.AddDevice{Device: robotName(i), Kind: devices.Robot, Hash: devices.HashOf(password)})
	}
	if err := fillWith(first, rest, do); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "fleet.txt")
	if err := os.WriteFile(file, []byte(logins.String()), 0o600); err != nil {
		return nil, err
	}
	argv := append(slices.Clone(b.Program), "device", "robot", "robot", "--count", fmt.Sprint(b.Robots), "--password-file", file,
		"--server", url, "--speed", "10000", "--steady", "--positions", fmt.Sprint(positionsOfOne))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the program that is measured
	cmd.Stderr = b.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

func listName(i int) string { return fmt.Sprintf("list-%d", i+1) }

// lists are what is to be fetched.
func (b Robots) lists() (all []backbone.Command) {
	for i := range b.Lists {
		all = append(all, command.CreateShoppingList{
			List: listName(i), Order: listName(i), Stops: []mall.Stop{{Stop: 1, Store: "s", SKU: product(i % fewProducts), Name: "goods", Quantity: 1}},
		})
	}
	return all
}

// begin has them fetched.
func (b Robots) begin() (all []backbone.Command) {
	for i := range b.Lists {
		all = append(all, command.InitiateShopping{List: listName(i)})
	}
	return all
}

// fetched waits until all lists are fetched, a minute beyond the run at most, and returns how many are.
func (b Robots) fetched(ctx context.Context, h *house.House) (n int64) {
	after := int64(0)
	until(ctx, b.Duration+time.Minute, func() bool {
		counts, last, err := countEvents(ctx, h.Reader(serviceOf(event.ShoppingListCompletedV1)), after, event.ShoppingListCompletedV1)
		if err == nil {
			n, after = n+counts[event.ShoppingListCompletedV1], last
		}
		return n >= int64(b.Lists)
	})
	return n
}

// until waits until something is so, and tells whether that came within a time.
func until(ctx context.Context, within time.Duration, so func() bool) bool {
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-bounded.Done():
			return false
		}
	}
	return true
}
