-- +goose Up
-- When the key was first claimed, from 1970 on in microseconds. A claim that was given back stays, without a boot.
ALTER TABLE {idempotency} ADD COLUMN since BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE {idempotency} DROP COLUMN since;
