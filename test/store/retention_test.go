package store

import (
	"slices"
	"testing"
	"time"
)

// underway lists the commands, replies and calls in the logs of a mall, and the answers to commands.
func (m *mall) underway() (records, answers []string) {
	m.t.Helper()
	for _, service := range []string{"orders", "inventory", "payments", "notifications"} {
		records = append(records, m.rows(service, `SELECT id FROM {bb_log} WHERE kind IN (3, 4, 5)`)...)
		answers = append(answers, m.rows(service, `SELECT id FROM {bb_answer}`)...)
	}
	return records, answers
}

// left counts those of list that are still among now.
func left(list, now []string) (n int) {
	for _, id := range list {
		if slices.Contains(now, id) {
			n++
		}
	}
	return n
}

// F6: what was under way is kept as long as the mall is told to, events for ever; and the mall goes on over what is gone.
// Red when the mall does not hand its retention on.
func TestF6_RetentionOfAMall(t *testing.T) {
	t.Parallel()
	const retention = 10 * time.Second // long enough for an order on a busy machine
	m := start(t, program(t), t.TempDir(), nil, "--order-patience", retention.String(), "--retention", retention.String())
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.settle()
	m.stop()
	stopped := time.Now()
	records, answers := m.underway()
	if len(records) < 5 || len(answers) < 5 { // reserving and committing stock, with replies, and a letter
		t.Fatalf("after an order there are %d records under way and %d answers", len(records), len(answers))
	}
	await(t, "old", func() bool { return time.Since(stopped) > retention })
	second := []string{"order", "place", "--customer", "CUSTOMER_002", "--item", "PRODUCT_002=1", "--order", "ORDER_002"}
	if m.others == nil { // it places the order by itself; of processes it asks one
		m.souk(second...)
		if r, a := m.underway(); left(records, r) != len(records) || left(answers, a) != len(answers) {
			t.Errorf("the command line has removed something: of %v and %v there are %v and %v", records, answers, r, a)
		}
	}
	m.begin()
	m.souk(second...) // once more changes nothing
	await(t, "pruned", func() bool {
		r, a := m.underway()
		return left(records, r)+left(answers, a) == 0
	})
	m.awaitStatus("ORDER_002", "APPROVED")
	if a := m.available("PRODUCT_001"); a != 7 {
		t.Errorf("available %d, want 7", a)
	}
	m.must(202, "POST", "/order", order("ORDER_003", "CUSTOMER_001", item{"PRODUCT_001", 10, 2}))
	m.awaitStatus("ORDER_003", "APPROVED")
	if a := m.available("PRODUCT_001"); a != 5 {
		t.Errorf("available %d, want 5", a)
	}
	m.holds()
}

// F6: a retention within which a command may come again is refused.
func TestF6_RetentionIsNoShorterThanAnOrderWaits(t *testing.T) {
	t.Parallel()
	out, code := souk(t, program(t), t.TempDir(), "up", "--http", "127.0.0.1:0", "--order-patience", "2h", "--retention", "1h")
	if code != 1 {
		t.Errorf("exit %d\n%s", code, out)
	}
}
