-- Checkpoints move with each message, and calls are claimed and handed back: a row that finds room in its page is written without its entries in
-- indexes.

-- +goose Up
ALTER TABLE {bb_checkpoint} SET (fillfactor = 50);
ALTER TABLE {bb_call} SET (fillfactor = 70);

-- +goose Down
ALTER TABLE {bb_call} RESET (fillfactor);
ALTER TABLE {bb_checkpoint} RESET (fillfactor);
