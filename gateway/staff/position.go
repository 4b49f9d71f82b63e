package staff

import (
	"slices"
	"strconv"
	"strings"
)

// position says how much of the mall's logs somebody has seen: a number of the frames that were counted until then, and the position in each
// log. Written down it is opaque to whoever keeps it: "17~inventory.40~orders.12". It means the same to every replica of the gateway, since all
// read the same logs.
type position struct {
	seq int64
	at  []int64 // as Logs.Services
}

// text writes a position down for services that are sorted by name.
func (p position) text(services []string) string {
	b := make([]byte, 0, 20*(len(services)+1))
	b = strconv.AppendInt(b, p.seq, 10)
	for i, s := range services {
		b = append(b, '~')
		b = append(b, s...)
		b = append(b, '.')
		b = strconv.AppendInt(b, p.at[i], 10)
	}
	return string(b)
}

// readPosition reads what text wrote; false where that was something else. A log that it does not name is one from before that service was there: it
// is read from its beginning.
func readPosition(s string, services []string) (position, bool) {
	parts := strings.Split(s, "~")
	if len(parts) > len(services)+1 {
		return position{}, false
	}
	p := position{at: make([]int64, len(services))}
	var ok bool
	if p.seq, ok = count(parts[0]); !ok {
		return position{}, false
	}
	last := -1
	for _, part := range parts[1:] {
		name, number, _ := strings.Cut(part, ".")
		i := slices.Index(services, name)
		if i <= last {
			return position{}, false
		}
		if p.at[i], ok = count(number); !ok {
			return position{}, false
		}
		last = i
	}
	return p, true
}

func count(s string) (int64, bool) {
	if s == "" || len(s) > 18 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
