-- +goose Up
-- One row an order or a visit: kind is order or visit. Times are those of the events in microseconds, 0 for what has not happened or was not
-- heard of. Of a visit, placed is when the visitor left, approved when the bill was written, and unpriced how many pieces had no price then.
CREATE TABLE {trades} (
    kind      TEXT   NOT NULL,
    id        TEXT   NOT NULL,
    placed    BIGINT NOT NULL DEFAULT 0,
    basket    TEXT   NOT NULL DEFAULT '',
    unpriced  BIGINT NOT NULL DEFAULT 0,
    approved  BIGINT NOT NULL DEFAULT 0,
    readied   BIGINT NOT NULL DEFAULT 0,
    paid      BIGINT NOT NULL DEFAULT 0,
    completed BIGINT NOT NULL DEFAULT 0,
    rejected  BIGINT NOT NULL DEFAULT 0,
    canceled  BIGINT NOT NULL DEFAULT 0,
    expired   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, id)
);

CREATE INDEX {trades_by_time} ON {trades} (placed);

-- What was sold. part is empty for what was placed or billed at first, else the id of the event that changed it: what was not found has
-- a negative quantity and the n of the line that it is taken off, what came instead or was priced later is a line of its own.
CREATE TABLE {lines} (
    kind     TEXT   NOT NULL,
    trade    TEXT   NOT NULL,
    part     TEXT   NOT NULL,
    n        BIGINT NOT NULL,
    store    TEXT   NOT NULL, -- empty: the catalogue knows
    product  TEXT   NOT NULL, -- empty: not said
    sku      TEXT   NOT NULL,
    currency TEXT   NOT NULL,
    price    BIGINT NOT NULL, -- of one piece
    quantity BIGINT NOT NULL,
    PRIMARY KEY (kind, trade, part, n)
);

-- One row an event about money: what is taken, returned or failed. What was returned of a payment for a visit has no trade: the payment tells it.
CREATE TABLE {moves} (
    event   TEXT   NOT NULL PRIMARY KEY,
    what    TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    trade   TEXT   NOT NULL,
    payment TEXT   NOT NULL,
    amount  BIGINT NOT NULL
);

CREATE INDEX {moves_by_trade} ON {moves} (what, kind, trade);
CREATE INDEX {moves_by_payment} ON {moves} (payment);

CREATE TABLE {started} (
    basket      TEXT   NOT NULL PRIMARY KEY,
    began       BIGINT NOT NULL DEFAULT 0,
    checked_out BIGINT NOT NULL DEFAULT 0,
    canceled    BIGINT NOT NULL DEFAULT 0,
    expired     BIGINT NOT NULL DEFAULT 0,
    order_id    TEXT   NOT NULL DEFAULT ''
);

CREATE INDEX {started_by_time} ON {started} (began);

-- Who sells a product.
CREATE TABLE {goods} (
    product TEXT NOT NULL PRIMARY KEY,
    store   TEXT NOT NULL
);

-- +goose Down
DROP TABLE {goods};
DROP TABLE {started};
DROP TABLE {moves};
DROP TABLE {lines};
DROP TABLE {trades};
