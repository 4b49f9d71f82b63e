package kiosk_test

import (
	"context"
	"crypto/sha256"
	"time"

	"example.org/souk/gateway/door"
)

// forgetful is a memory of answers that keeps none, only since when their keys are known.
type forgetful struct{}

func (forgetful) Claim(context.Context, string, string, [sha256.Size]byte, time.Time, time.Time) (door.Remembered, bool, error) {
	return door.Remembered{Since: time.Unix(1_800_000_000, 0)}, true, nil
}
func (forgetful) Keep(context.Context, string, string, door.Remembered) error { return nil }
func (forgetful) Release(context.Context, string, string) error               { return nil }
