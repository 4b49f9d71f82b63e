package door

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON reads a request body strictly: the caller says what may come, and anything else is a problem that names the field. Unknown members,
// members given twice, wrong types, null, invalid UTF-8 and trailing data are refused. It never descends
// further than its caller asks, so no input makes it recurse, and it keeps no part of the body.
//
// The first problem ends the reading; every later call returns it again. A JSON is used by one goroutine.
type JSON struct {
	data []byte
	pos  int
	path []step
	err  error
}

// step is one part of the path to where the reading is: a member, or an index into an array.
type step struct {
	name  string
	index int
}

// ReadJSON begins to read a body.
func ReadJSON(body []byte) *JSON { return &JSON{data: body, path: make([]step, 0, 8)} }

// Object reads an object and calls member for each of its members, which reads the value. member returns Unknown for a name that it does not
// know.
func (j *JSON) Object(member func(name string) error) error {
	if err := j.open('{', "must be an object"); err != nil {
		return err
	}
	if j.next() == '}' {
		j.pos++
		return nil
	}
	var room [12]string
	seen := room[:0]
	for {
		if j.next() != '"' {
			return j.malformed()
		}
		name, err := j.text()
		if err != nil {
			return err
		}
		j.path = append(j.path, step{name: name})
		for _, s := range seen {
			if s == name {
				return j.fail("must not be given twice")
			}
		}
		seen = append(seen, name)
		if j.next() != ':' {
			return j.malformed()
		}
		j.pos++
		if err := j.value(member(name)); err != nil {
			return err
		}
		j.path = j.path[:len(j.path)-1]
		switch j.next() {
		case ',':
			j.pos++
		case '}':
			j.pos++
			return nil
		default:
			return j.malformed()
		}
	}
}

// Array reads an array of at most limit elements and calls element for each, which reads it.
func (j *JSON) Array(limit int, element func(index int) error) error {
	if err := j.open('[', "must be an array"); err != nil {
		return err
	}
	if j.next() == ']' {
		j.pos++
		return nil
	}
	for i := 0; ; i++ {
		if i == limit {
			return j.fail("must have at most " + strconv.Itoa(limit) + " entries")
		}
		j.path = append(j.path, step{index: i})
		if err := j.value(element(i)); err != nil {
			return err
		}
		j.path = j.path[:len(j.path)-1]
		switch j.next() {
		case ',':
			j.pos++
		case ']':
			j.pos++
			return nil
		default:
			return j.malformed()
		}
	}
}

// value ends the reading of one value by its caller.
func (j *JSON) value(err error) error {
	if j.err == nil {
		j.err = err
	}
	return j.err
}

// String reads a string.
func (j *JSON) String() (string, error) {
	if j.err != nil {
		return "", j.err
	}
	if j.next() != '"' {
		return "", j.mismatch("must be a string")
	}
	return j.text()
}

// IsString tells whether the value that is read next begins as a string, for a member that may be one or something else.
func (j *JSON) IsString() bool { return j.err == nil && j.next() == '"' }

// Number reads a number as it is written, so that nothing of it is lost.
func (j *JSON) Number() (json.Number, error) {
	if j.err != nil {
		return "", j.err
	}
	if c := j.next(); c != '-' && (c < '0' || c > '9') {
		return "", j.mismatch("must be a number")
	}
	start := j.pos
	for j.pos < len(j.data) && numeric(j.data[j.pos]) {
		j.pos++
	}
	literal := j.data[start:j.pos]
	if !validNumber(literal) {
		return "", j.malformed()
	}
	return json.Number(literal), nil
}

// Int reads a whole number that fits into 64 bits, written without a point or an exponent.
func (j *JSON) Int() (int64, error) {
	literal, err := j.Number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(literal), 10, 64)
	if err != nil {
		return 0, j.fail("must be a whole number of at most " + strconv.Itoa(math.MaxInt64))
	}
	return n, nil
}

// Bool reads true or false.
func (j *JSON) Bool() (bool, error) {
	if j.err != nil {
		return false, j.err
	}
	j.next()
	rest := j.data[j.pos:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		j.pos += 4
		return true, nil
	case len(rest) >= 5 && string(rest[:5]) == "false":
		j.pos += 5
		return false, nil
	}
	return false, j.mismatch("must be true or false")
}

// End asks that nothing but white space is left.
func (j *JSON) End() error {
	if j.err != nil {
		return j.err
	}
	if j.next(); j.pos < len(j.data) {
		return j.malformed()
	}
	return nil
}

// Unknown is the problem of a member that nobody asked for, at the place where the reading is.
func (j *JSON) Unknown() error { return j.fail("is not a known field") }

// Wrong is the problem of a member of the object or array that was read last, or of that itself where name is empty.
// "items[2].price" names a member further down.
func (j *JSON) Wrong(name, reason string) error {
	if j.err == nil {
		j.err = InvalidField(j.Path(name), reason)
	}
	return j.err
}

// Path returns the path from the body's root to a member of where the reading is, as problems name it.
func (j *JSON) Path(name string) string {
	var b strings.Builder
	for _, s := range j.path {
		if s.name == "" {
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.index))
			b.WriteByte(']')
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shown(s.name))
	}
	if name != "" {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(name)
	}
	return b.String()
}

// shown bounds what of a member's name, which anybody may have chosen, is said back.
func shown(name string) string {
	const most = 64
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "..."
	}
	return name
}

func (j *JSON) fail(reason string) error { return j.Wrong("", reason) }

func (j *JSON) malformed() error {
	if j.err == nil {
		p := NewProblem(http.StatusBadRequest, "malformed_json", "The body is not one JSON value.")
		p.Errors = []FieldError{{Field: j.Path(""), Reason: "malformed at byte " + strconv.Itoa(j.pos)}}
		j.err = p
	}
	return j.err
}

func (j *JSON) open(bracket byte, reason string) error {
	if j.err != nil {
		return j.err
	}
	if j.next() != bracket {
		return j.mismatch(reason)
	}
	j.pos++
	return nil
}

// mismatch is the problem of a value of another type, or of something that no value begins with.
func (j *JSON) mismatch(reason string) error {
	if strings.IndexByte(`{["-0123456789tfnNI+`, j.next()) < 0 {
		return j.malformed()
	}
	return j.fail(reason)
}

// next passes over white space and returns the byte that follows, or 0 at the end.
func (j *JSON) next() byte {
	for ; j.pos < len(j.data); j.pos++ {
		switch c := j.data[j.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// text reads the string whose opening quote is next.
func (j *JSON) text() (string, error) {
	start := j.pos
	plain := true
	for j.pos++; j.pos < len(j.data); j.pos++ {
		switch c := j.data[j.pos]; {
		case c == '"':
			j.pos++
			return j.unquote(start, plain)
		case c == '\\':
			plain = false
			j.pos++
		case c < ' ':
			return "", j.malformed()
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return "", j.malformed()
}

// unquote returns the string between start and where the reading is.
func (j *JSON) unquote(start int, plain bool) (string, error) {
	quoted := j.data[start:j.pos]
	if plain {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	if !utf8.Valid(quoted) || json.Unmarshal(quoted, &s) != nil {
		return "", j.malformed()
	}
	return s, nil
}

func numeric(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// validNumber checks the grammar of a JSON number.
func validNumber(s []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	if len(s) > 1 && s[0] == '0' && '0' <= s[1] && s[1] <= '9' {
		return false
	}
	if !digits() {
		return false
	}
	if len(s) > 0 && s[0] == '.' {
		s = s[1:]
		if !digits() {
			return false
		}
	}
	if len(s) > 0 && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(s) == 0
}
