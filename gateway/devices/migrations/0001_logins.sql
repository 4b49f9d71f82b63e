-- +goose Up
CREATE TABLE {logins} (
    device TEXT NOT NULL PRIMARY KEY,
    store  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    hash   TEXT NOT NULL
);

-- +goose Down
DROP TABLE {logins};
