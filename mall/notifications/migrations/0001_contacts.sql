-- +goose Up
-- name, email and sms are sealed.
CREATE TABLE {contacts} (
    customer  TEXT   NOT NULL PRIMARY KEY,
    name      TEXT   NOT NULL,
    email     TEXT   NOT NULL,
    sms       TEXT   NOT NULL,
    forgotten BIGINT NOT NULL
);

-- +goose Down
DROP TABLE {contacts};
