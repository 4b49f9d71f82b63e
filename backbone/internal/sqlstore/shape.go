package sqlstore

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"example.org/souk/backbone/driver"
)

// Type is the type of a column.
type Type byte

// The types of columns that the backbone's tables have.
const (
	Text Type = iota
	Int
	Bytes
)

// Column is a column of a batch.
type Column struct {
	Name string
	Type Type
}

// Verb says what a statement over many rows does.
type Verb byte

// The verbs. Update and Delete match a row of the table for each row of the batch.
const (
	Insert Verb = iota
	Update
	Delete
	Select
)

// Shape is a statement over many rows. It is declared once, as a variable, and
// its address is the key under which stores keep what they prepare for it.
type Shape struct {
	Verb    Verb
	Table   string
	Columns []Column
	// Set is, for Update, how many of the first columns are assigned; the others
	// are matched.
	Set int
	// Tail follows the rows of an Insert (ON CONFLICT ...), or the assignments of
	// an Update.
	Tail string
	// Guard demands that every row of the batch changes exactly one row of the
	// table. For an Insert with a Key it demands that no such row exists.
	Guard bool
	// Refused is the error of a guard that does not hold; nil is driver.ErrConflict.
	Refused error
	// Key is, for a guarded Insert, how many of the first columns are its key.
	Key int
	// SQL is, for Select, the whole statement: {rows} stands for the batch's rows
	// as a table expression with columns in order, {bb_x} for a table's real name,
	// {each} for the rows t of Table that each row v of the batch is joined with.
	SQL string
	// On is, for a Select with {each}, what a row t of Table and a row v have in common, and Lock
	// whether t is locked.
	On   string
	Lock bool
}

// Vector is one column of a batch; the slice of its type is in use.
type Vector struct {
	Text  []string
	Int   []int64
	Bytes [][]byte
}

// Batch holds rows for a Shape.
type Batch struct {
	Shape *Shape
	Cols  []Vector
	N     int
	Units []int // whom to blame for a row; nil where rows have no unit

	next int
}

// NewBatch returns an empty batch with room for n rows.
func NewBatch(shape *Shape, n int) *Batch {
	b := &Batch{Shape: shape, Cols: make([]Vector, len(shape.Columns))}
	for i, c := range shape.Columns {
		switch c.Type {
		case Text:
			b.Cols[i].Text = make([]string, 0, n)
		case Int:
			b.Cols[i].Int = make([]int64, 0, n)
		case Bytes:
			b.Cols[i].Bytes = make([][]byte, 0, n)
		}
	}
	return b
}

// text, int and bytes append the next cell of the current row; the last cell of
// a row completes it.
func (b *Batch) text(s string) *Batch {
	b.Cols[b.next].Text = append(b.Cols[b.next].Text, s)
	return b.step()
}

func (b *Batch) int(n int64) *Batch {
	b.Cols[b.next].Int = append(b.Cols[b.next].Int, n)
	return b.step()
}

func (b *Batch) bytes(p []byte) *Batch {
	if p == nil {
		p = []byte{} // the tables have no NULL
	}
	b.Cols[b.next].Bytes = append(b.Cols[b.next].Bytes, p)
	return b.step()
}

func (b *Batch) unit(unit int) *Batch {
	b.Units = append(b.Units, unit)
	return b
}

func (b *Batch) step() *Batch {
	if b.next++; b.next == len(b.Cols) {
		b.next = 0
		b.N++
	}
	return b
}

// distinct refuses two rows of one key in a guarded insert.
func (b *Batch) distinct() error {
	if b.Shape.Verb != Insert || b.Shape.Key == 0 {
		return nil
	}
	seen := make(map[string]struct{}, b.N)
	for r := range b.N {
		key := b.Cols[0].Text[r]
		for _, col := range b.Cols[1:b.Shape.Key] {
			key += "\x00" + col.Text[r]
		}
		if _, twice := seen[key]; twice {
			return b.Conflict(r)
		}
		seen[key] = struct{}{}
	}
	return nil
}

// Conflict blames a row of the batch for a guard that did not hold.
func (b *Batch) Conflict(row int) error {
	err := fmt.Errorf("%s: %w", b.Shape.Table, cmp.Or(b.Shape.Refused, driver.ErrConflict))
	if row < len(b.Units) {
		return &driver.UnitError{Unit: b.Units[row], Err: err}
	}
	return err
}

// Head returns the statement's text before its rows, and Foot the text behind
// them, for databases that list rows as VALUES (Insert) or match one row a
// statement with parameters (Update, Delete: Foot is empty).
func (s *Shape) Head(name func(string) string) string {
	var b strings.Builder
	switch s.Verb {
	case Insert:
		b.WriteString("INSERT INTO " + name(s.Table) + " AS t (" + s.names(", ") + ") ")
	case Update:
		b.WriteString("UPDATE " + name(s.Table) + " SET ")
		for i, c := range s.Columns[:s.Set] {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(c.Name + " = $" + strconv.Itoa(i+1))
		}
		b.WriteString(s.Tail + " WHERE " + s.match(s.Set, len(s.Columns), "", "$"))
	case Delete:
		b.WriteString("DELETE FROM " + name(s.Table) + " WHERE " + s.match(0, len(s.Columns), "", "$"))
	case Select:
		before, _, _ := strings.Cut(s.SQL, "{rows}")
		b.WriteString(Expand(before, name))
	}
	return b.String()
}

// Foot returns the statement's text behind its rows.
func (s *Shape) Foot(name func(string) string) string {
	switch s.Verb {
	case Insert:
		return " " + s.Tail
	case Select:
		return s.foot(name, "CROSS JOIN "+name(s.Table)+" t WHERE "+s.On)
	default:
		return ""
	}
}

// foot returns what stands behind the rows of a Select; each joins them with those of its table.
func (s *Shape) foot(name func(string) string, each string) string {
	_, after, _ := strings.Cut(s.SQL, "{rows}")
	before, behind, found := strings.Cut(after, "{each}")
	if !found {
		return Expand(after, name)
	}
	return Expand(before, name) + each + Expand(behind, name)
}

func (s *Shape) names(sep string) string {
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = c.Name
	}
	return strings.Join(names, sep)
}

// match compares some of the columns with right followed by their number.
func (s *Shape) match(from, to int, left, right string) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		if i > from {
			b.WriteString(" AND ")
		}
		b.WriteString(left + s.Columns[i].Name + " = " + right + strconv.Itoa(i+1))
	}
	return b.String()
}

// Values returns a VALUES list of the given number of rows.
func (s *Shape) Values(rows int) string {
	var b strings.Builder
	b.WriteString("VALUES ")
	for r, p := 0, 1; r < rows; r++ {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for i := range s.Columns {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("$" + strconv.Itoa(p))
			p++
		}
		b.WriteByte(')')
	}
	return b.String()
}

// Unnest returns the whole statement for PostgreSQL: one array parameter a
// column. A guarded statement with a key, or one that matches rows, returns the
// ordinal (from 1) of each row of the batch that took effect. A Select looks for the
// rows of its table by one row of the batch after the other, in their order, whatever
// the server thinks of the table's size.
func (s *Shape) Unnest(name func(string) string) string {
	arrays, numbered := s.unnested()
	rows := "SELECT * FROM unnest(" + arrays + ")"
	with := "WITH v AS (SELECT * FROM " + s.Arrays() + ") "
	switch {
	case s.Verb == Insert && s.Key > 0:
		cells := strings.TrimSuffix(numbered, ", ")
		keys := make([]string, s.Key)
		for i := range keys {
			keys[i] = s.Columns[i].Name
		}
		key := strings.Join(keys, ", ")
		return strings.TrimSuffix(with, " ") + ", i AS (" + s.Head(name) + "SELECT " + cells + " FROM v ORDER BY ordinal ON CONFLICT (" + key +
			") DO NOTHING RETURNING " + key + ") SELECT v.ordinal FROM v JOIN i ON " + s.match(0, s.Key, "i.", "v.c")
	case s.Verb == Update:
		sets := make([]string, s.Set)
		for i := range sets {
			sets[i] = s.Columns[i].Name + " = v.c" + strconv.Itoa(i+1)
		}
		return with + "UPDATE " + name(s.Table) + " AS t SET " + strings.Join(sets, ", ") + s.Tail +
			" FROM v WHERE " + s.match(s.Set, len(s.Columns), "t.", "v.c") + " RETURNING v.ordinal"
	case s.Verb == Delete:
		return with + "DELETE FROM " + name(s.Table) + " AS t USING v WHERE " + s.match(0, len(s.Columns), "t.", "v.c") +
			" RETURNING v.ordinal"
	case s.Verb == Select:
		lock := ""
		if s.Lock {
			lock = " FOR UPDATE"
		}
		return s.Head(name) + rows + s.foot(name, "CROSS JOIN LATERAL (SELECT * FROM "+name(s.Table)+" t WHERE "+s.On+" OFFSET 0"+lock+") t")
	default:
		return s.Head(name) + rows + s.Foot(name)
	}
}

// Arrays returns the batch's rows as a table expression u of PostgreSQL, with the
// columns c1, c2, ... and their ordinal.
func (s *Shape) Arrays() string {
	arrays, numbered := s.unnested()
	return "unnest(" + arrays + ") WITH ORDINALITY AS u(" + numbered + "ordinal)"
}

func (s *Shape) unnested() (arrays, numbered string) {
	for i, c := range s.Columns {
		if i > 0 {
			arrays += ", "
		}
		arrays += "$" + strconv.Itoa(i+1) + [...]string{Text: "::text[]", Int: "::bigint[]", Bytes: "::bytea[]"}[c.Type]
		numbered += "c" + strconv.Itoa(i+1) + ", "
	}
	return arrays, numbered
}

// Returning reports whether Unnest's statement returns ordinals.
func (s *Shape) Returning() bool {
	return s.Verb == Update || s.Verb == Delete || s.Verb == Insert && s.Key > 0
}

// Expand puts real names in the place of names in braces: {points} becomes
// name("points"). Braces around anything but a name are left alone.
func Expand(sql string, name func(string) string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(sql, '{')
		if i < 0 {
			break
		}
		j := i + 1
		for j < len(sql) && (sql[j] == '_' || 'a' <= sql[j] && sql[j] <= 'z' || j > i+1 && '0' <= sql[j] && sql[j] <= '9') {
			j++
		}
		if j < len(sql) && j > i+1 && sql[j] == '}' {
			b.WriteString(sql[:i])
			b.WriteString(name(sql[i+1 : j]))
			j++
		} else {
			b.WriteString(sql[:j])
		}
		sql = sql[j:]
	}
	b.WriteString(sql)
	return b.String()
}
