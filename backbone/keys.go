package backbone

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"example.org/souk/backbone/driver"
)

// Personal data: what names a person is sealed at the border under a key of that
// person, and stays sealed in commands, events, states, views and dead letters.
// It is revealed only at the edges: by a call that is being made, by a gateway
// that answers its owner. Destroying the key makes every copy unreadable at once
// (crypto-shredding). The keys stand in a table, never in a log.

// ErrForgotten says that a person's key was destroyed: nothing can be sealed for
// them any more.
var ErrForgotten = errors.New("the person was forgotten")

const (
	keyService = "keys"
	sealedMark = "sealed:v1:"
	keyLife    = 10 * time.Minute // in memory
	keysHeld   = 65536
)

// KeyService is the service that owns the table of keys. It belongs in every parts
// list whose services carry personal data.
func KeyService() *Service {
	return &Service{
		Name:  keyService,
		About: "Keeps a key per person, under which their personal data is sealed.",
		Migrations: fstest.MapFS{"0001_people.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {people} (
    person    TEXT   NOT NULL PRIMARY KEY,
    secret    TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    destroyed BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {people};
`)}},
	}
}

// KeysConfig says where keys are. Store is required.
type KeysConfig struct {
	Store driver.Store // the database of the service keys
	Clock Clock        // default the system's
}

// Keys seals and reveals. Its methods may be called concurrently.
type Keys struct {
	cfg KeysConfig
	mu  sync.Mutex
	mem map[string]heldKey
}

type heldKey struct {
	aead  cipher.AEAD
	until time.Time
}

// OpenKeys returns the keys of a database. KeyService must run, or have run, there.
func OpenKeys(cfg KeysConfig) (*Keys, error) {
	if cfg.Store == nil {
		return nil, errors.New("backbone.KeysConfig needs a Store")
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	return &Keys{cfg: cfg, mem: map[string]heldKey{}}, nil
}

// Seal encrypts text under the person's key, which is made if there is none, and
// returns a token that names the person. Sealing an empty text gives an empty
// token.
func (k *Keys) Seal(ctx context.Context, person, text string) (token string, err error) {
	if text == "" {
		return "", nil
	}
	if !ValidID(person) {
		return "", fmt.Errorf("person %q is not a valid id", person)
	}
	aead, found, err := k.key(ctx, person)
	if err != nil {
		return "", err
	}
	if !found {
		if err := k.create(ctx, person); err != nil {
			return "", err
		}
		if aead, found, err = k.key(ctx, person); err != nil || !found {
			return "", errors.Join(ErrForgotten, err)
		}
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return sealedMark + person + ":" + base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte(text), []byte(person))), nil
}

// Reveal decrypts a token. ok is false, and text empty, when the person's key was
// destroyed. A token that was tampered with or moved to another person is an error.
func (k *Keys) Reveal(ctx context.Context, token string) (text string, ok bool, err error) {
	if token == "" {
		return "", true, nil
	}
	rest, found := strings.CutPrefix(token, sealedMark)
	person, encoded, cut := strings.Cut(rest, ":")
	if !found || !cut || !ValidID(person) {
		return "", false, errors.New("not a sealed token")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", false, fmt.Errorf("sealed token: %w", err)
	}
	aead, found, err := k.key(ctx, person)
	if err != nil || !found {
		return "", false, err
	}
	if len(sealed) < aead.NonceSize() {
		return "", false, errors.New("sealed token is too short")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(person))
	if err != nil {
		return "", false, fmt.Errorf("sealed token of %s: %w", person, err)
	}
	return string(plain), true, nil
}

// Destroy destroys a person's key for good. A person who has none yet can have
// none afterwards either.
func (k *Keys) Destroy(ctx context.Context, person string) error {
	if !ValidID(person) {
		return fmt.Errorf("person %q is not a valid id", person)
	}
	now := k.cfg.Clock.Now().UnixMicro()
	err := k.write(ctx, `INSERT INTO `+k.table()+` AS p (person, secret, created, destroyed) VALUES ($1, '', $2, $2)
		ON CONFLICT (person) DO UPDATE SET secret = '', destroyed = excluded.destroyed`, person, now)
	k.mu.Lock()
	delete(k.mem, person)
	k.mu.Unlock()
	return err
}

func (k *Keys) table() string { return k.cfg.Store.Name(keyService, "people") }

func (k *Keys) write(ctx context.Context, sql string, args ...any) error {
	tx, err := k.cfg.Store.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Exec(ctx, []driver.Statement{{SQL: sql, Args: args}}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit(ctx)
}

func (k *Keys) create(ctx context.Context, person string) error {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	// Of several that make a key at once the first wins, and all read that one.
	return k.write(ctx, `INSERT INTO `+k.table()+` (person, secret, created, destroyed) VALUES ($1, $2, $3, 0) ON CONFLICT (person) DO NOTHING`,
		person, base64.RawStdEncoding.EncodeToString(secret), k.cfg.Clock.Now().UnixMicro())
}

// key returns the person's key; found is false where there is none, ErrForgotten
// is told only to those who would seal.
func (k *Keys) key(ctx context.Context, person string) (cipher.AEAD, bool, error) {
	now := k.cfg.Clock.Now()
	k.mu.Lock()
	held, ok := k.mem[person]
	k.mu.Unlock()
	if ok && now.Before(held.until) {
		return held.aead, true, nil
	}
	rows, err := k.cfg.Store.Query(ctx, `SELECT secret FROM `+k.table()+` WHERE person = $1 AND destroyed = 0`, person)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close() //nolint:errcheck // read only
	if !rows.Next() {
		return nil, false, rows.Err()
	}
	var encoded string
	if err := rows.Scan(&encoded); err != nil {
		return nil, false, err
	}
	secret, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, false, fmt.Errorf("key of %s: %w", person, err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, false, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, false, err
	}
	k.mu.Lock()
	if len(k.mem) >= keysHeld {
		clear(k.mem)
	}
	k.mem[person] = heldKey{aead, now.Add(keyLife)}
	k.mu.Unlock()
	return aead, true, nil
}
