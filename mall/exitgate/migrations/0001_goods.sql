-- +goose Up
CREATE TABLE {places} (
    store    TEXT NOT NULL PRIMARY KEY,
    location TEXT NOT NULL
);

CREATE TABLE {goods} (
    product TEXT NOT NULL PRIMARY KEY,
    store   TEXT NOT NULL,
    sku     TEXT NOT NULL,
    barcode TEXT NOT NULL
);

CREATE INDEX {goods_by_sku} ON {goods} (sku);
CREATE INDEX {goods_by_barcode} ON {goods} (barcode);

-- +goose Down
DROP TABLE {goods};
DROP TABLE {places};
