package backbone

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// Personal data: what names a person is sealed at the border under a key of that
// person, and stays sealed in commands, events, states, views and dead letters.
// It is revealed only at the edges: by a call that is being made, by a gateway
// that answers its owner. Destroying the key makes every copy unreadable at once
// (crypto-shredding). The keys stand in a table, never in a log.

// Errors of Keys, wrapped.
var (
	// ErrForgotten: the person's key was destroyed; nothing can be sealed for them
	// any more.
	ErrForgotten = errors.New("the person was forgotten")
	// ErrNotSealed: the text is no token of these keys: malformed, altered, moved to
	// another person, or sealed elsewhere.
	ErrNotSealed = errors.New("not a sealed token of these keys")
	// ErrMaster: the person's key is wrapped, and Master is missing or another one.
	ErrMaster = errors.New("the key is wrapped by another master key")
)

const (
	keyService = "keys"
	sealedMark = "sealed:v1:"
	keysHeld   = 65536
	keySize    = 32 // AES-256

	// How a secret is stored.
	plainMark   = "plain:"
	wrappedMark = "wrap1:"
)

// KeyLife is how long a key may be held in memory after it was asked for.
const KeyLife = 10 * time.Minute

//go:embed keys/*.sql
var keyFiles embed.FS

// KeyService is the service that owns the table of keys. It belongs in every parts
// list whose services carry personal data.
func KeyService() *Service {
	migrations, err := fs.Sub(keyFiles, "keys")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return &Service{
		Name:       keyService,
		About:      "Keeps a key per person, under which their personal data is sealed.",
		Sends:      []Command{},
		Migrations: migrations,
	}
}

// KeysConfig says where keys are: Store or Owner is required.
type KeysConfig struct {
	Store driver.Store // the database of the service keys
	// Owner is asked for keys where their database is another process's; Store and
	// Master are that process's then.
	Owner KeyOwner
	Clock Clock // default the system's
	// Master, 32 bytes, wraps the keys at rest, so that a stolen database or backup
	// reveals nobody: it must then be kept elsewhere. Without it keys are stored as
	// they are. Keys that were stored before it was given stay readable and are
	// wrapped when they are next used; a master key cannot be taken away or
	// exchanged while keys are wrapped by it.
	Master []byte
}

// Keys seals and reveals under AES-256-GCM. Whoever seals the same text for the same
// person gets the same token, so that a command which comes again is the same
// command: its fingerprint is over what stands in it. A token therefore tells that
// two texts of one person are equal, and nothing else. A key is held in memory for ten
// minutes at most after it was read, and dropped by the first use of Keys after
// that; a process in which it was not destroyed may reveal for that long. Its
// methods may be called concurrently.
type Keys struct {
	cfg    KeysConfig
	master cipher.AEAD // nil: keys are stored as they are

	mu        sync.Mutex
	mem       map[string]heldKey
	order     []heldName // oldest first
	destroyed uint64     // counts calls of Destroy: a key read before one is not held after it
}

type heldKey struct {
	personKey
	until time.Time
}

// personKey is a person's key in use.
type personKey struct {
	aead   cipher.AEAD
	nonces []byte // the key under which nonces are made of texts
}

type heldName struct {
	person string
	until  time.Time
}

// OpenKeys returns the keys of a database. KeyService must run, or have run, there.
func OpenKeys(cfg KeysConfig) (*Keys, error) {
	if (cfg.Store == nil) == (cfg.Owner == nil) {
		return nil, errors.New("backbone.KeysConfig needs a Store or an Owner")
	}
	if cfg.Owner != nil && cfg.Master != nil {
		return nil, errors.New("backbone.KeysConfig: Master belongs to the owner of the keys")
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	k := &Keys{cfg: cfg, mem: map[string]heldKey{}}
	if cfg.Master != nil {
		if len(cfg.Master) != keySize {
			return nil, fmt.Errorf("the master key has %d bytes; it must have %d", len(cfg.Master), keySize)
		}
		var err error
		if k.master, err = newAEAD(cfg.Master); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// Seal encrypts text under the person's key, which is made if there is none, and
// returns a token that names the person. Sealing an empty text gives an empty
// token. For a person whose key was destroyed it is ErrForgotten.
func (k *Keys) Seal(ctx context.Context, person, text string) (token string, err error) {
	if !ValidID(person) {
		return "", fmt.Errorf("person %q is not a valid id", person)
	}
	if text == "" {
		return "", nil
	}
	key, state, err := k.key(ctx, person, true)
	switch {
	case err != nil:
		return "", fmt.Errorf("seal for %s: %w", person, err)
	case state != KeyAlive:
		return "", fmt.Errorf("seal for %s: %w", person, ErrForgotten)
	}
	return sealedMark + person + ":" + base64.RawURLEncoding.EncodeToString(key.seal(text, sealedMark+person)), nil
}

// Reveal decrypts a token. ok is false, and text empty, when the person's key was
// destroyed. A token that was altered, moved to another person or never made
// under these keys is ErrNotSealed. The empty token is the empty text.
func (k *Keys) Reveal(ctx context.Context, token string) (text string, ok bool, err error) {
	if token == "" {
		return "", true, nil
	}
	rest, marked := strings.CutPrefix(token, sealedMark)
	person, encoded, cut := strings.Cut(rest, ":")
	if !marked || !cut || !ValidID(person) {
		return "", false, ErrNotSealed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", false, fmt.Errorf("token of %s: %w", person, ErrNotSealed)
	}
	key, state, err := k.key(ctx, person, false)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("reveal for %s: %w", person, err)
	case state == KeyDestroyed:
		return "", false, nil
	case state == KeyNone:
		return "", false, fmt.Errorf("token of %s, who has no key: %w", person, ErrNotSealed)
	}
	text, err = decrypt(key.aead, sealed, sealedMark+person)
	if err != nil {
		return "", false, fmt.Errorf("token of %s: %w", person, ErrNotSealed)
	}
	return text, true, nil
}

// Destroy destroys a person's key for good. A person who has none yet can have
// none afterwards either. Doing it again changes nothing.
//
// The database forgets the key with its next checkpoint or vacuum; a backup that
// was taken before still has it, wrapped where there is a Master. Whoever puts one back
// destroys it again; People tells whose are destroyed, as long as it is known.
func (k *Keys) Destroy(ctx context.Context, person string) error {
	if !ValidID(person) {
		return fmt.Errorf("person %q is not a valid id", person)
	}
	err := k.destroy(ctx, person)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.destroyed++
	delete(k.mem, person)
	if err != nil {
		return fmt.Errorf("destroy the key of %s: %w", person, err)
	}
	return nil
}

func (k *Keys) destroy(ctx context.Context, person string) error {
	if k.cfg.Owner != nil {
		return k.cfg.Owner.DestroyKey(ctx, person)
	}
	// First zeros of the same length in a row that does not grow: SQLite writes
	// them over the key in its place, where a longer row would leave the old one in
	// the page.
	return k.write(ctx,
		driver.Statement{
			SQL:  `UPDATE ` + k.table() + ` SET secret = substr($2, 1, length(secret)) WHERE person = $1`,
			Args: []any{person, strings.Repeat("0", 256)},
		},
		driver.Statement{
			SQL: `INSERT INTO ` + k.table() + ` AS p (person, secret, created, destroyed) VALUES ($1, '', $2, $2)
			ON CONFLICT (person) DO UPDATE SET destroyed = excluded.destroyed WHERE p.destroyed = 0`,
			Args: []any{person, k.cfg.Clock.Now().UnixMicro()},
		})
}

func (k *Keys) table() string { return k.cfg.Store.Name(keyService, "people") }

func (k *Keys) write(ctx context.Context, statements ...driver.Statement) error {
	tx, err := k.cfg.Store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, statements); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

// create makes a key. Of several that do so at once the first wins, and all read
// that one.
func (k *Keys) create(ctx context.Context, person string) error {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the program instead
	return k.write(ctx, driver.Statement{
		SQL: `INSERT INTO ` + k.table() + ` (person, secret, created, destroyed) VALUES ($1, $2, $3, 0)
			ON CONFLICT (person) DO NOTHING`,
		Args: []any{person, k.store(person, secret), k.cfg.Clock.Now().UnixMicro()},
	})
}

// store returns a secret as it stands in the table.
func (k *Keys) store(person string, secret []byte) string {
	if k.master == nil {
		return plainMark + base64.RawStdEncoding.EncodeToString(secret)
	}
	return wrappedMark + base64.RawStdEncoding.EncodeToString(encrypt(k.master, string(secret), wrappedMark+person))
}

// load is the inverse of store.
func (k *Keys) load(person, stored string) ([]byte, error) {
	encoded, wrapped := strings.CutPrefix(stored, wrappedMark)
	if !wrapped {
		encoded = strings.TrimPrefix(stored, plainMark)
	}
	secret, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("stored key: %w", err)
	}
	if !wrapped {
		return secret, nil
	}
	if k.master == nil {
		return nil, ErrMaster
	}
	text, err := decrypt(k.master, secret, wrappedMark+person)
	if err != nil {
		return nil, ErrMaster
	}
	return []byte(text), nil
}

// KeyState says what there is of a person's key.
type KeyState int

// The states of a key.
const (
	KeyNone KeyState = iota // there never was one
	KeyAlive
	KeyDestroyed
)

// LentKey is a key as it stands in its table. Secret is set while it is alive; it
// may be held in memory, for KeyLife at most.
type LentKey struct {
	State  KeyState
	Secret []byte
}

// KeyOwner lends keys to a process that has no reach to their table. *Keys is one
// where it has a Store.
type KeyOwner interface {
	// LendKey returns the key of a person; with create one is made where there never
	// was any.
	LendKey(ctx context.Context, person string, create bool) (LentKey, error)
	// DestroyKey is Keys.Destroy.
	DestroyKey(ctx context.Context, person string) error
}

// LendKey implements KeyOwner. It reads the table, whatever is held in memory.
func (k *Keys) LendKey(ctx context.Context, person string, create bool) (LentKey, error) {
	if !ValidID(person) {
		return LentKey{}, fmt.Errorf("person %q is not a valid id", person)
	}
	if k.cfg.Owner != nil {
		return k.cfg.Owner.LendKey(ctx, person, create)
	}
	stored, state, err := k.read(ctx, person)
	if err == nil && state == KeyNone && create {
		if err = k.create(ctx, person); err == nil {
			stored, state, err = k.read(ctx, person)
		}
	}
	if err != nil || state != KeyAlive {
		return LentKey{State: state}, err
	}
	secret, err := k.load(person, stored)
	if err != nil {
		return LentKey{}, err
	}
	if k.master != nil && !strings.HasPrefix(stored, wrappedMark) {
		// What was stored before there was a master key.
		if err := k.write(ctx, driver.Statement{
			SQL:  `UPDATE ` + k.table() + ` SET secret = $2 WHERE person = $1 AND secret = $3`,
			Args: []any{person, k.store(person, secret), stored},
		}); err != nil {
			return LentKey{}, err
		}
	}
	return LentKey{State: KeyAlive, Secret: secret}, nil
}

// DestroyKey implements KeyOwner; it is Destroy.
func (k *Keys) DestroyKey(ctx context.Context, person string) error { return k.Destroy(ctx, person) }

// People calls f for everybody who has a key or had one, in the order of their ids; destroyed is when it was destroyed, and the zero time while
// it is alive. The table is read by and by: somebody who gets a key meanwhile may be left out. Where the table is another process's it fails.
func (k *Keys) People(ctx context.Context, f func(person string, destroyed time.Time) error) error {
	if k.cfg.Owner != nil {
		return errors.New("the table of keys is another process's")
	}
	for after := ""; ; {
		page, err := k.page(ctx, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			if err := f(p.person, p.destroyed); err != nil {
				return err
			}
			after = p.person
		}
	}
}

// peoplePage is how many persons are read at once; f may write between two pages.
const peoplePage = 1000

type someone struct {
	person    string
	destroyed time.Time
}

func (k *Keys) page(ctx context.Context, after string) (list []someone, err error) {
	rows, err := k.cfg.Store.Query(ctx, `SELECT person, destroyed FROM `+k.table()+` WHERE person > $1 ORDER BY person LIMIT $2`, after, peoplePage)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p someone
		var destroyed int64
		if err := rows.Scan(&p.person, &destroyed); err != nil {
			return nil, err
		}
		if destroyed > 0 {
			p.destroyed = time.UnixMicro(destroyed).UTC()
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// key returns the person's key, from memory or from its owner.
func (k *Keys) key(ctx context.Context, person string, create bool) (key personKey, state KeyState, err error) {
	now := k.cfg.Clock.Now()
	k.mu.Lock()
	k.expire(now)
	held, ok := k.mem[person]
	destroyed := k.destroyed
	k.mu.Unlock()
	if ok {
		return held.personKey, KeyAlive, nil
	}
	lent, err := k.LendKey(ctx, person, create)
	if err != nil || lent.State != KeyAlive {
		return key, lent.State, err
	}
	if key, err = newPersonKey(lent.Secret); err != nil {
		return key, KeyNone, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, again := k.mem[person]; k.destroyed == destroyed && !again {
		k.mem[person] = heldKey{key, now.Add(KeyLife)}
		k.order = append(k.order, heldName{person, now.Add(KeyLife)})
	}
	return key, KeyAlive, nil
}

// expire drops the keys that were held for their time, and the oldest of too many.
func (k *Keys) expire(now time.Time) {
	n := 0
	for n < len(k.order) && (!now.Before(k.order[n].until) || len(k.order)-n >= keysHeld) {
		if o := k.order[n]; k.mem[o.person].until.Equal(o.until) {
			delete(k.mem, o.person)
		}
		n++
	}
	k.order = k.order[n:]
}

func (k *Keys) read(ctx context.Context, person string) (stored string, state KeyState, err error) {
	rows, err := k.cfg.Store.Query(ctx, `SELECT secret, destroyed FROM `+k.table()+` WHERE person = $1`, person)
	if err != nil {
		return "", KeyNone, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return "", KeyNone, rows.Err()
	}
	var destroyed int64
	if err := rows.Scan(&stored, &destroyed); err != nil {
		return "", KeyNone, err
	}
	if destroyed > 0 {
		return "", KeyDestroyed, nil
	}
	return stored, KeyAlive, nil
}

func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func newPersonKey(secret []byte) (personKey, error) {
	aead, err := newAEAD(secret)
	return personKey{aead, mac(secret, "souk nonces of sealed texts v1")}, err
}

// seal encrypts a text under a nonce that is made of it. That two texts of a person
// meet in one nonce is as unlikely as with random ones, and the same text may: it
// gives the same bytes. (A synthetic nonce, after Rogaway and Shrimpton, 2006.)
func (k personKey) seal(text, purpose string) []byte {
	size := k.aead.NonceSize()
	nonce := append(make([]byte, 0, size+len(text)+k.aead.Overhead()), mac(k.nonces, purpose+"\x00"+text)[:size]...)
	return k.aead.Seal(nonce, nonce, []byte(text), []byte(purpose))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// encrypt returns a random nonce and behind it the text, bound to what it is for.
func encrypt(aead cipher.AEAD, text, purpose string) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return aead.Seal(nonce, nonce, []byte(text), []byte(purpose))
}

func decrypt(aead cipher.AEAD, sealed []byte, purpose string) (string, error) {
	if len(sealed) < aead.NonceSize() {
		return "", ErrNotSealed
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(purpose))
	return string(text), err
}

// Drop forgets the keys that are held in memory, after the table was emptied.
func (k *Keys) Drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.mem)
}
