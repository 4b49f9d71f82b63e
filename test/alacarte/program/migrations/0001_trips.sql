-- +goose Up
CREATE TABLE {trips} (
	customer TEXT   NOT NULL PRIMARY KEY,
	bookings BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {trips};
