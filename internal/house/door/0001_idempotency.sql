-- +goose Up
-- What stands under a caller's Idempotency-Key. status 0 is a claim that has no
-- answer yet; it is its process's until an instant, and boot names the process.
CREATE TABLE {idempotency} (
	caller      TEXT   NOT NULL,
	key         TEXT   NOT NULL,
	fingerprint TEXT   NOT NULL,
	status      BIGINT NOT NULL,
	type        TEXT   NOT NULL,
	location    TEXT   NOT NULL,
	body        TEXT   NOT NULL,
	boot        TEXT   NOT NULL,
	until       BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	PRIMARY KEY (caller, key)
);
CREATE INDEX {idempotency_expires} ON {idempotency} (expires);

-- +goose Down
DROP TABLE {idempotency};
