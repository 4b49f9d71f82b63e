// Package journal is the durable ledger file of the stand-ins: JSON lines, appended in order, on disk before anyone is
// told about them.
//
// A stand-in has a ledger of its own so that a test can compare what the mall believes with what the world outside
// really did. That comparison is only worth something if the ledger outlives the stand-in being killed; so an entry is
// written and flushed before the answer that reports it leaves. Entries that wait together share one flush.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// ErrClosed is what an append to a closed journal gets.
var ErrClosed = errors.New("journal is closed")

// Journal is an append-only file of JSON lines. One process opens a file at a time. All methods may be called
// concurrently. After the first failed write or flush nothing is appended any more: what lies behind a failed flush is
// not known, so every later append gets the same error.
type Journal struct {
	flush sync.Mutex // held while a batch is written, so batches reach the file in the order of their appends
	file  *os.File

	mu      sync.Mutex
	pending *batch
	err     error
}

type batch struct {
	lines []byte
	done  bool // guarded by Journal.flush
	err   error
}

// Ticket stands for one appended entry.
type Ticket struct {
	journal *Journal
	batch   *batch
}

// Open opens or creates the journal at path and calls each with every entry in it, in order; an error from each ends
// the opening. A last line without its newline is what a killed process left of a write that nobody was told about: it
// is cut off. Any other line that is not JSON is damage, and an error.
func Open(path string, each func(line []byte) error) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := recoverLines(file, each); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), file.Close())
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), file.Close())
	}
	return &Journal{file: file, pending: &batch{}}, nil
}

func recoverLines(file *os.File, each func([]byte) error) error {
	content, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(content, '\n') + 1
	number := 0
	for line := range bytes.Lines(content[:whole]) {
		number++
		if !json.Valid(line) {
			return fmt.Errorf("line %d is damaged", number)
		}
		if err := each(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if whole == len(content) {
		return nil
	}
	if err := file.Truncate(int64(whole)); err != nil {
		return err
	}
	return file.Sync()
}

// syncFolder makes the file's own name durable: without it a new file can be gone after a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Append puts entry at the end and returns at once. Entries reach the file in the order of the Append calls, so whoever
// waits for one knows that everything appended before it is durable too.
func (j *Journal) Append(entry any) (Ticket, error) {
	line, err := json.Marshal(entry)
	if err != nil {
		return Ticket{}, fmt.Errorf("append to journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return Ticket{}, j.err
	}
	j.pending.lines = append(append(j.pending.lines, line...), '\n')
	return Ticket{journal: j, batch: j.pending}, nil
}

// Wait returns once the entry is on disk, or with the error that kept it from getting there. It may be called any
// number of times; the zero Ticket is durable.
func (t Ticket) Wait() error {
	if t.batch == nil {
		return nil
	}
	t.journal.flush.Lock()
	defer t.journal.flush.Unlock()
	if !t.batch.done {
		t.journal.writePending()
	}
	return t.batch.err
}

// writePending writes and flushes what waits. The caller holds j.flush.
func (j *Journal) writePending() {
	j.mu.Lock()
	b, err := j.pending, j.err
	j.pending = &batch{}
	j.mu.Unlock()

	if err == nil && len(b.lines) > 0 {
		if _, err = j.file.Write(b.lines); err == nil {
			err = j.file.Sync()
		}
		if err != nil {
			err = fmt.Errorf("write journal: %w", err)
			j.mu.Lock()
			j.err = err
			j.mu.Unlock()
		}
	}
	b.lines, b.done, b.err = nil, true, err
}

// Close writes what still waits and closes the file. Calling it again does nothing.
func (j *Journal) Close() error {
	j.flush.Lock()
	defer j.flush.Unlock()
	j.writePending()
	j.mu.Lock()
	err := j.err
	j.err = ErrClosed
	j.mu.Unlock()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return errors.Join(err, j.file.Close())
}
