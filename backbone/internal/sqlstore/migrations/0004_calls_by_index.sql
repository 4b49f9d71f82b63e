-- Calls are dropped by stream and name: with an index that begins with the stream alone, beside the one over names and due
-- times, SQLite took the latter and looked at every call of that name. They are claimed in the order of due times and entries:
-- PostgreSQL sorted all that were due for the few that are claimed at a time.

-- +goose Up
DROP INDEX {bb_call_stream};
DROP INDEX {bb_call_due};
CREATE INDEX {bb_call_stream} ON {bb_call} (stream, name, entry);
CREATE INDEX {bb_call_due} ON {bb_call} (name, due, entry);

-- +goose Down
DROP INDEX {bb_call_due};
DROP INDEX {bb_call_stream};
CREATE INDEX {bb_call_stream} ON {bb_call} (stream, entry);
CREATE INDEX {bb_call_due} ON {bb_call} (name, due);
