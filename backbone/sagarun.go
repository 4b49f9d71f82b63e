package backbone

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// The states of a saga instance.
const (
	SagaRunning      = "running"      // waits for an answer, or will send the next command
	SagaWaiting      = "waiting"      // a step stays: an event will tell
	SagaCompensating = "compensating" // undoes, last step first
	SagaStuck        = "stuck"        // a command is refused again and again: an operator decides
	SagaCompleted    = "completed"    // every step is done
	SagaCompensated  = "compensated"  // everything is undone
)

// The states of a step, as stored.
const (
	stepNone    = ""
	stepSent    = "sent"
	stepDone    = "done"
	stepSkipped = "skipped"
	stepRefused = "refused"
	stepUndoing = "undoing"
	stepUndone  = "undone"
)

// sagaState is what a row's data holds.
type sagaState struct {
	Step        int             `json:"step"`
	Steps       []string        `json:"steps"`
	Attempts    int             `json:"attempts,omitempty"` // of the command that is out
	Round       int             `json:"round,omitempty"`    // raised by an operator's retry
	Pivoted     bool            `json:"pivoted,omitempty"`
	Undoing     bool            `json:"undoing,omitempty"`
	Data        json.RawMessage `json:"data"`
	Refusal     *Refusal        `json:"refusal,omitempty"`
	RefusedStep string          `json:"refusedStep,omitempty"`
	Abort       string          `json:"abort,omitempty"` // event that aborted it
	Why         string          `json:"why,omitempty"`
	Actor       string          `json:"actor,omitempty"`
	Correlation string          `json:"correlation,omitempty"`
	Trace       string          `json:"trace,omitempty"`
	Cause       string          `json:"cause,omitempty"` // id of the record that moved it last
}

func (st sagaState) clone() sagaState {
	st.Steps = append([]string(nil), st.Steps...)
	return st
}

// replyTo says where an answer belongs: "saga/name/id#step" or, for an undo,
// "saga/name/id#-step".
func replyTo(key driver.SagaKey, step int, undo bool) string {
	sign := ""
	if undo {
		sign = "-"
	}
	return "saga/" + key.Name + "/" + key.ID + "#" + sign + strconv.Itoa(step+1)
}

func parseReplyTo(s string) (key driver.SagaKey, step int, undo, ok bool) {
	rest, found := strings.CutPrefix(s, "saga/")
	if !found {
		return key, 0, false, false
	}
	name, rest, found := strings.Cut(rest, "/")
	hash := strings.LastIndexByte(rest, '#')
	if !found || hash < 1 {
		return key, 0, false, false
	}
	n, err := strconv.Atoi(rest[hash+1:])
	if err != nil || n == 0 {
		return key, 0, false, false
	}
	if n < 0 {
		n, undo = -n, true
	}
	return driver.SagaKey{Name: name, ID: rest[:hash]}, n - 1, undo, true
}

// sagaRun is one instance within one unit.
type sagaRun struct {
	b   *batch
	u   *unit
	h   *host
	s   *share
	def SagaDefinition
	e   *sagaEntry
	st  sagaState
	m   Meta
}

// openSaga opens an instance for the message m that moves it. What is no message, a
// deadline or an operator, has no id: what comes of it follows from the record that
// moved the instance before.
func (b *batch) openSaga(u *unit, h *host, def SagaDefinition, key driver.SagaKey, m Meta) (*sagaRun, error) {
	s := b.of(h)
	e, err := b.sagaRow(s, key)
	if err != nil {
		return nil, err
	}
	r := &sagaRun{b: b, u: u, h: h, s: s, def: def, e: e, st: e.state.clone(), m: m}
	if e.exists {
		r.m.Correlation, r.m.Trace = r.st.Correlation, r.st.Trace
		if r.m.Actor == "" {
			r.m.Actor = r.st.Actor
		}
		if r.m.ID == "" {
			r.m.ID = cmp.Or(r.st.Cause, r.st.Correlation) // a row of an earlier version has no cause
		}
		if e.row.Definition != def.sagaVersion() {
			switch other := h.sagaVersions[key.Name][e.row.Definition]; {
			case other != nil:
				r.def = other
			case h.newerSaga(key.Name, e.row.Definition):
				return nil, &NewerVersionError{Type: fmt.Sprintf("saga %s version %d", key.Name, e.row.Definition), Known: def.sagaVersion()}
			default:
				return nil, fmt.Errorf("saga %s/%s runs on version %d, which this program no longer has", key.Name, key.ID, e.row.Definition)
			}
		}
	}
	return r, nil
}

// newerSaga reports whether a version of a saga is above all that this program has.
func (h *host) newerSaga(name string, version int) bool {
	for known := range h.sagaVersions[name] {
		if known >= version {
			return false
		}
	}
	return h.sagaVersions[name] != nil
}

// save puts the instance into the batch.
func (r *sagaRun) save(state string, due time.Duration) error {
	r.st.Cause = r.m.ID
	data, err := json.Marshal(&r.st)
	if err != nil {
		return err
	}
	before := *r.e
	r.b.undoLog = append(r.b.undoLog, func() { *r.e = before })
	now := r.m.Time.UnixMicro()
	if r.e.row.State == "" {
		r.e.row.Started, r.e.row.Definition = now, r.def.sagaVersion()
	}
	if due > 0 {
		r.e.row.Due = now + due.Microseconds()
	} else {
		r.e.row.Due = 0
	}
	changed := r.e.row.State != state
	r.e.row.State, r.e.row.Data, r.e.row.Updated = state, data, now
	r.e.state, r.e.exists = r.st.clone(), true
	r.e.dirty = true
	r.s.dirtySagas = append(r.s.dirtySagas, r.e)
	if changed || state == SagaRunning {
		step := ""
		if r.st.Step < r.def.steps() {
			step = r.def.step(r.st.Step).name
		}
		r.h.r.observeSaga(SagaStats{r.h.svc.Name, r.e.row.Name, r.e.row.ID, state, step})
	}
	if state == SagaStuck {
		r.h.r.alarm(Alarm{Service: r.h.svc.Name, Subject: "saga", Text: fmt.Sprintf("%s/%s is stuck: %s", r.e.row.Name, r.e.row.ID, r.st.Why)})
	}
	driver.CrashPoint("saga.step")
	return nil
}

func (b *batch) startSaga(u *unit, h *host, def SagaDefinition, e Event, m Meta) error {
	id, data, err := def.start(e, m)
	if err != nil || id == "" {
		return err
	}
	key := driver.SagaKey{Name: def.sagaName(), ID: id}
	s := b.of(h)
	if s.sagas[key] == nil {
		// The event that starts an instance happens once; what is not in the
		// overlay or cache is new, so no row is read.
		en := &sagaEntry{row: driver.Saga{SagaKey: key}}
		if cached := h.cachedSaga(key); cached != nil {
			*en = *cached
		}
		s.sagas[key] = en
	}
	r, err := b.openSaga(u, h, def, key, m)
	if err != nil || r.e.exists {
		return err
	}
	r.e.row.Started = m.Time.UnixMicro() // the ids of its commands begin with it
	r.st = sagaState{Steps: make([]string, def.steps()), Data: data, Actor: m.Actor, Correlation: correlation(&m), Trace: m.Trace}
	return r.forward()
}

// forward goes on from the current step until a command is out or all is done.
func (r *sagaRun) forward() error {
	for ; r.st.Step < r.def.steps(); r.st.Step++ {
		i := r.st.Step
		info := r.def.step(i)
		applies, err := r.def.applies(i, r.st.Data)
		if err != nil {
			return err
		}
		if !applies {
			r.st.Steps[i] = stepSkipped
			continue
		}
		c, err := r.def.command(i, r.st.Data)
		if err != nil {
			return err
		}
		r.st.Attempts = 0
		if !info.local {
			r.st.Steps[i] = stepSent
			if err := r.send(c, i, false); err != nil {
				return err
			}
			return r.save(SagaRunning, info.timeout)
		}
		a, err := r.local(c, i)
		if err != nil {
			return err
		}
		if r.st.Undoing { // what the command did has aborted this very instance
			return nil
		}
		if a.Outcome == Refused {
			return r.refused(i, info, *a.Refusal)
		}
		r.stepDone(i, info)
	}
	r.st.Step = r.def.steps()
	return r.save(SagaCompleted, 0)
}

func (r *sagaRun) stepDone(i int, info stepInfo) {
	r.st.Steps[i] = stepDone
	r.st.Pivoted = r.st.Pivoted || info.pivot
}

// local decides a command of the service itself in this transaction. It has no record
// of its own, so its events follow from the one that moves the instance. They may
// change this very instance; the run then takes over what they did.
func (r *sagaRun) local(c Command, step int) (Answer, error) {
	hd := r.h.handlers[c.CommandType()]
	if hd == nil {
		return Answer{}, Permanent(fmt.Errorf("saga %s decides %s locally, which %s does not handle", r.e.row.Name, c.CommandType(), r.h.svc.Name))
	}
	before := *r.e
	r.b.undoLog = append(r.b.undoLog, func() { *r.e = before })
	r.e.state, r.e.exists = r.st.clone(), true
	if r.e.row.State == "" {
		r.e.row.State, r.e.row.Started, r.e.row.Definition = SagaRunning, r.m.Time.UnixMicro(), r.def.sagaVersion()
	}
	m := r.m
	m.ID = derivedID(time.UnixMicro(r.e.row.Started), "saga", r.e.row.Name, r.e.row.ID, strconv.Itoa(step), c.CommandType(), strconv.Itoa(r.st.Round))
	m.Causation = r.m.ID
	m.Actor = "service:" + r.h.svc.Name
	a, err := r.b.judge(r.u, r.h, hd, c, m, r.m.ID)
	r.st = r.e.state.clone()
	return a, err
}

// send sends a step's command, or what undoes it. The command's id is the same
// whenever it is sent again.
func (r *sagaRun) send(c Command, step int, undo bool) error {
	m := r.m
	m.Actor = "service:" + r.h.svc.Name
	id := derivedID(time.UnixMicro(r.e.row.Started), "saga", r.e.row.Name, r.e.row.ID, strconv.Itoa(step), strconv.FormatBool(undo), strconv.Itoa(r.st.Round))
	return r.b.send(r.h, c, id, replyTo(r.e.row.SagaKey, step, undo), m)
}

// refused turns a refusal into compensation, or after the pivot into another try.
func (r *sagaRun) refused(i int, info stepInfo, refusal Refusal) error {
	if r.st.Pivoted {
		r.st.Attempts++
		r.st.Why = fmt.Sprintf("step %q was refused after the pivot: %v", info.name, &refusal)
		if r.st.Attempts >= r.def.undoAttempts() {
			return r.save(SagaStuck, 0)
		}
		r.st.Round++ // a refusal is an answer: the same id would get it again
		return r.save(SagaRunning, backoff(r.st.Attempts))
	}
	r.st.Steps[i] = stepRefused
	r.st.Refusal, r.st.RefusedStep = &refusal, info.name
	return r.backward()
}

func backoff(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 8), time.Minute)
}

// backward undoes the steps that are done, or whose outcome is unknown, last first.
func (r *sagaRun) backward() error {
	r.st.Undoing = true
	for i := r.def.steps() - 1; i >= 0; i-- {
		switch r.st.Steps[i] {
		case stepSent, stepDone, stepUndoing:
		default:
			continue
		}
		if !r.def.step(i).undoable {
			r.st.Steps[i] = stepUndone
			continue
		}
		c, err := r.def.undo(i, r.st.Data)
		if err != nil {
			return err
		}
		r.st.Steps[i], r.st.Step, r.st.Attempts = stepUndoing, i, 0
		if err := r.send(c, i, true); err != nil {
			return err
		}
		return r.save(SagaCompensating, r.def.step(i).timeout)
	}
	return r.finish()
}

// finish ends an instance whose steps are undone.
func (r *sagaRun) finish() error {
	var c Command
	var err error
	if r.st.Abort != "" {
		for _, a := range r.def.aborts() {
			if a.event == r.st.Abort {
				c, err = a.finish(r.st.Data)
			}
		}
	} else if r.st.Refusal != nil {
		c, err = r.def.rejected(r.st.Data, r.st.RefusedStep, *r.st.Refusal)
	}
	if err != nil {
		return err
	}
	if c != nil {
		a, err := r.local(c, r.def.steps())
		if err != nil {
			return err
		}
		if a.Outcome == Refused {
			r.st.Why = fmt.Sprintf("%s was refused: %v", c.CommandType(), a.Refusal)
			return r.save(SagaStuck, 0)
		}
	}
	return r.save(SagaCompensated, 0)
}

func (b *batch) abortSaga(u *unit, h *host, def SagaDefinition, abort abortInfo, e Event, m Meta) error {
	id := abort.id(e)
	if id == "" {
		return nil
	}
	r, err := b.openSaga(u, h, def, driver.SagaKey{Name: def.sagaName(), ID: id}, m)
	if err != nil || !r.e.exists {
		return err
	}
	r.st.Abort = abort.event
	switch {
	case r.e.row.State == SagaCompensated:
		return r.finish()
	case r.st.Undoing: // under way already; it will end with what the abort asks
		due := time.Duration(0)
		if r.e.row.Due > 0 {
			due = time.Duration(max(r.e.row.Due-m.Time.UnixMicro(), 1)) * time.Microsecond
		}
		return r.save(r.e.row.State, due)
	}
	return r.backward()
}

// sagaReply brings an answer to the step that it belongs to. Answers come late,
// twice and out of order; what is settled stays settled.
func (b *batch) sagaReply(u *unit, h *host, def SagaDefinition, key driver.SagaKey, step int, undo bool, a Answer, m Meta) error {
	r, err := b.openSaga(u, h, def, key, m)
	if err != nil {
		return err
	}
	if !r.e.exists || step < 0 || step >= len(r.st.Steps) {
		return Permanent(fmt.Errorf("answer for saga %s/%s step %d, which does not exist", key.Name, key.ID, step+1))
	}
	driver.CrashPoint("saga.reply")
	info := r.def.step(step)
	if undo {
		return r.undoAnswered(step, info, a)
	}
	if r.st.Undoing {
		return r.lateAnswer(step, info, a)
	}
	if r.st.Step != step || r.st.Steps[step] != stepSent || r.e.row.State == SagaWaiting {
		return nil // a copy
	}
	if a.Outcome == Refused {
		return r.refused(step, info, *a.Refusal)
	}
	data, commands, progress, err := r.def.then(step, r.st.Data, a)
	if err != nil {
		return err
	}
	return r.answered(step, info, data, commands, progress)
}

// answered goes on after a positive answer or the event that stands for it.
func (r *sagaRun) answered(step int, info stepInfo, data []byte, commands []Command, progress Progress) error {
	r.st.Data, r.st.Why = data, ""
	for _, c := range commands {
		la, err := r.local(c, step)
		if err != nil {
			return err
		}
		if r.st.Undoing {
			return nil
		}
		if la.Outcome == Refused {
			r.st.Steps[step] = stepDone // the step itself was done, so it is undone
			r.st.Refusal, r.st.RefusedStep = la.Refusal, info.name
			return r.backward()
		}
	}
	if progress == Stay {
		return r.save(SagaWaiting, 0)
	}
	r.stepDone(step, info)
	r.st.Step = step + 1
	return r.forward()
}

// lateAnswer takes an answer that comes when everything is being undone, or is.
func (r *sagaRun) lateAnswer(step int, info stepInfo, a Answer) error {
	switch {
	case a.Outcome == Refused, !info.undoable:
		return nil // nothing was done, or nothing can be taken back
	case r.st.Steps[step] == stepUndoing:
		return nil // its undo is out and wins in either order, by the receiver's tombstone
	}
	if r.st.Steps[step] == stepSent || r.st.Steps[step] == stepDone {
		return nil // its turn to be undone comes
	}
	r.st.Steps[step] = stepDone
	r.st.Round++ // the undo that was answered before does not cover this
	if r.e.row.State == SagaCompensated {
		return r.backwardAgain()
	}
	return r.save(r.e.row.State, r.remaining())
}

// backwardAgain undoes a late success without ending the matter a second time.
func (r *sagaRun) backwardAgain() error {
	r.st.Refusal, r.st.Abort = nil, ""
	return r.backward()
}

func (r *sagaRun) remaining() time.Duration {
	if r.e.row.Due == 0 {
		return 0
	}
	return time.Duration(max(r.e.row.Due-r.m.Time.UnixMicro(), 1)) * time.Microsecond
}

func (r *sagaRun) undoAnswered(step int, info stepInfo, a Answer) error {
	if r.st.Steps[step] != stepUndoing {
		return nil // a copy
	}
	if a.Outcome == Refused {
		r.st.Attempts++
		r.st.Why = fmt.Sprintf("undoing step %q was refused: %v", info.name, a.Refusal)
		if r.st.Attempts >= r.def.undoAttempts() {
			return r.save(SagaStuck, 0)
		}
		r.st.Round++
		return r.save(SagaCompensating, backoff(r.st.Attempts))
	}
	r.st.Steps[step], r.st.Why = stepUndone, ""
	return r.backward()
}

// sagaEvent brings an event to the step that waits for it.
func (b *batch) sagaEvent(u *unit, h *host, def SagaDefinition, adv advanceInfo, e Event, m Meta) error {
	id := adv.id(e)
	if id == "" {
		return nil
	}
	r, err := b.openSaga(u, h, def, driver.SagaKey{Name: def.sagaName(), ID: id}, m)
	if err != nil || !r.e.exists {
		return err
	}
	// The event may come before the answer that says to wait for it; that answer is a copy then.
	if r.st.Undoing || r.st.Step != adv.step || r.st.Steps[adv.step] != stepSent {
		return nil
	}
	data, commands, progress, err := adv.then(r.st.Data, e, r.m)
	if err != nil {
		return err
	}
	return r.answered(adv.step, r.def.step(adv.step), data, commands, progress)
}

// sagaDue is called when an instance's deadline has come.
func (b *batch) sagaDue(u *unit, h *host, key driver.SagaKey, m Meta) error {
	def := h.sagas[key.Name]
	if def == nil {
		return nil
	}
	r, err := b.openSaga(u, h, def, key, m)
	if err != nil || !r.e.exists || r.e.row.Due == 0 || r.e.row.Due > m.Time.UnixMicro() {
		return err
	}
	step := r.st.Step
	info := r.def.step(step)
	if r.st.Undoing {
		return r.resend(step, info, true, SagaCompensating)
	}
	if info.onTimeout == Compensate && !r.st.Pivoted {
		r.st.Refusal = &Refusal{Code: "timeout", Detail: fmt.Sprintf("no answer to step %q within %s", info.name, info.timeout)}
		r.st.RefusedStep = info.name
		return r.backward()
	}
	return r.resend(step, info, false, SagaRunning)
}

func (r *sagaRun) resend(step int, info stepInfo, undo bool, state string) error {
	var c Command
	var err error
	if undo {
		c, err = r.def.undo(step, r.st.Data)
	} else {
		c, err = r.def.command(step, r.st.Data)
	}
	if err != nil {
		return err
	}
	if r.st.Why == "" {
		r.h.r.alarm(Alarm{
			Service: r.h.svc.Name, Subject: "saga",
			Text: fmt.Sprintf("%s/%s waits for step %q longer than %s", r.e.row.Name, r.e.row.ID, info.name, info.timeout),
		})
	}
	if info.local && !undo {
		return r.forward()
	}
	if err := r.send(c, step, undo); err != nil {
		return err
	}
	return r.save(state, info.timeout)
}

var errNoSaga = errors.New("no such saga")

// sagaOperator carries out an operator's retry or abort of a stuck or waiting instance.
func (b *batch) sagaOperator(u *unit, h *host, key driver.SagaKey, action string, m Meta) error {
	def := h.sagas[key.Name]
	if def == nil {
		return fmt.Errorf("%w: %s", errNoSaga, key.Name)
	}
	r, err := b.openSaga(u, h, def, key, m)
	if err != nil {
		return err
	}
	if !r.e.exists {
		return fmt.Errorf("%w: %s/%s", errNoSaga, key.Name, key.ID)
	}
	r.st.Attempts, r.st.Why = 0, ""
	switch {
	case action == "abort" && !r.st.Undoing && !r.st.Pivoted:
		r.st.Refusal = &Refusal{Code: "aborted", Detail: "aborted by an operator"}
		if r.st.Step < r.def.steps() {
			r.st.RefusedStep = r.def.step(r.st.Step).name
		}
		return r.backward()
	case action == "abort" && r.st.Undoing:
		// The undo that cannot be had is given up; the rest goes on.
		if r.st.Steps[r.st.Step] == stepUndoing {
			r.st.Steps[r.st.Step] = stepUndone
		}
		return r.backward()
	case action == "abort":
		return Refuse("after_pivot", "saga %s/%s is past its pivot and can only be retried", key.Name, key.ID)
	case r.e.row.State != SagaStuck:
		return nil
	case r.st.Undoing && r.st.Step < r.def.steps() && r.st.Steps[r.st.Step] == stepUndoing:
		r.st.Round++
		return r.resend(r.st.Step, r.def.step(r.st.Step), true, SagaCompensating)
	case r.st.Undoing:
		return r.finish()
	}
	r.st.Round++
	return r.resend(r.st.Step, r.def.step(r.st.Step), false, SagaRunning)
}
