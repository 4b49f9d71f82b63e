package sqlstore

import "slices"

// Marks find what a transaction wrote, each for one kind of row: they are there once it is in, and were not before.
var (
	logMark = &Shape{
		Verb: Select, Table: "bb_log",
		Columns: []Column{{"position", Int}, {"id", Text}},
		On:      "t.position = v.position AND t.id = v.id",
		SQL:     `WITH v(position, id) AS ({rows}) SELECT 1 FROM v {each}`,
	}
	// A checkpoint that stands further by now was moved over the same messages.
	moveMark = &Shape{
		Verb: Select, Table: "bb_checkpoint",
		Columns: []Column{{"subscription", Text}, {"source", Text}, {"slice", Int}, {"position", Int}},
		On:      "t.subscription = v.subscription AND t.source = v.source AND t.slice = v.slice AND t.position >= v.position",
		SQL:     `WITH v(subscription, source, slice, position) AS ({rows}) SELECT 1 FROM v {each}`,
	}
	inboxMark = &Shape{
		Verb: Select, Table: "bb_inbox",
		Columns: []Column{{"subscription", Text}, {"source", Text}, {"id", Text}, {"hash", Text}},
		On:      "t.subscription = v.subscription AND t.source = v.source AND t.id = v.id AND t.hash = v.hash",
		SQL:     `WITH v(subscription, source, id, hash) AS ({rows}) SELECT 1 FROM v {each}`,
	}
	answerMark = &Shape{
		Verb: Select, Table: "bb_answer",
		Columns: []Column{{"id", Text}, {"fingerprint", Text}},
		On:      "t.id = v.id AND t.fingerprint = v.fingerprint",
		SQL:     `WITH v(id, fingerprint) AS ({rows}) SELECT 1 FROM v {each}`,
	}
)

// logID is the column of the id in logShape.
const logID = 2

// Mark returns a Select that finds a row if what a Write was given is in the database, and none if it is not; nil where nothing of it
// can be told from what others write. last is the position of the last record of log.
func Mark(batches []*Batch, log *Batch, last int64) *Batch {
	if log != nil {
		return NewBatch(logMark, 1).int(last).text(log.Cols[logID].Text[log.N-1])
	}
	of := func(shape *Shape) *Batch {
		if i := slices.IndexFunc(batches, func(b *Batch) bool { return b.Shape == shape }); i >= 0 {
			return batches[i]
		}
		return nil
	}
	if b := of(moveShape); b != nil {
		return NewBatch(moveMark, 1).text(b.Cols[1].Text[0]).text(b.Cols[2].Text[0]).int(b.Cols[3].Int[0]).int(b.Cols[0].Int[0])
	}
	if b := of(insertInbox); b != nil {
		return NewBatch(inboxMark, 1).text(b.Cols[0].Text[0]).text(b.Cols[1].Text[0]).text(b.Cols[2].Text[0]).text(b.Cols[3].Text[0])
	}
	if b := of(insertAnswers); b != nil {
		return NewBatch(answerMark, 1).text(b.Cols[0].Text[0]).text(b.Cols[1].Text[0])
	}
	return nil
}
