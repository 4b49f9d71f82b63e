-- +goose Up
-- By which channel a customer wants to be told what; empty: the shop's choice.
ALTER TABLE {contacts} ADD COLUMN asking TEXT NOT NULL DEFAULT '';
ALTER TABLE {contacts} ADD COLUMN progress TEXT NOT NULL DEFAULT '';
ALTER TABLE {contacts} ADD COLUMN receipts TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE {contacts} DROP COLUMN receipts;
ALTER TABLE {contacts} DROP COLUMN progress;
ALTER TABLE {contacts} DROP COLUMN asking;
