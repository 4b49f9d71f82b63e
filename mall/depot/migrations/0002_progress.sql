-- +goose Up
-- Created is in microseconds; lists from before have 0, and no stops.
ALTER TABLE {lists} ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
ALTER TABLE {lists} ADD COLUMN stops BIGINT NOT NULL DEFAULT 0;
ALTER TABLE {lists} ADD COLUMN settled BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE {lists} DROP COLUMN settled;
ALTER TABLE {lists} DROP COLUMN stops;
ALTER TABLE {lists} DROP COLUMN created;
