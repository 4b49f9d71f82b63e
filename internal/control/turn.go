package control

import (
	"context"
	"time"
)

// A data directory is somebody's for a moment where a command works on it without a mall, and where a mall begins or ends.
const (
	turnLasts = 10 * time.Second
	lookAgain = 50 * time.Millisecond
)

// turn tries again what was in somebody's way, until it goes or turnLasts is over. What it waits for is told once.
func turn(ctx context.Context, waiting func(error), try func() (inTheWay bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, turnLasts)
	defer cancel()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for told := false; ; told = true {
		inTheWay, err := try()
		if !inTheWay {
			return err
		}
		if !told {
			waiting(err)
		}
		if ctx.Err() != nil { // a look that comes now would find everything in its way
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-look.C:
		}
	}
}
