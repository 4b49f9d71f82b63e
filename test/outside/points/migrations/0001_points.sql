-- +goose Up
CREATE TABLE {points} (
	customer TEXT   NOT NULL PRIMARY KEY,
	points   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {points};
