-- +goose Up
-- One row an order. Times are microseconds, 0 for what has not happened. Until its OrderPlaced was seen, placed is 0 and the row
-- holds no more than what payments said of it. history is a list of STATUS=microseconds.
CREATE TABLE {found} (
    order_id  TEXT   NOT NULL PRIMARY KEY,
    customer  TEXT   NOT NULL,
    basket    TEXT   NOT NULL,
    items     TEXT   NOT NULL,
    total     BIGINT NOT NULL,
    currency  TEXT   NOT NULL,
    payment   TEXT   NOT NULL,
    status    TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    history   TEXT   NOT NULL,
    placed    BIGINT NOT NULL,
    changed   BIGINT NOT NULL,
    paid      BIGINT NOT NULL,
    collected BIGINT NOT NULL,
    held      TEXT   NOT NULL, -- what became of the payment that it was bound to
    captured  BIGINT NOT NULL,
    invoice   TEXT   NOT NULL, -- what became of its invoice
    invoiced  BIGINT NOT NULL,
    refunded  BIGINT NOT NULL
);

CREATE INDEX {found_by_time} ON {found} (placed, order_id);
CREATE INDEX {found_by_customer} ON {found} (customer, placed);

-- What an order can be found by: a letter that says what kind of term it is, and the term. They are bytes, so that all that begin alike
-- stand beside each other, whatever language the database sorts by.
CREATE TABLE {terms} (
    term     BYTEA NOT NULL,
    order_id TEXT  NOT NULL,
    PRIMARY KEY (term, order_id)
);

-- Which shop sells a product, and by which term orders with it are found.
CREATE TABLE {goods} (
    product TEXT  NOT NULL PRIMARY KEY,
    store   TEXT  NOT NULL,
    term    BYTEA NOT NULL
);

CREATE INDEX {goods_by_store} ON {goods} (store);

CREATE TABLE {shops} (
    store TEXT NOT NULL PRIMARY KEY,
    name  TEXT NOT NULL
);

-- name is sealed.
CREATE TABLE {people} (
    customer TEXT NOT NULL PRIMARY KEY,
    card     TEXT NOT NULL,
    name     TEXT NOT NULL
);

CREATE INDEX {people_by_card} ON {people} (card);

-- +goose Down
DROP TABLE {people};
DROP TABLE {shops};
DROP TABLE {goods};
DROP TABLE {terms};
DROP TABLE {found};
