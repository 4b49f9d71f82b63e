package house

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall/command"
	"example.org/souk/mall/customers"
)

// A database that is put back from a backup has keys again that were destroyed since. So who was forgotten is noted outside of it, in a file of the
// data directory: by a hash of their id, which tells whether somebody is meant whose id is known, and names nobody.

// forgottenFile is the name of the list in the data directory.
const forgottenFile = "forgotten.txt"

// Forgotten is a list of persons who were forgotten: when, by the hashes of their ids.
type Forgotten map[string]time.Time

// hashOf is by what a person stands in a list.
func hashOf(person string) string {
	sum := sha256.Sum256([]byte("souk forgotten\n" + person))
	return hex.EncodeToString(sum[:])
}

// Has tells whether a person is in the list.
func (f Forgotten) Has(person string) bool { _, ok := f[hashOf(person)]; return ok }

// ReadForgotten reads a list: a hash and the time on each line. Its errors name the line.
func ReadForgotten(r io.Reader) (Forgotten, error) {
	list := Forgotten{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		hash, at, ok := parseForgotten(line)
		if !ok {
			return nil, fmt.Errorf("list of the forgotten: line %d is no hash with a time", n)
		}
		list[hash] = at
	}
	return list, lines.Err()
}

// parseForgotten reads what forgottenLine returns. No part of it that is shorter is one.
func parseForgotten(line string) (hash string, at time.Time, ok bool) {
	hash, when, _ := strings.Cut(strings.TrimSpace(line), " ")
	at, err := time.Parse(time.RFC3339, when)
	raw, wrong := hex.DecodeString(hash)
	return hash, at, err == nil && wrong == nil && len(raw) == sha256.Size
}

func forgottenLine(hash string, at time.Time) string {
	return hash + " " + at.UTC().Format(time.RFC3339) + "\n"
}

// wholeLines returns for how many bytes a list is whole: what follows is a line that was begun and not ended, as where the power failed. Nobody was told that
// whom it meant was forgotten.
func wholeLines(list []byte) int {
	ended := bytes.LastIndexByte(list, '\n') + 1
	if _, _, ok := parseForgotten(string(list[ended:])); ok {
		return len(list) // all but the end of the line
	}
	return ended
}

// readForgottenFile reads the list of a data directory; one that is not there is empty. A last line that was begun and not ended is passed over.
func readForgottenFile(data string, log *slog.Logger) (Forgotten, error) {
	path := filepath.Join(data, forgottenFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Forgotten{}, nil
	}
	if err != nil {
		return nil, err
	}
	whole := wholeLines(text)
	if whole < len(text) {
		log.Warn("the last line of the list of the forgotten was not written whole, and is passed over; whoever was being forgotten then is not, unless that was repeated",
			"file", path, "bytes", len(text)-whole)
	}
	return ReadForgotten(bytes.NewReader(text[:whole]))
}

// noteForgotten adds a person to the list of a data directory. It is on the disk when it returns; on an error the list is as it was. It must not be called twice
// at a time.
func noteForgotten(data, person string, at time.Time) (err error) {
	f, err := os.OpenFile(filepath.Join(data, forgottenFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	list, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	whole, line := wholeLines(list), forgottenLine(hashOf(person), at)
	if whole < len(list) {
		if err := f.Truncate(int64(whole)); err != nil {
			return err
		}
	}
	if whole > 0 && list[whole-1] != '\n' {
		line = "\n" + line
	}
	if _, err = f.WriteString(line); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(int64(whole)))
	}
	return syncDirectory(data)
}

// keeper hands out the keys of persons, and notes whoever is forgotten where the table of keys is, before the key is destroyed.
type keeper struct {
	*backbone.Keys
	h *House
}

// DestroyKey implements backbone.KeyOwner.
func (k keeper) DestroyKey(ctx context.Context, person string) error {
	if k.h.keysConfig().Owner == nil {
		k.h.noting.Lock()
		err := noteForgotten(k.h.cfg.Data, person, clock{}.Now())
		k.h.noting.Unlock()
		if err != nil {
			return fmt.Errorf("note who is forgotten: %w", err)
		}
	}
	return k.Keys.DestroyKey(ctx, person)
}

// Forget has a customer forgotten and destroys their key. Where it fails the same call made again does it.
func (h *House) Forget(ctx context.Context, customer string, options ...backbone.DoOption) error {
	a, err := h.Do(ctx, command.ForgetCustomer{Customer: customer}, options...)
	if err := errors.Join(err, a.Err()); err != nil {
		return err
	}
	return keeper{h.Keys, h}.DestroyKey(ctx, customer)
}

// keyTable returns the keys where they stand, also for an operator of a mall of several processes.
func (h *House) keyTable() (*backbone.Keys, error) {
	if h.keysConfig().Owner == nil {
		return h.Keys, nil
	}
	return backbone.OpenKeys(backbone.KeysConfig{Store: h.stores.of(backbone.KeyService().Name)})
}

// WhoIsForgotten returns all whose keys are destroyed, as the database has them.
func (h *House) WhoIsForgotten(ctx context.Context) (Forgotten, error) {
	keys, err := h.keyTable()
	if err != nil {
		return nil, err
	}
	list := Forgotten{}
	return list, keys.People(ctx, func(person string, destroyed time.Time) error {
		if !destroyed.IsZero() {
			list[hashOf(person)] = destroyed
		}
		return nil
	})
}

// ForgetAgain destroys the keys of all who are in a list. It returns who of them is known here, whose keys had come back, and does so before anything is
// told to any service: TellForgotten does that.
func (h *House) ForgetAgain(ctx context.Context, list Forgotten) (known []string, back int, err error) {
	if len(list) == 0 {
		return nil, 0, nil
	}
	keys, err := h.keyTable()
	if err != nil {
		return nil, 0, err
	}
	err = keys.People(ctx, func(person string, destroyed time.Time) error {
		if !list.Has(person) {
			return nil
		}
		known = append(known, person)
		if !destroyed.IsZero() {
			return nil
		}
		back++
		return keys.Destroy(ctx, person)
	})
	return known, back, err
}

// TellForgotten has the service of customers, and by it all others, know of persons whose keys are destroyed. It returns of how many it was told
// anew. One that nobody knows as a customer is passed over.
func (h *House) TellForgotten(ctx context.Context, persons []string, options ...backbone.DoOption) (told int, err error) {
	for _, person := range persons {
		switch c, err := customers.Get(ctx, h.Reader("customers"), person); {
		case err == nil && (c.Status == customers.Forgotten || c.Status == customers.Unknown):
			continue
		case err != nil:
			return told, err
		}
		a, err := h.Do(ctx, command.ForgetCustomer{Customer: person}, options...)
		if err := errors.Join(err, a.Err()); err != nil {
			return told, err
		}
		if err := h.Keys.DestroyKey(ctx, person); err != nil { // which another process may hold in memory
			return told, err
		}
		told++
	}
	return told, nil
}

// forgetListed destroys the keys of all in the list of the data directory, before anything is served from a database that may have been put back.
func (h *House) forgetListed(ctx context.Context) (known []string, err error) {
	if h.keysConfig().Owner != nil || !h.runs(backbone.KeyService().Name) {
		return nil, nil
	}
	list, err := readForgottenFile(h.cfg.Data, h.cfg.Logger)
	if err != nil {
		return nil, err
	}
	known, back, err := h.ForgetAgain(ctx, list)
	if back > 0 {
		h.cfg.Logger.Warn("keys of persons who were forgotten had come back with the database, and are destroyed again", "persons", back)
	}
	return known, err
}

// tellListed has them told of, as soon as whoever minds customers is there.
func (h *House) tellListed(ctx context.Context, known []string) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		_, err := h.TellForgotten(ctx, known, backbone.By("system:forgotten"))
		if err == nil {
			return
		}
		h.cfg.Logger.Warn("persons who were forgotten are still known as customers; it is tried again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
