package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/telemetry"
	"example.org/souk/gateway/door"
	"example.org/souk/gateway/partner"
	"example.org/souk/internal/house"
)

// Finding is what one check of a mall found.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do"` // what to do about it; empty where all is well
}

// State says how well it is.
type State string

// The states of a Finding.
const (
	Well   State = "ok"
	Warned State = "warn" // the mall works, and somebody should look
	Failed State = "fail" // the mall does not work, or will not
)

// Examination says what is examined.
type Examination struct {
	Data string
	DB   string // the databases of a mall in several processes; "": it is in Data
	HTTP string // the address that the mall is to listen on
	Full bool   // every page of the database and every seal, however long that takes
	// Added services run beside the mall's own.
	Added []*backbone.Service
}

// Bounds of what is well.
const (
	fewBytes  = 200 << 20 // free on the disk: too few
	someBytes = 1 << 30   // worth a warning
	tooOld    = 30 * time.Second
	tailSeals = 100
	longLock  = 3 * time.Second // that others wait for
	ahead     = time.Minute     // how far a record may be ahead of the clock
	patience  = 5 * time.Second // with a mall that does not answer
)

var errSilent = errors.New("the mall does not answer")

// earliest is before everything that this program can have been started in.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Examine checks a data directory and the mall on it, whether it runs or not, and changes nothing but what opening a database
// changes. An error is one of emit, of ctx, or of what could not be asked; what is wrong with the mall is a Finding.
func Examine(ctx context.Context, x Examination, emit func(Finding) error) error {
	running := Running(ctx, x.Data)
	local := []func(Examination, bool) Finding{directory, disk, keys, port, wallClock}
	if x.DB != "" { // each process has a directory and ports of its own
		local = []func(Examination, bool) Finding{wallClock}
	}
	for _, check := range local {
		if err := emit(check(x, running)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(x.Data, "souk.db")); errors.Is(err, fs.ErrNotExist) && !running && x.DB == "" {
		return emit(Finding{"database", Well, "there is none yet; the first souk up makes it", ""})
	}
	full := ""
	if x.Full {
		full = "yes"
	}
	asked, give := context.WithCancelCause(ctx)
	defer give(nil)
	silence := time.AfterFunc(patience, func() { give(errSilent) })
	defer silence.Stop()
	mall := Mall{Data: x.Data, DB: x.DB, Added: x.Added, Waiting: give} // who is in the way is what it is asked for
	err := Call(asked, mall, "doctor", Args{"full": full}, func(row json.RawMessage) error {
		silence.Stop()
		var f Finding
		if err := json.Unmarshal(row, &f); err != nil {
			return err
		}
		return emit(f)
	})
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(context.Cause(asked), errSilent):
		return emit(Finding{"answer", Failed, fmt.Sprintf("a mall runs here and has not answered for %s", patience), "if it hangs, end it and start it again: nothing that was accepted is lost"})
	case errors.Is(err, driver.ErrUnavailable):
		return emit(Finding{"lock", Failed, err.Error(), "another process holds the database and does not answer; end that process, then look again"})
	}
	if x.DB != "" {
		return emit(Finding{
			"database", Failed, err.Error(),
			"see that the address is right, that the server answers, and that processes have begun on it (souk run) since it was made or put back",
		})
	}
	return emit(Finding{"database", Failed, err.Error(), "restore the last backup into a new directory: souk --data NEW restore FILE"})
}

// directory checks that the data directory is its owner's alone.
func directory(x Examination, _ bool) Finding {
	info, err := os.Stat(x.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Finding{"directory", Well, "there is none yet; the first souk up makes it", ""}
	case err != nil:
		return Finding{"directory", Failed, err.Error(), "let the user of the mall read it, or name another with --data"}
	case !info.IsDir():
		return Finding{"directory", Failed, x.Data + " is a file", "name a directory with --data"}
	case info.Mode().Perm()&0o077 != 0:
		return Finding{"directory", Failed, fmt.Sprintf("others may use %s (%#o)", x.Data, info.Mode().Perm()), "chmod 700 " + x.Data}
	}
	for _, name := range []string{"souk.db", "souk.sock"} {
		path := filepath.Join(x.Data, name)
		if info, err := os.Lstat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			return Finding{"directory", Failed, fmt.Sprintf("others may use %s (%#o)", path, info.Mode().Perm()), "chmod 600 " + path}
		}
	}
	if err := syscall.Access(x.Data, 7); err != nil {
		return Finding{"directory", Failed, fmt.Sprintf("%s cannot be written: %v", x.Data, err), "run souk as its owner"}
	}
	return Finding{"directory", Well, x.Data + " is its owner's alone", ""}
}

// disk checks the room on the disk of the data directory, or of what it will be in.
func disk(x Examination, _ bool) Finding {
	at := x.Data
	var s syscall.Statfs_t
	err := syscall.Statfs(at, &s)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		err = syscall.Statfs(at, &s)
	}
	if err != nil {
		return Finding{"disk", Failed, err.Error(), "see to the disk of " + x.Data}
	}
	return room(s.Bavail * uint64(s.Bsize))
}

// room judges the free bytes of a disk.
func room(free uint64) Finding {
	f := Finding{"disk", Well, fmt.Sprintf("%d MB are free", free>>20), ""}
	switch {
	case free < fewBytes:
		f.State, f.Do = Failed, "make room: without it the mall takes no orders"
	case free < someBytes:
		f.State, f.Do = Warned, "make room before it is full"
	}
	return f
}

// keys checks the keys that sign tokens.
func keys(x Examination, _ bool) Finding {
	dir := filepath.Join(x.Data, "keys")
	if _, err := os.Stat(filepath.Join(dir, "signing-keys.json")); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(x.Data, "souk.db")); err == nil {
			return Finding{"keys", Warned, "there are no keys that sign tokens", "put a copy of the folder keys back, or let everybody sign in again after the next start"}
		}
		return Finding{"keys", Well, "there are none yet; the first souk up makes them", ""}
	}
	if _, err := door.OpenAuthority(dir, systemClock{}); err != nil {
		return Finding{"keys", Failed, err.Error(), "put a copy of the folder keys back, readable for its owner alone"}
	}
	return Finding{"keys", Well, "the keys that sign tokens can be used", ""}
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// port checks that the mall can listen where it is to.
func port(x Examination, running bool) Finding {
	if running {
		return Finding{"port", Well, "a mall runs and answers", ""}
	}
	l, err := net.Listen("tcp", x.HTTP)
	if err != nil {
		return Finding{"port", Failed, err.Error(), "end what listens there, or start the mall with another --http"}
	}
	if err := l.Close(); err != nil {
		return Finding{"port", Failed, err.Error(), "start the mall with another --http"}
	}
	return Finding{"port", Well, x.HTTP + " is free", ""}
}

// wallClock checks that the clock was ever set.
func wallClock(Examination, bool) Finding {
	now := time.Now().UTC()
	if now.Before(earliest) {
		return Finding{"clock", Failed, "it is " + now.Format(time.RFC3339), "set the clock: timers, tokens and events carry its time"}
	}
	return Finding{"clock", Well, "it is " + now.Format(time.RFC3339), ""}
}

// examine checks a mall from inside.
func examine(ctx context.Context, h *house.House, a Args, emit Emit) error {
	checks := []func(context.Context, *house.House, bool) (Finding, error){newest, paused, lag, letters, heldBack, stuck, seals}
	if h.Several() {
		checks = append(checks, processes)
	}
	if _, err := h.SQLite(); err != nil {
		checks = append(checks, locks)
	} else {
		lacks, err := missing(ctx, h)
		if err != nil {
			return err
		}
		if len(lacks) > 0 {
			return emit(Finding{"tables", Warned, fmt.Sprintf("%d migrations were not applied", len(lacks)), "souk migrate, or souk up, which does it too"})
		}
		checks = append([]func(context.Context, *house.House, bool) (Finding, error){settings, integrity}, checks...)
	}
	if _, err := h.SQLite(); err == nil && h.URL() == "" { // nothing is applied; it only makes the tables known
		if err := h.Migrate(ctx); err != nil {
			return err
		}
	}
	for _, check := range checks {
		f, err := check(ctx, h, a["full"] != "")
		if err != nil {
			return err
		}
		if f == (Finding{}) {
			continue // it does not apply
		}
		if err := emit(f); err != nil {
			return err
		}
	}
	return nil
}

// settings checks those that durability rests on.
func settings(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	journal, err := column(ctx, h, `PRAGMA journal_mode`)
	if err != nil {
		return Finding{}, err
	}
	flush, err := column(ctx, h, `PRAGMA synchronous`)
	if err != nil {
		return Finding{}, err
	}
	f := Finding{"settings", Well, fmt.Sprintf("journal_mode %s, synchronous %s", journal, flush), ""}
	if journal != "wal" || flush != "2" {
		f.State, f.Do = Failed, "no other program may change the database; want wal and 2"
	}
	return f, nil
}

func integrity(ctx context.Context, h *house.House, full bool) (Finding, error) {
	pragma, how := `PRAGMA quick_check(1)`, "a quick check found no damage"
	if full {
		pragma, how = `PRAGMA integrity_check(1)`, "every page was checked and is whole"
	}
	found, err := column(ctx, h, pragma)
	if err == nil && found != "ok" {
		return Finding{"integrity", Failed, found, "restore the last backup into a new directory: souk --data NEW restore FILE"}, nil
	}
	return Finding{"integrity", Well, how, ""}, err
}

// column returns the first column of a query's first row as text.
func column(ctx context.Context, h *house.House, sql string) (value string, err error) {
	rows, err := h.Store("orders").Query(ctx, sql)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		var v any
		if err := rows.Scan(&v); err != nil {
			return "", err
		}
		value = fmt.Sprint(v)
	}
	return value, rows.Err()
}

// newest checks that the clock has not gone back behind what was recorded.
func newest(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	for _, name := range h.Services() {
		list, err := h.Reader(name).Log(ctx, backbone.ReadQuery{Limit: 1, Descending: true})
		if err != nil {
			return Finding{}, err
		}
		for _, m := range list {
			if early := time.Until(m.Time); early > ahead {
				return Finding{
					"time", Failed, fmt.Sprintf("the newest record of %s is %s ahead of the clock", name, early.Round(time.Second)),
					"set the clock: it went back, or was ahead once",
				}, nil
			}
		}
	}
	return Finding{"time", Well, "no record is ahead of the clock", ""}, nil
}

// lag checks that subscriptions keep up.
func lag(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	c, err := telemetry.NewCollector(telemetry.CollectorConfig{
		Parts: h.Runtime.Parts(), Source: func(service string) telemetry.Source { return h.Store(service) }, Backlogs: h.Backlogs(),
	})
	if err != nil {
		return Finding{}, err
	}
	lags, err := c.Lags(ctx)
	if err != nil {
		return Finding{}, err
	}
	return behind(lags, h.URL() != ""), nil
}

// behind judges what waits. Without a mall that runs it waits for that.
func behind(lags []telemetry.Lag, running bool) Finding {
	var waiting float64
	var worst telemetry.Lag
	for _, l := range lags {
		waiting += l.Messages
		if l.Oldest > worst.Oldest {
			worst = l
		}
	}
	f := Finding{"lag", Well, fmt.Sprintf("%.0f messages wait", waiting), ""}
	switch {
	case !running && waiting > 0:
		f.Found += " for the next start"
	case running && worst.Oldest > tooOld:
		f.State = Warned
		f.Found += fmt.Sprintf("; %s has not settled one of %s for %s", worst.Subscription, worst.Source, worst.Oldest.Round(time.Second))
		f.Do = "see whether the service is paused (souk service resume " + worst.Service + ") or its messages fail (souk dlq list)"
	}
	return f
}

// paused checks for services that an operator has stopped: what is meant for them waits, and nothing else says so.
func paused(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	var names []string
	for _, svc := range h.Runtime.Parts() {
		is, err := backbone.Paused(ctx, h.Store(svc.Name), svc.Name)
		if err != nil {
			return Finding{}, err
		}
		if is {
			names = append(names, svc.Name)
		}
	}
	if len(names) > 0 {
		return Finding{"paused", Warned, strings.Join(names, ", ") + ": by an operator", "souk service resume " + names[0]}, nil
	}
	return Finding{"paused", Well, "no service is", ""}, nil
}

// letters checks for messages that wait for an operator.
func letters(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	dead, retrying := 0, 0
	for _, svc := range h.Runtime.Parts() {
		for _, sub := range subscriptions(svc) {
			heads, err := h.Store(svc.Name).ParkedRows(ctx, svc.Name, sub, "", 1000)
			if err != nil {
				return Finding{}, err
			}
			for _, p := range heads {
				if p.State == "dead" {
					dead++
				} else {
					retrying++
				}
			}
		}
	}
	f := Finding{"parked", Well, fmt.Sprintf("%d keys wait for an operator, %d are being tried again", dead, retrying), ""}
	if dead > 0 {
		f.State, f.Do = Warned, "souk dlq list, then souk dlq redrive, edit or discard"
	}
	return f, nil
}

// heldBack checks, where a broker carries the messages, for streams that go no further because it does not take one of their records.
func heldBack(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	var all []string
	carried := false
	for _, svc := range h.Runtime.Parts() {
		held, err := backbone.HeldByRelay(ctx, h.Store(svc.Name), svc.Name)
		if err != nil {
			return Finding{}, err
		}
		over, err := backbone.OverBroker(ctx, h.Store(svc.Name), svc.Name)
		if err != nil {
			return Finding{}, err
		}
		carried = carried || over
		for _, b := range held {
			all = append(all, fmt.Sprintf("%s %s in stream %s of %s", b.Type, b.ID, b.Stream, svc.Name))
		}
	}
	if len(all) > 0 {
		return Finding{
			"relay", Warned, fmt.Sprintf("%d streams wait for a record that is too large for the broker: %s", len(all), strings.Join(all[:min(3, len(all))], ", ")),
			"raise the broker's limit for the size of a message; they go on by themselves then",
		}, nil
	}
	if !carried {
		return Finding{}, nil
	}
	return Finding{"relay", Well, "nothing is too large for the broker", ""}, nil
}

// stuck checks for sagas that wait for an operator.
func stuck(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	var names []string
	for _, svc := range h.Runtime.Parts() {
		if len(svc.Sagas) == 0 {
			continue
		}
		list, err := h.Store(svc.Name).SagaRows(ctx, svc.Name, "", "", "stuck", 1000)
		if err != nil {
			return Finding{}, err
		}
		for _, s := range list {
			names = append(names, s.Name+" "+s.ID)
		}
	}
	if len(names) > 0 {
		return Finding{
			"sagas", Warned, fmt.Sprintf("%d are stuck: %s", len(names), strings.Join(slices.Compact(names[:min(3, len(names))]), ", ")),
			"souk saga list --state stuck, then souk saga retry or abort",
		}, nil
	}
	return Finding{"sagas", Well, "none is stuck", ""}, nil
}

// seals checks the newest seals of every log against what was kept beside it, or all seals.
func seals(ctx context.Context, h *house.House, full bool) (Finding, error) {
	checked := 0
	for _, name := range h.Services() {
		kept, err := h.Head(name)
		if err != nil {
			return Finding{"seals", Failed, err.Error(), "put a copy of the file back, or remove it if you know why it is damaged"}, nil //nolint:nilerr // it is what was found
		}
		var report backbone.AuditReport
		if full {
			report, err = h.Reader(name).Verify(ctx, kept)
		} else {
			report, err = h.Reader(name).VerifyTail(ctx, kept, tailSeals)
		}
		if tampered, ok := errors.AsType[*backbone.TamperError](err); ok {
			return Finding{"seals", Failed, tampered.Error(), "somebody changed the log: keep a copy of it, and restore the last backup that verifies"}, nil
		}
		if err != nil {
			return Finding{}, err
		}
		checked += report.Seals
	}
	what := "the newest"
	if full {
		what = "all"
	}
	return Finding{"seals", Well, fmt.Sprintf("%s seals hold (%d)", what, checked), ""}, nil
}

// locks checks for transactions that others wait for: as long as one has the head of a log, or a stream, nothing is decided there.
func locks(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	asked := map[driver.Store]bool{}
	for _, name := range h.Services() {
		store := h.Store(name)
		s, ok := store.(driver.Blockers)
		if !ok || asked[store] {
			continue
		}
		asked[store] = true
		list, err := s.Blockers(ctx, longLock)
		if err != nil {
			return Finding{}, err
		}
		if len(list) > 0 {
			b := list[0]
			return Finding{
				"locks", Warned, fmt.Sprintf("%s has had others wait for %s", b.Who, b.Waited.Round(time.Second)),
				fmt.Sprintf("have that program end its transaction, or end it: SELECT pg_terminate_backend(%d)", b.Process),
			}, nil
		}
	}
	return Finding{"locks", Well, "no transaction is waited for", ""}, nil
}

// processes checks that every service runs somewhere.
func processes(ctx context.Context, h *house.House, _ bool) (Finding, error) {
	list, err := h.Processes(ctx)
	if err != nil {
		return Finding{}, err
	}
	absent := slices.DeleteFunc(h.Services(), func(s string) bool { return s == partner.ServiceName }) // not every mall has partners
	for _, p := range list {
		absent = slices.DeleteFunc(absent, func(s string) bool { return slices.Contains(p.Parts, s) })
	}
	f := Finding{"processes", Well, fmt.Sprintf("%d run, and every service in one of them", len(list)), ""}
	if len(absent) > 0 {
		f.State, f.Found = Warned, fmt.Sprintf("%d run, and none of them runs %s", len(list), strings.Join(absent, ", "))
		f.Do = "souk run " + strings.Join(absent, " ") + "; what is meant for them waits until then"
	}
	return f, nil
}
