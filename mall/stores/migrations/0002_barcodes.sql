-- +goose Up
CREATE INDEX {products_by_barcode} ON {products} (barcode);

-- +goose Down
DROP INDEX {products_by_barcode};
