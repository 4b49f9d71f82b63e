-- +goose Up
-- Who writes an instance has read the revision below: of two processes that move it at
-- once, one reads it again.
ALTER TABLE {bb_saga} ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE {bb_saga} DROP COLUMN revision;
