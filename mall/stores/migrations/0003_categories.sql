-- +goose Up
ALTER TABLE {products} ADD COLUMN category TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE {products} DROP COLUMN category;
