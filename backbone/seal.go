package backbone

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// The audit chain: a sealer follows the log and appends seals. Each holds a hash
// over the stored bytes of a range's events and private events and over the seal
// before it, so that whoever edits, deletes, reorders or inserts a record must
// rewrite every seal since; and heads that are kept in a second place tell of
// that, and of a tail that was cut off. (After Haber and Stornetta, 1991.)

const (
	sealEvery   = 500 * time.Millisecond
	sealRecords = 10_000
)

// Seal is the data of a seal record, and the head that is kept elsewhere.
type Seal struct {
	From  int64  `json:"from"`  // first position of the range
	To    int64  `json:"to"`    // last position of the range
	Count int64  `json:"count"` // events and private events in it
	Hash  string `json:"hash"`  // SHA-256, hex, over them and Prev
	Prev  string `json:"prev"`  // hash of the seal before, empty for the first
	// Marks tell which record is bad when the hash does not hold: four bytes of the
	// hash of each, base64. What is kept elsewhere has none.
	Marks string `json:"marks,omitempty"`
}

// KeeperName is the name under which stands, among the checkpoints of its service, who keeps a log: which process seals it,
// fires its timers first, carries out what operators ask of its sagas, and removes what is old. The position is that of the
// last seal, so that no other process can seal the same range.
const KeeperName = "keeper"

type sealer struct {
	host   *host
	keeper tenure
	turn   sync.Mutex // held while a seal is made

	mu      sync.Mutex
	pending []driver.Record // committed by this process, not sealed yet
	lost    bool            // pending has a hole in front
	wake    chan struct{}
	last    Seal
	passed  int64 // up to here there is nothing to seal
}

func newSealer(h *host) *sealer {
	return &sealer{host: h, keeper: tenure{h: h, name: KeeperName}, wake: make(chan struct{}, 1)}
}

// offer hands over what was committed. What does not fit, or another process seals, is read from the log.
func (s *sealer) offer(records []driver.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.keeper.held() || len(s.pending)+len(records) > 4*sealRecords {
		s.pending, s.lost = nil, true
		return
	}
	s.pending = append(s.pending, records...)
	if len(s.pending) >= sealRecords {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// run keeps the log until ctx ends, as long as no other process does.
func (s *sealer) run(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	defer s.keeper.release(ctx)
	for begun := false; ; {
		held, anew, err := s.keeper.hold(ctx)
		begun = begun && held && !anew
		if err == nil && held && !begun {
			err = s.begin(ctx)
			begun = err == nil
		} else {
			for more := begun && err == nil && s.grown(ctx); more && err == nil; {
				more, err = s.seal(ctx)
			}
		}
		if errors.Is(err, driver.ErrConflict) {
			s.keeper.lost()
		}
		if err != nil {
			begun = false // the chain is read again before it goes on
			if ctx.Err() == nil {
				s.host.r.log.WarnContext(ctx, "the log is not sealed, trying again", "service", s.host.svc.Name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			if begun { // what was committed up to the stop is sealed with it
				_, _ = s.seal(context.WithoutCancel(ctx)) // what fails now is sealed after the next start
			}
			return
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// begin reads where the chain stands. Nobody else adds to it while this process keeps the log.
func (s *sealer) begin(ctx context.Context) error {
	last, err := lastSeal(ctx, s.host.store, s.host.svc.Name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.pending, s.lost, s.last, s.passed = nil, true, last, last.To
	s.mu.Unlock()
	return nil
}

// restart begins a new chain where the log stands, after everything was emptied.
func (s *sealer) restart(ctx context.Context) error {
	head, err := s.host.store.Head(ctx, s.host.svc.Name)
	if err != nil {
		return err
	}
	base, err := json.Marshal(Seal{To: head})
	if err != nil {
		return err
	}
	if err := s.host.store.SetValue(ctx, s.host.svc.Name, sealBase, base); err != nil {
		return err
	}
	s.mu.Lock()
	s.pending, s.lost, s.last, s.passed = nil, true, Seal{To: head}, head
	s.mu.Unlock()
	if keep := s.host.r.cfg.SealHead; keep != nil { // what is kept elsewhere is of the chain that is gone
		return keep(s.host.svc.Name, Seal{To: head})
	}
	return nil
}

// sealBase names the value that says where a chain begins, if not at the first
// record.
const sealBase = "seal-base"

func baseSeal(ctx context.Context, store driver.Store, service string) (base Seal, err error) {
	value, err := store.Value(ctx, service, sealBase)
	if err != nil || value == nil {
		return base, err
	}
	return base, json.Unmarshal(value, &base)
}

func lastSeal(ctx context.Context, store driver.Store, service string) (Seal, error) {
	var last Seal
	rs, err := store.Read(ctx, service, driver.ReadQuery{Kinds: []driver.Kind{driver.KindSeal}, Descending: true, Limit: 1})
	if err != nil {
		return last, err
	}
	if len(rs) == 0 {
		return baseSeal(ctx, store, service)
	}
	return last, json.Unmarshal(rs[0].Data, &last)
}

// seal appends one seal if there is something to seal, and reports whether there
// may be more.
func (s *sealer) seal(ctx context.Context) (more bool, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	records, err := s.take(ctx)
	if err != nil || len(records) == 0 {
		return false, err
	}
	next := Seal{From: s.last.To + 1, To: records[len(records)-1].Position, Prev: s.last.Hash}
	var marks []byte
	next.Count, next.Hash, marks = hashRecords(records, s.last.Hash)
	if next.Count == 0 { // only seals, commands and replies: nothing to vouch for yet
		s.mu.Lock()
		s.passed = next.To
		s.forget(next.To)
		s.mu.Unlock()
		return len(records) >= sealRecords, nil
	}
	sealed := next
	sealed.Marks = base64.StdEncoding.EncodeToString(marks)
	data, err := json.Marshal(&sealed)
	if err != nil {
		return false, err
	}
	h := s.host
	now := h.r.now()
	driver.CrashPoint("seal.before")
	err = h.internal(&unit{host: h, run: func(b *batch, u *unit) error {
		sh := b.of(h)
		sh.writes.Records = append(sh.writes.Records, driver.Record{
			Kind: driver.KindSeal, ID: h.r.ids.next(now), Stream: "seal",
			Type: "backbone.Sealed.v1", Data: data, Meta: []byte("{}"), Time: now.UnixMicro(),
		})
		s.keeper.move(b, u, s.keeper.position, next.To)
		return nil
	}})
	if err != nil {
		return false, err
	}
	s.keeper.position = next.To
	s.mu.Lock()
	s.last, s.passed = next, next.To
	s.forget(next.To)
	s.mu.Unlock()
	if h.r.cfg.SealHead != nil {
		if err := h.r.cfg.SealHead(h.svc.Name, next); err != nil {
			h.r.alarm(Alarm{Service: h.svc.Name, Subject: "seal", Text: fmt.Sprintf("the second place does not take the head: %v", err)})
		}
	}
	return len(records) >= sealRecords, nil
}

// grown reports whether the log may have more than was looked at.
func (s *sealer) grown(ctx context.Context) bool {
	s.mu.Lock()
	known := len(s.pending) > 0 || s.lost
	after := max(s.last.To, s.passed)
	s.mu.Unlock()
	if known {
		return true
	}
	look, ok := s.host.look(ctx, lookAge)
	return !ok || look.Head > after
}

// forget drops what stands in memory up to a position. Callers hold s.mu.
func (s *sealer) forget(position int64) {
	drop := 0
	for drop < len(s.pending) && s.pending[drop].Position <= position {
		drop++
	}
	kept := copy(s.pending, s.pending[drop:])
	clear(s.pending[kept:])
	s.pending = s.pending[:kept]
}

// take returns the records after the last seal that were not looked at yet, at most a seal's worth: from
// memory where they all are there, else from the log.
func (s *sealer) take(ctx context.Context) ([]driver.Record, error) {
	s.mu.Lock()
	after := max(s.last.To, s.passed)
	if records := s.pending[:min(len(s.pending), sealRecords)]; !s.lost && follows(records, after) {
		s.mu.Unlock()
		return records, nil
	}
	s.mu.Unlock()
	records, err := s.host.store.Read(ctx, s.host.svc.Name, driver.ReadQuery{After: after, Limit: sealRecords})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = false
	return records, nil
}

// follows reports whether records begin right behind a position, have no hole, as
// other processes and programs leave one, and hold something to seal. Without that
// the log may have more than this process knows.
func follows(records []driver.Record, position int64) bool {
	events := false
	for i := range records {
		if records[i].Position != position+int64(i)+1 {
			return false
		}
		events = events || records[i].Kind == driver.KindEvent || records[i].Kind == driver.KindPrivate
	}
	return events
}

// markSize is how many bytes of a record's own hash a seal keeps.
const markSize = 4

// hashRecords is what a seal holds. Lengths go in before contents, so that no two
// ranges give the same bytes.
func hashRecords(records []driver.Record, prev string) (count int64, sum string, marks []byte) {
	h := sha256.New()
	buf := make([]byte, 0, 1024)
	text := func(s string) {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	text(prev)
	for i := range records {
		r := &records[i]
		if r.Kind != driver.KindEvent && r.Kind != driver.KindPrivate {
			continue
		}
		count++
		begin := len(buf)
		buf = binary.AppendVarint(buf, r.Position)
		buf = binary.AppendVarint(buf, int64(r.Kind))
		buf = binary.AppendVarint(buf, r.Version)
		buf = binary.AppendVarint(buf, r.Sequence)
		buf = binary.AppendVarint(buf, r.Time)
		text(r.ID)
		text(r.Stream)
		text(r.Type)
		buf = binary.AppendUvarint(buf, uint64(len(r.Data)))
		buf = append(buf, r.Data...)
		buf = binary.AppendUvarint(buf, uint64(len(r.Meta)))
		buf = append(buf, r.Meta...)
		own := sha256.Sum256(buf[begin:])
		marks = append(marks, own[:markSize]...)
		h.Write(buf)
		buf = buf[:0]
	}
	h.Write(buf)
	return count, hex.EncodeToString(h.Sum(nil)), marks
}

// firstBad compares the marks of a range with those of what stands there now, and says
// which record is the first that differs; 0 where the seal cannot tell.
func (s *Seal) firstBad(found []driver.Record, marks []byte) (position int64, why string) {
	sealed, err := base64.StdEncoding.DecodeString(s.Marks)
	if err != nil || len(sealed) != int(s.Count)*markSize {
		return 0, ""
	}
	at := func(list []byte, i int) string { return string(list[i*markSize : (i+1)*markSize]) }
	before := s.From - 1
	for i := range max(len(sealed), len(marks)) / markSize {
		here, there := i*markSize < len(marks), i*markSize < len(sealed)
		switch {
		case here && there && at(marks, i) == at(sealed, i):
			before = found[i].Position
		case !here, (i+1)*markSize < len(sealed) && at(marks, i) == at(sealed, i+1):
			return before + 1, fmt.Sprintf("the record that followed position %d is gone", before)
		case !there:
			return found[i].Position, fmt.Sprintf("the record at %d was added", found[i].Position)
		default:
			return found[i].Position, fmt.Sprintf("the record at %d is not what was sealed", found[i].Position)
		}
	}
	return 0, ""
}

// TamperError says where a log no longer is what was sealed.
type TamperError struct {
	Service  string
	Position int64 // of the first bad record, or the start of the bad range
	Why      string
}

// Error implements error.
func (e *TamperError) Error() string {
	return fmt.Sprintf("log of %s, position %d: %s", e.Service, e.Position, e.Why)
}

// AuditReport is what Verify found in a log that is whole.
type AuditReport struct {
	Service  string
	Head     Seal
	Seals    int
	Records  int64 // sealed
	Unsealed int64 // younger than the last seal
}

// Verify checks a log against its seals, and against a head that was kept
// elsewhere if one is given (its zero value is none). It returns a *TamperError
// for the first thing that is wrong.
func (r *Reader) Verify(ctx context.Context, kept Seal) (AuditReport, error) {
	report := AuditReport{Service: r.service}
	bad := func(position int64, format string, args ...any) error {
		return &TamperError{r.service, position, fmt.Sprintf(format, args...)}
	}
	head, err := r.store.Head(ctx, r.service)
	if err != nil {
		return report, err
	}
	if kept.To > head {
		return report, bad(head+1, "the log ends at %d, but its seal up to %d is known: its tail was cut off", head, kept.To)
	}
	if report.Head, err = baseSeal(ctx, r.store, r.service); err != nil {
		return report, err
	}
	foundKept := kept.Hash == ""
	sealAt := int64(0)
	for {
		seals, err := r.store.Read(ctx, r.service, driver.ReadQuery{After: sealAt, Kinds: []driver.Kind{driver.KindSeal}, Limit: 100})
		if err != nil {
			return report, err
		}
		if len(seals) == 0 {
			break
		}
		for i := range seals {
			sealAt = seals[i].Position
			var s Seal
			if err := json.Unmarshal(seals[i].Data, &s); err != nil {
				return report, bad(sealAt, "the seal cannot be read: %v", err)
			}
			if err := r.follow(ctx, s, sealAt, &report); err != nil {
				return report, err
			}
			if s.Hash == kept.Hash {
				foundKept = true
			}
		}
	}
	if !foundKept {
		return report, bad(kept.From, "the seal that was kept elsewhere is not in the log: it was rewritten")
	}
	rest, err := r.store.Read(ctx, r.service, driver.ReadQuery{After: report.Head.To, Kinds: []driver.Kind{driver.KindEvent, driver.KindPrivate}, Limit: 100_000})
	report.Unsealed = int64(len(rest))
	return report, err
}

// follow checks the seal that stands at a position against the one before it and against
// its range, and makes it the report's head.
func (r *Reader) follow(ctx context.Context, s Seal, position int64, report *AuditReport) error {
	if s.From != report.Head.To+1 || s.Prev != report.Head.Hash {
		return &TamperError{r.service, s.From, fmt.Sprintf("the seal at %d does not follow the one before it", position)}
	}
	if err := r.verifyRange(ctx, s, report); err != nil {
		return err
	}
	report.Head, report.Seals = s, report.Seals+1
	report.Head.Marks = "" // they are of no use beyond the range
	return nil
}

func (r *Reader) verifyRange(ctx context.Context, s Seal, report *AuditReport) error {
	records, err := r.store.Read(ctx, r.service, driver.ReadQuery{
		After: s.From - 1, Until: s.To, Kinds: []driver.Kind{driver.KindEvent, driver.KindPrivate}, Limit: sealRecords * 5, Bytes: 1 << 30,
	})
	if err != nil {
		return err
	}
	count, hash, marks := hashRecords(records, s.Prev)
	if count != s.Count || hash != s.Hash {
		if position, why := s.firstBad(records, marks); position > 0 {
			return &TamperError{r.service, position, why}
		}
	}
	versions := map[string]int64{}
	for i := range records {
		rec := &records[i]
		if rec.Version == 0 {
			continue
		}
		if before := versions[rec.Stream]; before > 0 && rec.Version != before+1 {
			return &TamperError{r.service, rec.Position, fmt.Sprintf("stream %s jumps from version %d to %d", rec.Stream, before, rec.Version)}
		}
		versions[rec.Stream] = rec.Version
	}
	if count != s.Count {
		return &TamperError{r.service, s.From, fmt.Sprintf("positions %d to %d hold %d events, %d were sealed", s.From, s.To, count, s.Count)}
	}
	if hash != s.Hash {
		return &TamperError{r.service, s.From, fmt.Sprintf("a record between %d and %d is not what was sealed", s.From, s.To)}
	}
	report.Records += count
	return nil
}
