-- +goose Up
CREATE TABLE {cards} (
    customer TEXT   NOT NULL PRIMARY KEY,
    card     TEXT   NOT NULL,
    linked   BIGINT NOT NULL
);

CREATE INDEX {cards_by_card} ON {cards} (card);

-- +goose Down
DROP TABLE {cards};
