package devices

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"example.org/souk/backbone"
)

// What the service refuses; compare with errors.Is.
var (
	ErrExists  = backbone.Refuse("device_exists", "there is a device of this id; revoke its login first")
	ErrUnknown = backbone.Refuse("device_unknown", "there is no such device, or its login was revoked")
	ErrNoGate  = backbone.Refuse("not_a_gate", "the device is no gate")
)

// device is the state of a device. The zero value is one that nobody added.
type device struct {
	Login
	Added bool
	Key   string // for which it was opened last
}

var all = &backbone.Aggregate[device]{
	Name:    "device",
	Private: []backbone.Event{DeviceAdded{}, DeviceRevoked{}, GateOpened{}},
	Evolve: func(s device, e backbone.Event) device {
		switch e := e.(type) {
		case DeviceAdded:
			return device{Login: Login(e), Added: true}
		case DeviceRevoked:
			s.Added = false
		case GateOpened:
			s.Key = e.Key
		}
		return s
	},
}

// Login is what a device is let in by.
type Login struct {
	Device string `json:"device"`
	Store  string `json:"store"`
	Kind   Kind   `json:"kind"`
	Hash   string `json:"hash"` // of its password; see HashOf
}

// NewPassword returns a password that nobody can guess.
func NewPassword() string { return rand.Text() }

// HashOf returns what is kept of a password. Passwords are random and long, so nothing is gained by a slow hash.
func HashOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

func (l Login) admits(password []byte) bool {
	return subtle.ConstantTimeCompare([]byte(HashOf(string(password))), []byte(l.Hash)) == 1
}

// AddDevice gives a device a login.
type AddDevice Login

// CommandType returns the wire name.
func (AddDevice) CommandType() string { return "souk.devices.AddDevice.v1" }

// Stream returns the id of the device.
func (c AddDevice) Stream() string { return c.Device }

// RevokeDevice takes a device's login away. Its connections are cut.
type RevokeDevice struct {
	Device string `json:"device"`
	Reason string `json:"reason,omitempty"`
}

// CommandType returns the wire name.
func (RevokeDevice) CommandType() string { return "souk.devices.RevokeDevice.v1" }

// Stream returns the id of the device.
func (c RevokeDevice) Stream() string { return c.Device }

// OpenGate opens a gate against its own judgement. The same Key opens it once.
type OpenGate struct {
	Device string `json:"device"`
	Key    string `json:"key"`
}

// CommandType returns the wire name.
func (OpenGate) CommandType() string { return "souk.devices.OpenGate.v1" }

// Stream returns the id of the device.
func (c OpenGate) Stream() string { return c.Device }

func add(s device, c AddDevice, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Added && s.Login == Login(c):
		return nil, nil
	case s.Added:
		return nil, ErrExists
	}
	return []backbone.Event{DeviceAdded(c)}, nil
}

func revoke(s device, c RevokeDevice, _ backbone.Meta) ([]backbone.Event, error) {
	if !s.Added {
		return nil, ErrUnknown
	}
	return []backbone.Event{DeviceRevoked(c)}, nil
}

func openGate(s device, c OpenGate, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case !s.Added:
		return nil, ErrUnknown
	case !s.Kind.admits() && !s.Kind.releases():
		return nil, ErrNoGate
	case s.Key == c.Key:
		return nil, nil
	}
	return []backbone.Event{GateOpened{Device: c.Device, Store: s.Store, Kind: s.Kind, Key: c.Key}}, nil
}

// GateOpened says that the gate was told to open.
type GateOpened struct {
	Device string `json:"device"`
	Store  string `json:"store"`
	Kind   Kind   `json:"kind"`
	Key    string `json:"key"`
}

// EventType returns the wire name.
func (GateOpened) EventType() string { return "souk.devices.GateOpened.v1" }

// DeviceAdded says that the device has a login.
type DeviceAdded Login

// DeviceRevoked says that the device has none any more.
type DeviceRevoked RevokeDevice

// EventType returns the wire name.
func (DeviceAdded) EventType() string { return "souk.devices.DeviceAdded.v1" }

// EventType returns the wire name.
func (DeviceRevoked) EventType() string { return "souk.devices.DeviceRevoked.v1" }

// logins is inline: a login that was revoked opens nothing any more.
var logins = backbone.View{
	Name:   "logins",
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e DeviceAdded) error {
			return tx.Exec(ctx, `INSERT INTO {logins} AS l (device, store, kind, hash) VALUES ($1, $2, $3, $4)
				ON CONFLICT (device) DO UPDATE SET store = excluded.store, kind = excluded.kind, hash = excluded.hash`,
				e.Device, e.Store, string(e.Kind), e.Hash)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e DeviceRevoked) error {
			return tx.Exec(ctx, `DELETE FROM {logins} WHERE device = $1`, e.Device)
		}),
	},
}

// Admits returns the login of a device, and whether this is its password.
func Admits(ctx context.Context, r *backbone.Reader, device, password string) (Login, bool, error) {
	list, err := Logins(ctx, r, device)
	if err != nil || device == "" || len(list) != 1 {
		return Login{}, false, err
	}
	return list[0], list[0].admits([]byte(password)), nil
}

// Logins returns the logins of one device, or with "" of all, in the order of their ids.
func Logins(ctx context.Context, r *backbone.Reader, device string) ([]Login, error) {
	rows, err := r.Query(ctx, `SELECT device, store, kind, hash FROM {logins} WHERE $1 = '' OR device = $1 ORDER BY device`, device)
	if err != nil {
		return nil, fmt.Errorf("logins of devices: %w", err)
	}
	defer rows.Close()
	var list []Login
	for rows.Next() {
		var l Login
		var kind string
		if err := rows.Scan(&l.Device, &l.Store, &kind, &l.Hash); err != nil {
			return nil, fmt.Errorf("logins of devices: %w", err)
		}
		l.Kind = Kind(kind)
		list = append(list, l)
	}
	return list, rows.Err()
}
