-- +goose Up
ALTER TABLE {trips} ADD COLUMN cents BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE {trips} DROP COLUMN cents;
