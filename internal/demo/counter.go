package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.org/souk/gateway/door"
	"example.org/souk/gateway/staff"
)

// counter is the clerk of the depot, who hands out what is ready and takes the money that is owed for it.
type counter struct {
	client *http.Client
	mall   theMall
	token  string
}

// openCounter has a clerk come in.
func (p *play) openCounter(client *http.Client) (*counter, error) {
	token, err := p.token(string(door.Staff), "clerk")
	return &counter{client, p.mall, token}, err
}

// run hands out until ctx ends. A mall that is away, or that says to come again, is asked again, as it is where the money of an order that
// was paid before is not in yet; what else it refuses is told.
func (c *counter) run(ctx context.Context, failed func(context.Context, error)) {
	for tried := 0; pause(ctx, 200*time.Millisecond); tried++ {
		var ready struct{ Orders []struct{ Order string } }
		if status, err := c.ask(ctx, http.MethodGet, "/orders?status=READY&limit=50", "", &ready); err != nil || status != http.StatusOK {
			continue
		}
		for _, o := range ready.Orders {
			status, err := c.ask(ctx, http.MethodPost, "/orders/"+o.Order+"/hand-over", fmt.Sprintf("%s-%d", o.Order, tried), &struct{}{})
			switch {
			case err != nil, status < 300, status == http.StatusConflict, status == http.StatusTooManyRequests, status >= 500:
			default:
				failed(ctx, fmt.Errorf("order %s is not handed over: %d", o.Order, status))
			}
		}
	}
}

// ask makes a request of staff and reads its answer into out. A request with a key takes the money that is owed.
func (c *counter) ask(ctx context.Context, method, path, key string, out any) (status int, err error) {
	body := ""
	if key != "" {
		body = `{"takePayment":true}`
	}
	r, err := http.NewRequestWithContext(ctx, method, c.mall.url(staff.ServiceName)+"/staff"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if key != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, err
	}
	return resp.StatusCode, json.Unmarshal(answer, out)
}
