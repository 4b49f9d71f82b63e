// Package keys tries the keys of personal data on a real database: what is on the disk, what is left after somebody
// was forgotten, who may read whose texts.
package keys

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
)

const canary = "Canary Birdwhistle, 1 Cage Lane"

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type bundle struct {
	*backbone.Keys
	store driver.Store
	clock *clock
	path  string
}

func open(t *testing.T, master []byte) *bundle {
	t.Helper()
	b := &bundle{path: filepath.Join(t.TempDir(), "keys.db"), clock: &clock{now: time.Unix(1_800_000_000, 0)}}
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: b.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b.store = store
	svc := backbone.KeyService()
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: svc.Name, Migrations: svc.Migrations}}); err != nil {
		t.Fatal(err)
	}
	b.Keys = b.another(t, master)
	return b
}

// another is a second holder of the same keys, as another process has one.
func (b *bundle) another(t *testing.T, master []byte) *backbone.Keys {
	t.Helper()
	keys, err := backbone.OpenKeys(backbone.KeysConfig{Store: b.store, Clock: b.clock, Master: master})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (b *bundle) seal(t *testing.T, person, text string) string {
	t.Helper()
	token, err := b.Seal(t.Context(), person, text)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// secrets returns what the table holds as secrets.
func (b *bundle) secrets(t *testing.T) []string {
	t.Helper()
	rows, err := b.store.Query(t.Context(), "SELECT secret FROM "+b.store.Name("keys", "people")+" ORDER BY person")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// disk returns the bytes of the database file and its write-ahead log.
func (b *bundle) disk(t *testing.T) []byte {
	t.Helper()
	files, err := filepath.Glob(b.path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files at %s: %v", b.path, err)
	}
	var all []byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

func TestRevealReturnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	for name, master := range map[string][]byte{"plain": nil, "wrapped": bytes.Repeat([]byte{7}, 32)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, master)
			token := b.seal(t, "C1", canary)
			if !strings.HasPrefix(token, "sealed:v1:C1:") || strings.Contains(token, "Canary") {
				t.Errorf("token %q", token)
			}
			text, ok, err := b.another(t, master).Reveal(t.Context(), token)
			if text != canary || !ok || err != nil {
				t.Errorf("revealed %q, %v, %v", text, ok, err)
			}
			if disk := b.disk(t); bytes.Contains(disk, []byte("Canary")) {
				t.Error("the database holds the text")
			}
		})
	}
}

// The same text of the same person is the same token, whoever seals it, so that a command that comes again is the same
// command; all others share nothing, not even a nonce. Red when nonces are drawn, and when they are made of less than the
// person and the whole text.
func TestTheSameTextIsTheSameToken(t *testing.T) {
	t.Parallel()
	b := open(t, bytes.Repeat([]byte{7}, 32))
	other := b.another(t, bytes.Repeat([]byte{7}, 32))
	nonces := map[string]string{}
	for _, person := range []string{"C1", "C2"} {
		for i := range 200 {
			text := fmt.Sprintf("%s %d", canary, i)
			token := b.seal(t, person, text)
			again, err := other.Seal(t.Context(), person, text)
			if err != nil || again != token {
				t.Fatalf("%q of %s is %s and %s (%v)", text, person, token, again, err)
			}
			sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "sealed:v1:"+person+":"))
			if err != nil {
				t.Fatal(err)
			}
			nonce := string(sealed[:12])
			if before, used := nonces[nonce]; used {
				t.Fatalf("%q of %s and %s have one nonce", text, person, before)
			}
			nonces[nonce] = fmt.Sprintf("%q of %s", text, person)
		}
	}
}

// A token that was sealed under a nonce that was drawn, as earlier versions did, is revealed as before.
func TestTokensWithRandomNoncesAreRevealed(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	now := b.seal(t, "C1", canary)
	secret, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(b.secrets(t)[0], "plain:"))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{9}, aead.NonceSize())
	token := "sealed:v1:C1:" + base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte(canary), []byte("sealed:v1:C1")))
	if text, ok, err := b.Reveal(t.Context(), token); text != canary || !ok || err != nil || token == now {
		t.Errorf("revealed %q, %v, %v", text, ok, err)
	}
}

func TestTheEmptyTextIsTheEmptyToken(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	if token := b.seal(t, "C1", ""); token != "" {
		t.Errorf("token %q", token)
	}
	if text, ok, err := b.Reveal(t.Context(), ""); text != "" || !ok || err != nil {
		t.Errorf("revealed %q, %v, %v", text, ok, err)
	}
}

func TestADestroyedKeyRevealsNothingEverAgain(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	token, other := b.seal(t, "C1", canary), b.seal(t, "C2", "stays")
	secret := b.secrets(t)[0]
	if !bytes.Contains(b.disk(t), []byte(secret)) {
		t.Fatal("the key is not on the disk: the search below would prove nothing")
	}
	for range 2 {
		if err := b.Destroy(t.Context(), "C1"); err != nil {
			t.Fatal(err)
		}
		b.clock.pass(time.Second)
	}
	for _, keys := range []*backbone.Keys{b.Keys, b.another(t, nil)} {
		if text, ok, err := keys.Reveal(t.Context(), token); text != "" || ok || err != nil {
			t.Errorf("revealed %q, %v, %v", text, ok, err)
		}
		if _, err := keys.Seal(t.Context(), "C1", canary); !errors.Is(err, backbone.ErrForgotten) {
			t.Errorf("seal for a forgotten person: %v", err)
		}
		if text, ok, err := keys.Reveal(t.Context(), other); text != "stays" || !ok || err != nil {
			t.Errorf("another person's text: %q, %v, %v", text, ok, err)
		}
	}
	if err := b.store.Close(); err != nil { // copies the write-ahead log to the database and removes it
		t.Fatal(err)
	}
	if disk := b.disk(t); bytes.Contains(disk, []byte(secret)) || bytes.Contains(disk, []byte("Canary")) {
		t.Error("the key or the text is still on the disk")
	}
}

func TestAPersonIsForgottenBeforeTheyHaveAKey(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	if err := b.Destroy(t.Context(), "C1"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(t.Context(), "C1", canary); !errors.Is(err, backbone.ErrForgotten) {
		t.Errorf("seal: %v", err)
	}
}

func TestAlteredAndForeignTokensAreErrors(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	one, two := b.seal(t, "C1", canary), b.seal(t, "C2", canary)
	body := func(token string) string { return token[strings.LastIndexByte(token, ':')+1:] }
	flipped := []byte(one)
	flipped[len(flipped)-4] ^= 1
	for name, token := range map[string]string{
		"moved to another person": "sealed:v1:C2:" + body(one),
		"moved back":              "sealed:v1:C1:" + body(two),
		"a bit flipped":           string(flipped),
		"cut":                     one[:len(one)-5],
		"nothing sealed":          "sealed:v1:C1:",
		"of nobody":               "sealed:v1:C9:" + body(one),
		"plain text":              canary,
		"another version":         "sealed:v2:C1:" + body(one),
		"no base64":               "sealed:v1:C1:***",
		"no id":                   "sealed:v1:C 1:" + body(one),
	} {
		if text, ok, err := b.Reveal(t.Context(), token); !errors.Is(err, backbone.ErrNotSealed) || ok || text != "" {
			t.Errorf("%s: %q, %v, %v", name, text, ok, err)
		}
	}
	if _, err := b.Seal(t.Context(), "not an id", canary); err == nil {
		t.Error("sealed for something that is no id")
	}
}

func TestKeysAreReadableOnlyWithTheirMaster(t *testing.T) {
	t.Parallel()
	master := bytes.Repeat([]byte{7}, 32)
	b := open(t, nil)
	early := b.seal(t, "early", canary)
	wrapping := b.another(t, master)
	late, err := wrapping.Seal(t.Context(), "late", canary)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{early, late} {
		if text, ok, err := wrapping.Reveal(t.Context(), token); text != canary || !ok || err != nil {
			t.Errorf("with the master: %q, %v, %v", text, ok, err)
		}
	}
	for _, s := range b.secrets(t) {
		if !strings.HasPrefix(s, "wrap1:") {
			t.Errorf("stored unwrapped: %.8s...", s)
		}
	}
	for name, other := range map[string][]byte{"none": nil, "another": bytes.Repeat([]byte{8}, 32)} {
		if _, _, err := b.another(t, other).Reveal(t.Context(), late); !errors.Is(err, backbone.ErrMaster) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	if _, err := backbone.OpenKeys(backbone.KeysConfig{Store: b.store, Master: []byte("short")}); err == nil {
		t.Error("took a short master key")
	}
}

// counted counts the queries that reach the database.
type counted struct {
	driver.Store
	mu      sync.Mutex
	queries int
}

func (c *counted) Query(ctx context.Context, sql string, args ...any) (driver.Rows, error) {
	c.mu.Lock()
	c.queries++
	c.mu.Unlock()
	return c.Store.Query(ctx, sql, args...)
}

func TestAKeyIsHeldForTenMinutes(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	token := b.seal(t, "C1", canary)
	store := &counted{Store: b.store}
	keys, err := backbone.OpenKeys(backbone.KeysConfig{Store: store, Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		wait    time.Duration
		queries int
	}{{0, 1}, {10*time.Minute - 1, 1}, {1, 2}, {time.Minute, 2}} {
		b.clock.pass(step.wait)
		if _, _, err := keys.Reveal(t.Context(), token); err != nil || store.queries != step.queries {
			t.Errorf("step %d: %d queries, want %d; %v", i, store.queries, step.queries, err)
		}
	}
	// Another process destroys it: held until the ten minutes are over, not longer.
	if err := b.Destroy(t.Context(), "C1"); err != nil {
		t.Fatal(err)
	}
	b.clock.pass(9 * time.Minute)
	if _, ok, err := keys.Reveal(t.Context(), token); ok || err != nil {
		t.Errorf("after ten minutes: %v, %v", ok, err)
	}
}

func TestManyAtOnceMakeOneKey(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	const people, each = 4, 8
	tokens := make([]string, people*each)
	var all sync.WaitGroup
	for i := range tokens {
		keys := b.another(t, nil)
		all.Go(func() {
			var err error
			if tokens[i], err = keys.Seal(t.Context(), "C"+string(rune('0'+i%people)), canary); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(b.secrets(t)); n != people {
		t.Errorf("%d keys for %d people", n, people)
	}
	for _, token := range tokens {
		if text, ok, err := b.Reveal(t.Context(), token); text != canary || !ok || err != nil {
			t.Errorf("revealed %q, %v, %v", text, ok, err)
		}
	}
}

// Everybody who has a key or had one is told of once, in order, with when it was destroyed. Red when a page of the table is left out or told twice.
func TestPeopleAreAllToldOf(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	var want []string
	for n := range 1001 { // one more than are read at once
		person := fmt.Sprintf("C%04d", n)
		want = append(want, person)
		if n%500 == 0 {
			b.seal(t, person, canary)
		} else if err := b.Destroy(t.Context(), person); err != nil {
			t.Fatal(err)
		}
	}
	var got, alive []string
	if err := b.People(t.Context(), func(person string, destroyed time.Time) error {
		got = append(got, person)
		switch {
		case destroyed.IsZero():
			alive = append(alive, person)
		case !destroyed.Equal(b.clock.Now()):
			t.Errorf("%s was destroyed at %v", person, destroyed)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) || !slices.Equal(alive, []string{"C0000", "C0500", "C1000"}) {
		t.Errorf("%d persons are told of, of 1001; alive are %v", len(got), alive)
	}
	stop := errors.New("enough")
	if err := b.People(t.Context(), func(string, time.Time) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
}
