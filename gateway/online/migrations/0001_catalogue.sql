-- +goose Up
-- What the gateway knows of the catalogue. A shop's row and its products' rows come of different streams, so either may be
-- there first.
CREATE TABLE {shops} (
    store         TEXT   NOT NULL PRIMARY KEY,
    participating BIGINT NOT NULL
);

CREATE TABLE {products} (
    product  TEXT   NOT NULL PRIMARY KEY,
    store    TEXT   NOT NULL,
    sku      TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    price    BIGINT NOT NULL,
    currency TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    removed  BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {products};
DROP TABLE {shops};
