package pgstore

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

func channel(service string) string { return "bb_" + service }

// appendedTo has the listeners of services told, soon, up to where their logs have come: notifications of many
// commits are sent as one, outside their transactions.
func (s *Store) appendedTo(heads map[string]int64) {
	if s.pooled {
		return
	}
	s.mu.Lock()
	for service, head := range heads {
		s.appended[service] = max(s.appended[service], head)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// notify sends what appendedTo asks for. A notification that is lost costs a
// listener the time until it looks by itself.
func (s *Store) notify(ctx context.Context) {
	defer close(s.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		heads := s.appended
		s.appended = map[string]int64{}
		s.mu.Unlock()
		batch := &pgx.Batch{}
		for service, head := range heads {
			batch.Queue(notifyText, channel(service), strconv.FormatInt(head, 10))
		}
		if err := s.pool.SendBatch(ctx, batch).Close(); err != nil && ctx.Err() == nil {
			s.log.Warn("notification not sent", "error", err)
		}
	}
}

// Listen implements driver.Store. It connects again for as long as ctx lives, and
// wakes everybody whenever it has, since notifications may have been missed.
func (s *Store) Listen(ctx context.Context, services []string, wake func(service string, head int64, freed bool)) error {
	byChannel := map[string]string{}
	for _, service := range services {
		if err := s.Check(service); err != nil {
			return err
		}
		byChannel[channel(service)] = service
	}
	const first, most = 50 * time.Millisecond, 5 * time.Second
	pause := first
	for {
		err := s.listenOnce(ctx, byChannel, wake, func() { pause = first })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("listening to PostgreSQL was interrupted", "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, most)
	}
}

func (s *Store) listenOnce(ctx context.Context, byChannel map[string]string, wake func(string, int64, bool), connected func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.connection())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for name := range byChannel {
		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
	}
	connected()
	for _, service := range byChannel {
		wake(service, 0, true)
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if service, ok := byChannel[n.Channel]; ok {
			head, _ := strconv.ParseInt(n.Payload, 10, 64) // 0 where a program tells, or an earlier version
			wake(service, head, n.Payload == freed)
		}
	}
}

// freed is the payload of notifications that slices were given up.
const freed = "freed"

// Release implements driver.Slices. Processes that may take the slices are told before it returns, as the one that gives
// them up may be about to end.
func (s *Store) Release(ctx context.Context, service, subscription, owner string, held []int) error {
	if err := s.Core.Release(ctx, service, subscription, owner, held); err != nil || len(held) == 0 {
		return err
	}
	if _, err := s.pool.Exec(ctx, notifyText, channel(service), freed); err != nil {
		s.log.Warn("notification not sent", "error", err) // the others look by themselves
	}
	return nil
}
