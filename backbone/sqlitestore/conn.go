package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// conn is one SQLite connection, used by one goroutine at a time. It calls the
// library directly, not through database/sql: the rows of a batch are bound from
// their columns with one copy and without an allocation a cell, and a prepared
// statement is found by its text or shape.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	arena uintptr // C memory that bound text and bytes lie in until the statement is reset
	size  int

	texts  map[string]*stmt
	shapes map[shapeKey]*stmt
	heads  map[string]headTexts
	out    uintptr // C memory for results by pointer: two of prepare, then the WAL's pages
}

// stmt is a prepared statement.
type stmt struct {
	p       uintptr
	params  []int // for each of SQLite's parameters, the number of its argument, from 0
	args    int   // how many arguments it takes
	columns int
	busy    bool // rows of it are being read
}

// shapeKey finds the statement of a shape over so many rows.
type shapeKey struct {
	shape   *sqlstore.Shape
	service string
	rows    int
}

// maxTexts bounds the cache of statements by text: text that carries a list of
// parameters comes in many lengths.
const maxTexts = 500

// openConn opens a connection on a database file and runs pragmas on it.
func openConn(path string, pragmas ...string) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), texts: map[string]*stmt{}, shapes: map[shapeKey]*stmt{}, heads: map[string]headTexts{}}
	c.out = libc.Xcalloc(c.tls, 1, 24)
	name, err := libc.CString(path)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	// A connection is never used by two goroutines at once, so its mutex is left out.
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	c.db = *(*uintptr)(pointer(c.out))
	if rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), c.close())
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	// A plan does not depend on what is bound. Otherwise SQLite, which keeps statistics of its indexes, prepares a
	// statement with a range anew whenever it is run with other positions.
	if rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, libc.VaList(c.out, int32(1), uintptr(0))); rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		return nil, errors.Join(fmt.Errorf("open %s: stable plans: %w", path, err), c.close())
	}
	// This replaces SQLite's own checkpoint after a commit.
	sqlite3.Xsqlite3_wal_hook(c.tls, c.db, address(noteWAL), c.out+16)
	for _, pragma := range pragmas {
		if err := c.script("PRAGMA " + pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %s: %w", path, pragma, err), c.close())
		}
	}
	return c, nil
}

// close finalizes all statements and closes the connection.
func (c *conn) close() error {
	for _, s := range c.texts {
		sqlite3.Xsqlite3_finalize(c.tls, s.p)
	}
	for _, s := range c.shapes {
		sqlite3.Xsqlite3_finalize(c.tls, s.p)
	}
	var err error
	if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
		err = c.fail(rc)
	}
	if c.arena != 0 {
		libc.Xfree(c.tls, c.arena)
	}
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
	return err
}

// pointer turns an address of C memory into a pointer. Such memory is not the
// garbage collector's, so the conversion is safe for as long as C does not free it.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// address returns a function as C calls it.
func address(f func(tls *libc.TLS, arg, db, name uintptr, pages int32) int32) uintptr {
	return *(*uintptr)(unsafe.Pointer(&struct {
		f func(*libc.TLS, uintptr, uintptr, uintptr, int32) int32
	}{f}))
}

// noteWAL is called after each commit with the length of the write-ahead log.
func noteWAL(_ *libc.TLS, arg, _, _ uintptr, pages int32) int32 {
	*(*int32)(pointer(arg)) = pages
	return sqlite3.SQLITE_OK
}

// walPages returns the length of the write-ahead log after the last commit.
func (c *conn) walPages() int { return int(*(*int32)(pointer(c.out + 16))) }

// inTransaction reports whether a transaction stands. Some errors end it.
func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

func memory(address uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(address)), n) }

// Error is a failure that SQLite reports.
type Error struct {
	Code    int // extended result code
	Message string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.Message, e.Code) }

// Is finds the contract's errors in SQLite's result codes.
func (e *Error) Is(target error) bool {
	if e.Code == sqlite3.SQLITE_IOERR_SHMSIZE { // the index of the write-ahead log has no room to grow
		return target == driver.ErrFull
	}
	switch e.Code & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY:
		return target == driver.ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return target == driver.ErrUnavailable
	}
	return false
}

func (e *Error) constraint() bool { return e.Code&0xff == sqlite3.SQLITE_CONSTRAINT }

func (c *conn) fail(rc int32) error {
	code := sqlite3.Xsqlite3_extended_errcode(c.tls, c.db)
	if code&0xff != rc&0xff {
		return &Error{Code: int(rc), Message: libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))}
	}
	return &Error{Code: int(code), Message: libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))}
}

// prepare compiles a statement, and returns what follows it in the text.
func (c *conn) prepare(text string, persistent bool) (*stmt, string, error) {
	z, err := libc.CString(text)
	if err != nil {
		return nil, "", err
	}
	defer libc.Xfree(c.tls, z)
	var flags uint32
	if persistent {
		flags = sqlite3.SQLITE_PREPARE_PERSISTENT
	}
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, z, int32(len(text)+1), flags, c.out, c.out+8); rc != sqlite3.SQLITE_OK {
		return nil, "", c.fail(rc)
	}
	s := &stmt{p: *(*uintptr)(pointer(c.out))}
	tail := text[*(*uintptr)(pointer(c.out + 8))-z:]
	if s.p != 0 {
		if err := c.number(s); err != nil {
			sqlite3.Xsqlite3_finalize(c.tls, s.p)
			return nil, "", err
		}
		s.columns = int(sqlite3.Xsqlite3_column_count(c.tls, s.p))
	}
	return s, tail, nil
}

// number finds the arguments of a statement's parameters. To SQLite $2 is a name,
// and names are numbered as they appear in the text.
func (c *conn) number(s *stmt) error {
	s.params = make([]int, sqlite3.Xsqlite3_bind_parameter_count(c.tls, s.p))
	for i := range s.params {
		name := libc.GoString(sqlite3.Xsqlite3_bind_parameter_name(c.tls, s.p, int32(i+1)))
		n, err := strconv.Atoi(strings.TrimPrefix(name, "$"))
		if err != nil || n < 1 {
			return fmt.Errorf("sqlite: parameter %q is not written as $1, $2", name)
		}
		s.params[i] = n - 1
		s.args = max(s.args, n)
	}
	return nil
}

// byText returns the prepared statement of a text, which is one statement. A
// statement whose rows are being read is not handed out twice.
func (c *conn) byText(text string) (s *stmt, cached bool, err error) {
	if s = c.texts[text]; s != nil && !s.busy {
		return s, true, nil
	}
	keep := s == nil
	s, tail, err := c.prepare(text, keep)
	if err != nil {
		return nil, false, err
	}
	if s.p == 0 {
		return nil, false, errors.New("sqlite: empty statement")
	}
	for _, b := range []byte(tail) {
		if b != ' ' && b != '\n' && b != '\t' && b != '\r' && b != ';' {
			sqlite3.Xsqlite3_finalize(c.tls, s.p)
			return nil, false, errors.New("sqlite: more than one statement in a text")
		}
	}
	if !keep {
		return s, false, nil
	}
	if len(c.texts) >= maxTexts {
		for old, idle := range c.texts {
			if !idle.busy {
				sqlite3.Xsqlite3_finalize(c.tls, idle.p)
				delete(c.texts, old)
				break
			}
		}
	}
	c.texts[text] = s
	return s, true, nil
}

// script runs statements without parameters and reads nothing back.
func (c *conn) script(text string) error {
	for text != "" {
		s, tail, err := c.prepare(text, false)
		if err != nil {
			return err
		}
		text = tail
		if s.p == 0 {
			continue
		}
		rc := sqlite3.Xsqlite3_step(c.tls, s.p)
		for rc == sqlite3.SQLITE_ROW {
			rc = sqlite3.Xsqlite3_step(c.tls, s.p)
		}
		if rc != sqlite3.SQLITE_DONE {
			err = c.fail(rc)
		}
		sqlite3.Xsqlite3_finalize(c.tls, s.p)
		if err != nil {
			return err
		}
	}
	return nil
}

// reserve makes the arena at least n bytes large. Nothing may be bound to it.
func (c *conn) reserve(n int) error {
	if n <= c.size {
		return nil
	}
	n = max(2*c.size, n, 64<<10)
	if c.arena != 0 {
		libc.Xfree(c.tls, c.arena)
		c.arena, c.size = 0, 0
	}
	c.arena = libc.Xmalloc(c.tls, types.Size_t(n))
	if c.arena == 0 {
		return fmt.Errorf("sqlite: no memory for %d bytes of parameters", n)
	}
	c.size = n
	return nil
}

// How long SQLite may rely on what is bound: until the statement is reset, or not
// at all, so that it makes a copy.
const (
	static    = 0
	transient = ^uintptr(0)
)

// bindText and bindBytes copy a value to the arena's offset and return the next.
func (c *conn) bindText(s *stmt, i int32, offset int, v string, life uintptr) int {
	p := c.arena + uintptr(offset)
	if v != "" {
		copy(memory(p, len(v)), v)
	}
	sqlite3.Xsqlite3_bind_text(c.tls, s.p, i, p, int32(len(v)), life)
	return offset + len(v)
}

func (c *conn) bindBytes(s *stmt, i int32, offset int, v []byte, life uintptr) int {
	p := c.arena + uintptr(offset)
	if len(v) > 0 {
		copy(memory(p, len(v)), v)
	}
	sqlite3.Xsqlite3_bind_blob(c.tls, s.p, i, p, int32(len(v)), life)
	return offset + len(v)
}

// bindArgs binds loose arguments.
func (c *conn) bindArgs(s *stmt, args []any, life uintptr) error {
	if len(args) != s.args {
		return fmt.Errorf("sqlite: %d arguments for %d parameters", len(args), s.args)
	}
	n := 1
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	if n > math.MaxInt32 {
		return errors.New("sqlite: arguments are too large")
	}
	if err := c.reserve(n); err != nil {
		return err
	}
	offset := 0
	for j, number := range s.params {
		i := int32(j + 1)
		switch v := args[number].(type) {
		case nil:
			sqlite3.Xsqlite3_bind_null(c.tls, s.p, i)
		case string:
			offset = c.bindText(s, i, offset, v, life)
		case []byte:
			if v == nil {
				sqlite3.Xsqlite3_bind_null(c.tls, s.p, i)
			} else {
				offset = c.bindBytes(s, i, offset, v, life)
			}
		case int64:
			sqlite3.Xsqlite3_bind_int64(c.tls, s.p, i, v)
		case int:
			sqlite3.Xsqlite3_bind_int64(c.tls, s.p, i, int64(v))
		case bool:
			var n int64
			if v {
				n = 1
			}
			sqlite3.Xsqlite3_bind_int64(c.tls, s.p, i, n)
		case float64:
			sqlite3.Xsqlite3_bind_double(c.tls, s.p, i, v)
		default:
			return fmt.Errorf("sqlite: argument %d has the type %T", number+1, v)
		}
	}
	return nil
}

// bindRows binds the rows from, from+1, ... of a batch.
func (c *conn) bindRows(s *stmt, b *sqlstore.Batch, from, rows int) error {
	n := 1
	for i := range b.Cols {
		col := &b.Cols[i]
		switch b.Shape.Columns[i].Type {
		case sqlstore.Text:
			for _, v := range col.Text[from : from+rows] {
				n += len(v)
			}
		case sqlstore.Bytes:
			for _, v := range col.Bytes[from : from+rows] {
				n += len(v)
			}
		}
	}
	if n > math.MaxInt32 {
		return errors.New("sqlite: rows are too large")
	}
	if err := c.reserve(n); err != nil {
		return err
	}
	offset := 0
	width := len(b.Cols)
	for j := range b.Cols {
		col := &b.Cols[j]
		i := int32(j + 1)
		switch b.Shape.Columns[j].Type {
		case sqlstore.Text:
			for _, v := range col.Text[from : from+rows] {
				offset = c.bindText(s, i, offset, v, static)
				i += int32(width)
			}
		case sqlstore.Int:
			for _, v := range col.Int[from : from+rows] {
				sqlite3.Xsqlite3_bind_int64(c.tls, s.p, i, v)
				i += int32(width)
			}
		case sqlstore.Bytes:
			for _, v := range col.Bytes[from : from+rows] {
				offset = c.bindBytes(s, i, offset, v, static)
				i += int32(width)
			}
		}
	}
	return nil
}

// run steps a bound statement to its end and returns how many rows it changed.
func (c *conn) run(s *stmt) (int64, error) {
	rc := sqlite3.Xsqlite3_step(c.tls, s.p)
	for rc == sqlite3.SQLITE_ROW {
		rc = sqlite3.Xsqlite3_step(c.tls, s.p)
	}
	var err error
	var changed int64
	if rc == sqlite3.SQLITE_DONE {
		changed = sqlite3.Xsqlite3_changes64(c.tls, c.db)
	} else {
		err = c.fail(rc)
	}
	sqlite3.Xsqlite3_reset(c.tls, s.p)
	return changed, err
}

func (c *conn) exec(text string, args ...any) (int64, error) {
	s, cached, err := c.byText(text)
	if err != nil {
		return 0, err
	}
	if !cached {
		defer sqlite3.Xsqlite3_finalize(c.tls, s.p)
	}
	if err := c.bindArgs(s, args, static); err != nil {
		return 0, err
	}
	return c.run(s)
}

// rows iterates over a statement's result. done, if any, is called at Close.
type rows struct {
	c      *conn
	s      *stmt
	cached bool
	ctx    context.Context
	err    error
	done   func()
	ended  bool
}

// query runs a statement that returns rows. Its arguments are bound as copies:
// the arena belongs to the next statement, which may come while rows are read.
func (c *conn) query(ctx context.Context, text string, args []any, done func()) (*rows, error) {
	s, cached, err := c.byText(text)
	if err != nil {
		return nil, err
	}
	if err := c.bindArgs(s, args, transient); err != nil {
		if !cached {
			sqlite3.Xsqlite3_finalize(c.tls, s.p)
		}
		return nil, err
	}
	s.busy = true
	return &rows{c: c, s: s, cached: cached, ctx: ctx, done: done}, nil
}

func (r *rows) Next() bool {
	if r.err != nil || r.ended {
		return false
	}
	if r.ctx != nil {
		if r.err = r.ctx.Err(); r.err != nil {
			return false
		}
	}
	switch rc := sqlite3.Xsqlite3_step(r.c.tls, r.s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true
	case sqlite3.SQLITE_DONE:
		r.ended = true
	default:
		r.err = r.c.fail(rc)
	}
	return false
}

func (r *rows) Err() error { return r.err }

func (r *rows) Close() error {
	if r.s == nil {
		return nil
	}
	sqlite3.Xsqlite3_reset(r.c.tls, r.s.p)
	r.s.busy = false
	if !r.cached {
		sqlite3.Xsqlite3_finalize(r.c.tls, r.s.p)
	}
	r.s, r.ended = nil, true
	if r.done != nil {
		r.done()
	}
	return nil
}

func (r *rows) Scan(dest ...any) error {
	if r.s == nil || r.ended {
		return errors.New("sqlite: Scan without a row")
	}
	if len(dest) != r.s.columns {
		return fmt.Errorf("sqlite: %d destinations for %d columns", len(dest), r.s.columns)
	}
	for i, d := range dest {
		if err := r.cell(int32(i), d); err != nil {
			return fmt.Errorf("sqlite: column %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *rows) text(i int32) string {
	p := sqlite3.Xsqlite3_column_text(r.c.tls, r.s.p, i)
	n := sqlite3.Xsqlite3_column_bytes(r.c.tls, r.s.p, i)
	if p == 0 || n == 0 {
		return ""
	}
	return string(memory(p, int(n)))
}

func (r *rows) bytes(i int32) []byte {
	p := sqlite3.Xsqlite3_column_blob(r.c.tls, r.s.p, i)
	n := sqlite3.Xsqlite3_column_bytes(r.c.tls, r.s.p, i)
	if p == 0 || n == 0 {
		return []byte{}
	}
	return append(make([]byte, 0, n), memory(p, int(n))...)
}

func (r *rows) integer(i int32) int64 { return sqlite3.Xsqlite3_column_int64(r.c.tls, r.s.p, i) }

func (r *rows) double(i int32) float64 { return sqlite3.Xsqlite3_column_double(r.c.tls, r.s.p, i) }

func (r *rows) null(i int32) bool {
	return sqlite3.Xsqlite3_column_type(r.c.tls, r.s.p, i) == sqlite3.SQLITE_NULL
}

var errNull = errors.New("NULL for a destination that is no pointer to a pointer")

func (r *rows) cell(i int32, dest any) error {
	switch d := dest.(type) {
	case *string:
		if *d = r.text(i); *d == "" && r.null(i) {
			return errNull
		}
	case *[]byte:
		if *d = r.bytes(i); len(*d) == 0 && r.null(i) {
			*d = nil
		}
	case *int64:
		if *d = r.integer(i); *d == 0 && r.null(i) {
			return errNull
		}
	case *int:
		n := r.integer(i)
		if *d = int(n); n == 0 && r.null(i) {
			return errNull
		}
	case *bool:
		if *d = r.integer(i) != 0; !*d && r.null(i) {
			return errNull
		}
	case *float64:
		if *d = r.double(i); *d == 0 && r.null(i) {
			return errNull
		}
	case **string:
		*d = orNull(r, i, r.text)
	case **[]byte:
		*d = orNull(r, i, r.bytes)
	case **int64:
		*d = orNull(r, i, r.integer)
	case **int:
		*d = orNull(r, i, func(i int32) int { return int(r.integer(i)) })
	case **bool:
		*d = orNull(r, i, func(i int32) bool { return r.integer(i) != 0 })
	case **float64:
		*d = orNull(r, i, r.double)
	case *any:
		switch sqlite3.Xsqlite3_column_type(r.c.tls, r.s.p, i) {
		case sqlite3.SQLITE_NULL:
			*d = nil
		case sqlite3.SQLITE_INTEGER:
			*d = r.integer(i)
		case sqlite3.SQLITE_FLOAT:
			*d = r.double(i)
		case sqlite3.SQLITE_BLOB:
			*d = r.bytes(i)
		default:
			*d = r.text(i)
		}
	default:
		return fmt.Errorf("destination of type %T", dest)
	}
	return nil
}

func orNull[T any](r *rows, i int32, get func(int32) T) *T {
	if r.null(i) {
		return nil
	}
	v := get(i)
	return &v
}
