package backbone

import (
	"errors"
	"testing"
	"time"
)

// Pieces of a log grow while the broker is quick, and are small again where it is not, or fails: it must confirm one within the time that its client waits.
// Red when they grow behind a slow broker, or stay large.
func TestPiecesAreAsLargeAsTheBrokerIsQuick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		piece, records int64
		took           time.Duration
		err            error
		next           int64
	}{
		{"quick", relayPiece, relayPiece, relayQuick / 2, nil, 2 * relayPiece},
		{"quick at the most", relayPieces, relayPieces, relayQuick / 2, nil, relayPieces},
		{"quick with a few", relayPiece, 3, time.Millisecond, nil, relayPiece},
		{"neither", 2 * relayPiece, 2 * relayPiece, 2 * relayQuick, nil, 2 * relayPiece},
		{"slow", relayPieces, relayPieces, 5 * relayQuick, nil, relayPiece},
		{"failed", relayPieces, relayPieces, time.Millisecond, errors.New("away"), relayPiece},
	} {
		if next := sized(c.piece, c.records, c.took, c.err); next != c.next {
			t.Errorf("%s: a piece of %d is followed by one of %d, want %d", c.name, c.piece, next, c.next)
		}
	}
}
