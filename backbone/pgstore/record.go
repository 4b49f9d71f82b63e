package pgstore

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone/driver"
)

// Columns of a record, in the order of sqlstore.RecordRows.
const (
	columnPosition = iota
	columnKind
	columnID
	columnRef
	columnStream
	columnVersion
	columnSequence
	columnType
	columnData
	columnMeta
	columnTime
	columnTarget
	columns
)

// recordReader reads records out of what the server sent, without a look at types and without an allocation for each column: logs are
// read by the thousand.
type recordReader struct {
	asked, able bool   // able to read these rows, once asked
	wire        string // the last record's type, which is often the next one's too
}

// ScanRecord implements sqlstore.RecordRows.
func (r *rows) ScanRecord(into *driver.Record) (bool, error) {
	if !r.reader.asked {
		r.reader.asked, r.reader.able = true, readable(r.Rows)
	}
	if !r.reader.able {
		return false, nil
	}
	r.reader.read(r.RawValues(), into)
	return true, nil
}

// readable reports whether the rows have a record's columns in the server's binary format, which another way to ask may not bring.
func readable(r pgx.Rows) bool {
	fields := r.FieldDescriptions()
	if len(fields) != columns {
		return false
	}
	for i := range fields {
		switch i {
		case columnPosition, columnKind, columnVersion, columnSequence, columnTime, columnData, columnMeta:
			if fields[i].Format != pgx.BinaryFormatCode {
				return false
			}
		}
	}
	return true
}

func (d *recordReader) read(values [][]byte, into *driver.Record) {
	number := func(column int) int64 { return int64(binary.BigEndian.Uint64(values[column])) }
	into.Position, into.Kind = number(columnPosition), driver.Kind(number(columnKind))
	into.Version, into.Sequence, into.Time = number(columnVersion), number(columnSequence), number(columnTime)

	data, meta := values[columnData], values[columnMeta]
	both := append(append(make([]byte, 0, len(data)+len(meta)), data...), meta...)
	into.Data, into.Meta = both[:len(data):len(data)], both[len(data):]

	if string(values[columnType]) != d.wire {
		d.wire = string(values[columnType])
	}
	into.Type = d.wire
	id, ref, stream := len(values[columnID]), len(values[columnRef]), len(values[columnStream])
	var room [160]byte
	text := append(append(append(append(room[:0], values[columnID]...), values[columnRef]...), values[columnStream]...), values[columnTarget]...)
	all := string(text)
	into.ID, all = all[:id], all[id:]
	into.Ref, all = all[:ref], all[ref:]
	into.Stream, into.Target = all[:stream], all[stream:]
}
