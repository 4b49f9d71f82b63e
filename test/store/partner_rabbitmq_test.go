package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/internal/testserver"
)

// tutorial is a partner at RabbitMQ who does what the tutorial of the plain clients does: declare a fanout exchange as it
// comes, publish to it, read from an exclusive queue that is bound to it.
type tutorial struct{ server *testserver.RabbitServer }

func (p tutorial) url() string { return p.server.URL() }

func (p tutorial) channel(t *testing.T) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(p.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may be gone
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// fresh leaves the queue there: one that was deleted and declared again would be, for a server that is killed soon after,
// neither the old one nor the new one (see RabbitServer.Flushed).
func (p tutorial) fresh(t *testing.T) {
	t.Helper()
	if _, err := p.channel(t).QueuePurge("souk.partner.orders", false); err != nil && !strings.Contains(err.Error(), "404") {
		t.Fatal(err)
	}
	for _, name := range []string{"orders", "order.placed"} {
		if err := p.channel(t).ExchangeDelete(name, false, false); err != nil {
			t.Fatal(err)
		}
	}
}

func (p tutorial) send(t *testing.T, body string) {
	t.Helper()
	conn, err := amqp.Dial(p.url())
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare("orders", "fanout", false, false, false, false, nil)
	}
	if err == nil {
		err = ch.PublishWithContext(t.Context(), "orders", "", false, false, amqp.Publishing{Body: []byte(body)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil { // sends what is under way first
		t.Fatal(err)
	}
}

func (p tutorial) listen(t *testing.T, name string) func() string {
	t.Helper()
	ch := p.channel(t)
	if err := ch.ExchangeDeclare(name, "fanout", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "", name, false, nil); err != nil {
		t.Fatal(err)
	}
	got, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		select {
		case d := <-got:
			return string(d.Body)
		case <-ctx.Done():
			t.Fatalf("nothing came under %s within 20 s", name)
			return ""
		}
	}
}

// One server for all of it, since it takes its time to start; each part begins with nothing declared.
func TestPartnersAtRabbitMQ(t *testing.T) {
	t.Parallel()
	server := testserver.RabbitOwn(t)
	p := tutorial{server}
	binary := program(t)
	testPartners(t, binary, program(t, "crashpoints"), p)

	// C1, C2, C3: the tutorial does what it says, with stock clients.
	t.Run("C1_Tutorial", func(t *testing.T) {
		if separately(t) != nil { // it says itself how souk is run
			return
		}
		p.fresh(t)
		testserver.Tutorial(t, "../../docs/tutorials/rabbitmq.md", 7, "AMQP="+strings.TrimSuffix(p.url(), "/"))
	})

	// Whoever comes first declares the exchange, and one of another kind is taken as it is. Red when a declaration that is
	// refused ends the matter.
	t.Run("C1_DeclaredByOthers", func(t *testing.T) {
		for _, e := range []struct {
			kind    string
			durable bool
		}{{"fanout", false}, {"fanout", true}, {"topic", true}, {"direct", false}} {
			t.Run(fmt.Sprint(e.kind, e.durable), func(t *testing.T) {
				p.fresh(t)
				ch := p.channel(t)
				if err := ch.ExchangeDeclare("orders", e.kind, e.durable, false, false, false, nil); err != nil {
					t.Fatal(err)
				}
				m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
				m.seed()
				untilTaken(t, m, "a", func(body string) {
					if err := ch.PublishWithContext(t.Context(), "orders", "orders", false, false, amqp.Publishing{Body: []byte(body)}); err != nil {
						t.Fatal(err)
					}
				})
				m.must(202, "POST", "/order", order1)
				m.awaitStatus("ORDER_001", "APPROVED")
				m.stop()
			})
		}
	})

	// The exchange vanishes while the mall runs, and is declared and bound again. Red when that is done only once a connection.
	t.Run("C1_ExchangeVanishes", func(t *testing.T) {
		p.fresh(t)
		m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		m.seed()
		untilTaken(t, m, "a", func(body string) { p.send(t, body) })
		if err := p.channel(t).ExchangeDelete("orders", false, false); err != nil {
			t.Fatal(err)
		}
		untilTaken(t, m, "b", func(body string) { p.send(t, body) })
		m.holds()
	})

	// FAILURES 43: the user of the mall gets a new password while the mall runs, first at the server and then in the file. Between the two nothing is lost,
	// and afterwards the mall is let in by itself. Red where the file is read once.
	t.Run("F10_PasswordChanges", func(t *testing.T) {
		p.fresh(t)
		const before, after = "t0psecret-before", "t0psecret-after"
		server.Control("eval", `rabbit_auth_backend_internal:add_user(<<"mall">>, <<"`+before+`">>, <<"test">>),
			rabbit_auth_backend_internal:set_permissions(<<"mall">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).`)
		file := filepath.Join(t.TempDir(), "password")
		write := func(password string) {
			t.Helper()
			if err := errors.Join(os.WriteFile(file+".new", []byte(password+"\n"), 0o600), os.Rename(file+".new", file)); err != nil {
				t.Fatal(err)
			}
		}
		write(before)
		m := start(t, binary, t.TempDir(), nil, "--partner", "amqp://mall@"+server.Addr()+"/?password_file="+file)
		m.seed()
		m.taking(p)
		placed := p.listen(t, "order.placed")
		p.send(t, wish("before", "Laptop", 1))
		m.awaitStatus(partnerOrder("before"), "APPROVED")

		server.Control("change_password", "mall", after)
		server.Control("close_all_user_connections", "mall", "the password has changed")
		m.awaitUp(p, 0)
		p.send(t, wish("between", "Laptop", 1))
		m.must(202, "POST", "/order", order1)
		m.awaitStatus("ORDER_001", "APPROVED")
		if status := m.status(partnerOrder("between")); status != "" {
			t.Errorf("it is let in with the password of before, and an order is %s", status)
		}

		write(after)
		m.taking(p)
		m.awaitStatus(partnerOrder("between"), "APPROVED")
		await(t, "what was placed meanwhile is told", func() bool { return strings.Contains(placed(), `"order_id":"ORDER_001"`) })
		p.send(t, wish("after", "Laptop", 1))
		m.awaitStatus(partnerOrder("after"), "APPROVED")
		m.stop()
		if said := m.of("partner").proc.Stdout() + m.of("partner").proc.Stderr(); strings.Contains(said, "t0psecret") {
			t.Errorf("the mall tells its password: %s", said)
		}
		if k := m.holds(); len(k.placed) != 4 {
			t.Errorf("%d orders are placed, want 4", len(k.placed))
		}
	})

	// C2: the server is killed and comes back. What plain clients have sent as transient messages is still there; the
	// exchange, which is not durable, is declared and bound again; and what was placed meanwhile goes out afterwards. Red when the
	// queue is a classic one, and when the connection is not made again.
	t.Run("C2_ServerKilled", func(t *testing.T) {
		p.fresh(t)
		m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		m.seed()
		untilTaken(t, m, "a", func(body string) { p.send(t, body) })
		server.Flushed()
		m.stop()
		for i := range 3 {
			p.send(t, wish(i, "Product 1", 1))
		}
		await(t, "the queue has them", func() bool {
			q, err := p.channel(t).QueueDeclarePassive("souk.partner.orders", true, false, false, false, nil)
			return err == nil && q.Messages == 3
		})
		server.Restart()
		m.begin()
		for i := range 3 {
			m.awaitStatus(partnerOrder(i), "APPROVED")
		}
		server.Kill()
		m.must(202, "POST", "/order", order1)
		m.awaitStatus("ORDER_001", "APPROVED")
		server.Restart()
		placed := p.listen(t, "order.placed")
		untilTaken(t, m, "b", func(body string) { p.send(t, body) })
		await(t, "what was placed meanwhile is told", func() bool {
			return placed() == `{"order_id":"ORDER_001","user_id":"CUSTOMER_001","total":40,"items":[{"sku":"PRODUCT_001","qty":3},{"sku":"PRODUCT_002","qty":2}]}`
		})
		m.holds()
	})
}
