package sqlitestore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"example.org/souk/backbone"
	"example.org/souk/backbone/sqlitestore"
)

// OrderPlaced is a fact that a shop tells others.
type OrderPlaced struct {
	Order string `json:"order"`
}

// EventType implements backbone.Event.
func (OrderPlaced) EventType() string { return "shop.OrderPlaced.v1" }

func placed(order string) backbone.Outgoing {
	return backbone.Outgoing{
		Stream: "order/" + order, Expect: backbone.NewStream, Events: []backbone.Event{OrderPlaced{Order: order}},
		Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Actor: "customer:C1",
	}
}

// shop makes a database with the tables of a program and of its log.
func shop() (db *sql.DB, remove func(), err error) {
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		return nil, nil, err
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, nil, err
	}
	script, err := sqlitestore.Schema("shop")
	if err != nil {
		return nil, nil, err
	}
	_, err = db.Exec(script + "CREATE TABLE orders (id TEXT PRIMARY KEY); CREATE TABLE points (customer TEXT PRIMARY KEY, points INTEGER)")
	return db, func() { _ = db.Close(); _ = os.RemoveAll(dir) }, err
}

// A row of the program and an event commit together, or neither does.
func ExampleAppend() {
	ctx := context.Background()
	db, remove, err := shop()
	if err != nil {
		log.Fatal(err)
	}
	defer remove()

	place := func(order string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // does nothing after Commit
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO orders (id) VALUES ($1)", order); err != nil {
			return err
		}
		appended, err := sqlitestore.Append(ctx, tx, "shop", placed(order))
		if err != nil {
			return err
		}
		fmt.Printf("%s at %d: %s\n", appended[0].Stream, appended[0].Position, appended[0].Data)
		return tx.Commit()
	}
	for _, order := range []string{"o1", "o2", "o1"} {
		if err := place(order); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// order/o1 at 1: {"order":"o1"}
	// order/o2 at 2: {"order":"o2"}
	// append to the log of shop: stream order/o1 is at version 1, expected none
}

// A message that is delivered twice takes effect once.
func ExampleInbox() {
	ctx := context.Background()
	db, remove, err := shop()
	if err != nil {
		log.Fatal(err)
	}
	defer remove()

	handle := func(m *backbone.Message) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		isNew, err := sqlitestore.Inbox(ctx, tx, "shop", backbone.Incoming{Subscription: "points", Message: m, Time: time.Now()})
		if err != nil || !isNew {
			return err // nil says: handled before
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO points VALUES ('C1', 1)
			ON CONFLICT (customer) DO UPDATE SET points = points + 1`); err != nil {
			return err
		}
		return tx.Commit()
	}
	message := func(body string) *backbone.Message {
		return &backbone.Message{Meta: backbone.Meta{ID: "m1"}, Source: "till", Type: "till.Sold.v1", Data: []byte(body)}
	}
	for _, m := range []*backbone.Message{message(`{"total":5}`), message(`{"total":5}`), message(`{"total":6}`)} {
		if err := handle(m); err != nil {
			fmt.Println(err)
		}
	}
	var points int
	if err := db.QueryRow("SELECT points FROM points").Scan(&points); err != nil {
		log.Fatal(err)
	}
	fmt.Println("points:", points)
	// Output:
	// points has handled another message m1 of till
	// points: 1
}

// The tables as SQL, for a migration tool of the program's own.
func ExampleSchema() {
	script, err := sqlitestore.Schema("shop")
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(script) {
		if strings.Contains(line, "bb_head") || strings.Contains(line, "VALUES") {
			fmt.Print(line)
		}
	}
	// Output:
	// INSERT INTO "shop_bb_version" (version_id, is_applied) VALUES (0, TRUE);
	// CREATE TABLE "shop_bb_head" (
	// INSERT INTO "shop_bb_head" (one, position, pruned) VALUES (1, 0, 0);
	// INSERT INTO "shop_bb_version" (version_id, is_applied) VALUES (1, TRUE);
	// INSERT INTO "shop_bb_version" (version_id, is_applied) VALUES (3, TRUE);
	// INSERT INTO "shop_bb_version" (version_id, is_applied) VALUES (4, TRUE);
}
