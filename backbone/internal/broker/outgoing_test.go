package broker

import (
	"context"
	"fmt"
	"testing"

	"example.org/souk/backbone/driver"
)

// heap is a client that knows all topics, and sends nothing.
type heap struct{ Client }

func (heap) System() string                                               { return "heap" }
func (heap) DeclareTopic(_ context.Context, _ string, n int) (int, error) { return n, nil }

// TestMessagesOfRecordsCostLittle shows what it takes to make a message of a record: its numbers and the text of its meta. Red when a record becomes
// a Message on the heap, or each attribute a text of its own: the relay makes tens of thousands a second.
func TestMessagesOfRecordsCostLittle(t *testing.T) {
	bus := New(Config{Client: heap{}, Store: func(string) driver.Store { return nil }})
	rs := make([]driver.Record, 100)
	for i := range rs {
		rs[i] = driver.Record{
			Position: int64(i) + 1, Kind: driver.KindEvent, ID: fmt.Sprint(i), Stream: "order/1", Version: 7, Sequence: 5, Type: "test.Happened.v1",
			Data: []byte(`{}`), Meta: []byte(`{"actor":"customer:C1","correlationid":"1","causationid":"2"}`), Time: 1_700_000_000_000_001,
		}
	}
	each := testing.AllocsPerRun(10, func() {
		if _, err := bus.outgoing(t.Context(), "shop", rs); err != nil {
			t.Fatal(err)
		}
	}) / float64(len(rs))
	if each > 2.5 {
		t.Errorf("a message takes %v allocations", each)
	}
}
