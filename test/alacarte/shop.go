package alacarte

import (
	"context"
	"database/sql"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"example.org/souk/backbone"
	"example.org/souk/backbone/sqlitestore"
)

// Open opens the shop's database. Transactions begin as writers and wait for each other.
func Open(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
}

// Create makes the shop's own tables, and those of its log.
func Create(ctx context.Context, db *sql.DB) error {
	log, err := sqlitestore.Schema("shop")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, log+`
		CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents > 0));
		CREATE TABLE points (customer TEXT PRIMARY KEY, points INTEGER NOT NULL CHECK (points <= 1000));`)
	return err
}

// OrderPlaced is what the shop tells others.
type OrderPlaced struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// EventType is the event's wire name.
func (OrderPlaced) EventType() string { return "shop.OrderPlaced.v1" }

// Place stores an order and tells of it: both, or neither.
func Place(ctx context.Context, db *sql.DB, o OrderPlaced) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)`, o.Order, o.Customer, o.Cents); err != nil {
		return err
	}
	if _, err := sqlitestore.Append(ctx, tx, "shop", backbone.Outgoing{
		Stream: "order/" + o.Order, Events: []backbone.Event{o}, Time: time.Now(), Actor: "customer:" + o.Customer,
	}); err != nil {
		return err
	}
	return tx.Commit()
}

// Award gives a customer a point for a message that came from a till, once however often it comes.
func Award(ctx context.Context, db *sql.DB, m *backbone.Message, customer string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	isNew, err := sqlitestore.Inbox(ctx, tx, "shop", backbone.Incoming{Subscription: "points", Message: m, Time: time.Now()})
	if err != nil || !isNew {
		return err // nil: it is handled already
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO points (customer, points) VALUES ($1, 1)
		ON CONFLICT (customer) DO UPDATE SET points = points + 1`, customer); err != nil {
		return err
	}
	return tx.Commit()
}
