-- +goose Up
-- One row for each person who was ever sealed for. A key that was destroyed
-- leaves its row behind, so that it is never made anew.
CREATE TABLE {people} (
	person    TEXT   NOT NULL PRIMARY KEY,
	secret    TEXT   NOT NULL,
	created   BIGINT NOT NULL,
	destroyed BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {people};
