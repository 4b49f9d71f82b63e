-- +goose Up
-- A row a process that runs parts of the mall; it counts as long as it was seen a moment ago. Times are microseconds of the
-- database's clock, parts stand apart by spaces.
CREATE TABLE {process} (
	id      TEXT   PRIMARY KEY,
	host    TEXT   NOT NULL,
	pid     BIGINT NOT NULL,
	version TEXT   NOT NULL,
	parts   TEXT   NOT NULL,
	address TEXT   NOT NULL,
	started BIGINT NOT NULL,
	seen    BIGINT NOT NULL
);
-- What the processes share and nobody else may know: the keys that sign tokens, and those that they know each other by.
CREATE TABLE {secret} (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

-- +goose Down
DROP TABLE {process};
DROP TABLE {secret};
