package backbone

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"sync"
	"time"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// idSource makes ids of 26 characters that rise with time (as ULIDs do) and are
// unique over processes: 48 bits of milliseconds, 80 bits that are random at
// first and counted up within the process.
type idSource struct {
	mu   sync.Mutex
	last int64
	hi   uint16
	lo   uint64
}

func (s *idSource) next(now time.Time) string {
	var b [16]byte
	s.mu.Lock()
	ms := now.UnixMilli()
	if ms > s.last || s.last == 0 {
		s.last = ms
		var seed [10]byte
		_, _ = rand.Read(seed[:]) // never fails: crypto/rand ends the program instead
		s.hi, s.lo = binary.BigEndian.Uint16(seed[:2])&0x7fff, binary.BigEndian.Uint64(seed[2:])
	}
	if s.lo++; s.lo == 0 {
		s.hi++
	}
	binary.BigEndian.PutUint64(b[:8], uint64(s.last)<<16|uint64(s.hi))
	binary.BigEndian.PutUint64(b[8:], s.lo)
	s.mu.Unlock()
	return idEncoding.EncodeToString(b[:])
}

// derivedID is an id that follows from others: the same again whenever the same
// work is done again. It begins with an instant that belongs to that work, as the
// ids of idSource do, so that indexes over ids grow at their ends.
func derivedID(at time.Time, parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	copy(b[6:], h.Sum(nil))
	return idEncoding.EncodeToString(b[:])
}
