-- Calls are dropped by stream and name. With an index that begins with the stream alone, beside the one over names and
-- due times, SQLite took the latter and looked at every call of that name.

-- +goose Up
DROP INDEX {bb_call_stream};
CREATE INDEX {bb_call_stream} ON {bb_call} (stream, name, entry);

-- +goose Down
DROP INDEX {bb_call_stream};
CREATE INDEX {bb_call_stream} ON {bb_call} (stream, entry);
