-- +goose Up
-- The head of each stream, which a transaction locks before it reads the stream.
-- base is the version from which the last transaction moved it.
CREATE TABLE {bb_stream} (
	stream   TEXT   PRIMARY KEY,
	version  BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	base     BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- +goose Down
DROP TABLE {bb_stream};
