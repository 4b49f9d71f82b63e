-- +goose Up
-- id is mall.StockID of the SKU and its location.
CREATE TABLE {stock} (
    id        TEXT   NOT NULL PRIMARY KEY,
    sku       TEXT   NOT NULL,
    location  TEXT   NOT NULL,
    on_hand   BIGINT NOT NULL,
    held      BIGINT NOT NULL,
    committed BIGINT NOT NULL,
    threshold BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {stock};
