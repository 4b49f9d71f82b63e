package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"example.org/souk/backbone"
	"example.org/souk/backbone/telemetry"
)

// placed gives a command to the service. A caller who heard no answer asks again with the same key, and gets the first one.
func placed(w http.ResponseWriter, q *http.Request, r *backbone.Runtime) {
	id, key, customer := q.PathValue("id"), q.Header.Get("Idempotency-Key"), q.FormValue("customer")
	cents, err := strconv.ParseInt(q.FormValue("cents"), 10, 64)
	if err != nil || !backbone.ValidID(id) || !backbone.ValidID(key) || !backbone.ValidID(customer) {
		http.Error(w, "want an Idempotency-Key, a customer and cents", http.StatusBadRequest)
		return
	}
	answer, err := r.Do(q.Context(), Book{Booking: id, Customer: customer, Cents: cents},
		backbone.WithID(key), backbone.By("customer:"+customer), backbone.WithTrace(telemetry.Traceparent(q.Context())))
	if err == nil {
		err = answer.Err() // a refusal is an answer
	}
	reply(w, "booked", err)
}

// reply says what became of a request.
func reply(w http.ResponseWriter, text string, err error) {
	refusal, refused := errors.AsType[*backbone.Refusal](err)
	status := http.StatusInternalServerError
	switch {
	case err == nil:
		fmt.Fprintln(w, text)
		return
	case refused:
		http.Error(w, refusal.Code, http.StatusConflict)
		return
	case errors.Is(err, backbone.ErrDifferentCommand):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, backbone.ErrNotParked):
		status = http.StatusNotFound
	case errors.Is(err, backbone.ErrOverloaded), errors.Is(err, backbone.ErrUnavailable), errors.Is(err, backbone.ErrPaused), errors.Is(err, backbone.ErrStopped):
		status = http.StatusServiceUnavailable // nothing was recorded: ask again later
	}
	http.Error(w, err.Error(), status)
}

// trips tells what a customer has booked.
func trips(ctx context.Context, r *backbone.Reader, customer string) (text string, err error) {
	rows, err := r.Query(ctx, `SELECT bookings, cents FROM {trips} WHERE customer = $1`, customer)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var n, cents int64
	if rows.Next() {
		err = rows.Scan(&n, &cents)
	}
	return fmt.Sprintf("%d trips for %d cents", n, cents), errors.Join(err, rows.Err())
}

// operators is for those who work there: keep it where customers do not come.
func operators(mux *http.ServeMux, r *backbone.Runtime) {
	mux.HandleFunc("POST /services/{service}/pause", func(w http.ResponseWriter, q *http.Request) {
		reply(w, "paused", r.Pause(q.Context(), q.PathValue("service")))
	})
	mux.HandleFunc("POST /services/{service}/resume", func(w http.ResponseWriter, q *http.Request) {
		reply(w, "resumed", r.Resume(q.Context(), q.PathValue("service")))
	})
	mux.HandleFunc("POST /services/{service}/views/{view}/rebuild", func(w http.ResponseWriter, q *http.Request) {
		reply(w, "rebuilt", r.Rebuild(q.Context(), q.PathValue("service"), q.PathValue("view"), nil))
	})
	mux.HandleFunc("GET /services/{service}/parked", func(w http.ResponseWriter, q *http.Request) {
		heads, err := r.Parked(q.Context(), q.PathValue("service"), "", 100)
		if err != nil {
			reply(w, "", err)
			return
		}
		for _, p := range heads {
			fmt.Fprintln(w, p.Key, p.State, p.Message.Type, p.Cause)
		}
	})
	mux.HandleFunc("POST /services/{service}/parked/edit", func(w http.ResponseWriter, q *http.Request) {
		data, err := io.ReadAll(io.LimitReader(q.Body, backbone.MaxData))
		if err != nil {
			reply(w, "", err)
			return
		}
		head, err := r.Parked(q.Context(), q.PathValue("service"), q.URL.Query().Get("key"), 1)
		if err == nil && len(head) == 0 {
			err = backbone.ErrNotParked
		}
		if err == nil {
			err = r.Edit(q.Context(), head[0], data, q.Header.Get("From"), q.URL.Query().Get("why"))
		}
		reply(w, "asked for", err)
	})
}
