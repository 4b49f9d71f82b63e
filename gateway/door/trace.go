package door

import (
	"encoding/hex"
	"math/rand/v2"
)

// TraceOf continues the W3C trace of a request: the traceparent to carry on, and its trace id. A header that is missing or not as
// it must be is passed over and a trace begins here.
func TraceOf(header []string) (parent, id string) {
	if len(header) == 1 && validTrace(header[0]) {
		return header[0], header[0][3:35]
	}
	var raw [24]byte
	for raw[0] == 0 || raw[16] == 0 { // neither id may be all zeros
		a, b, c := rand.Uint64(), rand.Uint64(), rand.Uint64()
		for i := range 8 {
			raw[i], raw[8+i], raw[16+i] = byte(a>>(8*i)), byte(b>>(8*i)), byte(c>>(8*i))
		}
	}
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:], raw[:16])
	b[35] = '-'
	hex.Encode(b[36:], raw[16:])
	copy(b[52:], "-01")
	parent = string(b[:])
	return parent, parent[3:35]
}

// validTrace accepts version 00 of the format, which every other version must be able to be read as.
func validTrace(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	return lowerHex(s[3:35], true) && lowerHex(s[36:52], true) && lowerHex(s[53:], false)
}

func lowerHex(s string, notZero bool) bool {
	zero := true
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero && c == '0'
	}
	return !zero || !notZero
}
