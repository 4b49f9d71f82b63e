package house

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/internal/peers"
)

// Rebuild makes a view again, in this process or in one that runs its service; see backbone.Runtime.Rebuild.
func (h *House) Rebuild(ctx context.Context, service, view string, progress func(backbone.RebuildProgress)) error {
	if h.here(service) {
		return h.Runtime.Rebuild(ctx, service, view, progress)
	}
	client := soukv1connect.NewControlServiceClient(h.peers.Client(), peers.URL(service), connect.WithGRPC())
	stream, err := client.RebuildView(ctx, connect.NewRequest(&soukv1.RebuildViewRequest{Service: service, View: view}))
	if err != nil {
		return wrong(err)
	}
	defer func() { _ = stream.Close() }() // its error is told by Err
	for stream.Receive() {
		m := stream.Msg()
		progress(backbone.RebuildProgress{
			Service: service, View: view, Done: m.GetDone(), Total: m.GetTotal(), Rate: m.GetEventsPerSecond(), Remaining: m.GetRemaining().AsDuration(),
		})
	}
	return wrong(stream.Err())
}

// steered is a process as others steer it.
type steered struct {
	*backbone.Runtime
	house *House
}

// InFlight says what is in flight here.
func (s steered) InFlight(ctx context.Context) (string, error) { return s.house.inFlightHere(ctx) }

// inFlightHere says what is in flight in this process, and on PostgreSQL what is to be done for its services by whichever process: what one
// left behind that died, and what waits while the database was away for longer than a lease, nobody has in hand.
func (h *House) inFlightHere(ctx context.Context) (string, error) {
	if h.cfg.DB == "" {
		return h.Runtime.InFlight(ctx)
	}
	return h.Runtime.UnsettledHere(ctx)
}

// heeded is how long processes are given to heed a pause that they are told of. It is noted as well, where they look every second.
const heeded = 2 * time.Second

// Pause stops a service's handling; see backbone.Runtime.Pause. The processes that run it are told, so that it is stopped when Pause returns,
// but in those that did not answer, which it names: they stop when they have looked, if they still run.
func (h *House) Pause(ctx context.Context, service string) (silent []string, err error) {
	return h.steer(ctx, service, h.Runtime.Pause, func(ctx context.Context, c soukv1connect.ControlServiceClient) error {
		_, err := c.PauseService(ctx, connect.NewRequest(&soukv1.PauseServiceRequest{Service: service}))
		return err
	})
}

// Resume ends a pause, as Pause begins it.
func (h *House) Resume(ctx context.Context, service string) (silent []string, err error) {
	return h.steer(ctx, service, h.Runtime.Resume, func(ctx context.Context, c soukv1connect.ControlServiceClient) error {
		_, err := c.ResumeService(ctx, connect.NewRequest(&soukv1.ResumeServiceRequest{Service: service}))
		return err
	})
}

func (h *House) steer(ctx context.Context, service string, note func(context.Context, string) error,
	tell func(context.Context, soukv1connect.ControlServiceClient) error,
) (silent []string, err error) {
	if err := note(ctx, service); err != nil || h.peers == nil || !h.cfg.Quiet {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, heeded)
	defer cancel()
	var mu sync.Mutex
	err = h.eachProcess(ctx, service, func(p peers.Process, c soukv1connect.ControlServiceClient) error {
		if err := tell(ctx, c); err != nil {
			why := fmt.Sprintf("did not answer within %s", heeded)
			if ctx.Err() == nil {
				why = fmt.Sprintf("could not be told: %v", wrong(err))
			}
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, fmt.Sprintf("process %s (%s) %s", p.ID, strings.Join(p.Parts, ", "), why))
		}
		return nil // who is not told looks
	})
	slices.Sort(silent)
	return silent, err
}

// each asks every process that runs a part, "" for all, at once, since however many there are all should be asked about the same moment. It
// returns when all have answered.
func (h *House) each(ctx context.Context, part string, ask func(soukv1connect.ControlServiceClient) error) error {
	return h.eachProcess(ctx, part, func(_ peers.Process, c soukv1connect.ControlServiceClient) error { return ask(c) })
}

func (h *House) eachProcess(ctx context.Context, part string, ask func(peers.Process, soukv1connect.ControlServiceClient) error) error {
	list, err := h.peers.Processes(ctx)
	if err != nil {
		return err
	}
	if part != "" {
		list = slices.DeleteFunc(list, func(p peers.Process) bool { return !slices.Contains(p.Parts, part) })
	}
	errs := make([]error, len(list))
	var asking sync.WaitGroup
	for i, p := range list {
		asking.Go(func() {
			client := soukv1connect.NewControlServiceClient(h.peers.To(p), peers.URL(p.Parts[0]), connect.WithGRPC())
			if err := ask(p, client); err != nil {
				errs[i] = fmt.Errorf("process %s (%v): %w", p.ID, p.Parts, err)
			}
		})
	}
	asking.Wait()
	return errors.Join(errs...)
}

// InFlight says for people what is in flight, "" for nothing: in this process, or in all of a mall that runs as several. Those are idle when
// all say so in two rounds, no log has grown between them, and nothing is to be done for a service that no process runs: the databases tell
// that, to the command line, which may read all of them.
func (h *House) InFlight(ctx context.Context) (string, error) {
	if h.peers == nil || !h.cfg.Quiet {
		return h.inFlightHere(ctx)
	}
	before, busy, err := h.round(ctx)
	if err != nil || busy != "" {
		return busy, err
	}
	after, busy, err := h.round(ctx)
	if err != nil || busy != "" {
		return busy, err
	}
	if !maps.Equal(before, after) {
		return "a log has grown", nil
	}
	return h.Runtime.Unsettled(ctx)
}

// round asks every process once.
func (h *House) round(ctx context.Context) (heads map[string]int64, busy string, err error) {
	var mu sync.Mutex
	heads = map[string]int64{}
	err = h.each(ctx, "", func(c soukv1connect.ControlServiceClient) error {
		r, err := c.GetInFlight(ctx, connect.NewRequest(&soukv1.GetInFlightRequest{}))
		if err != nil {
			return wrong(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if busy == "" {
			busy = r.Msg.GetInFlight()
		}
		for service, head := range r.Msg.GetHeads() {
			heads[service] = max(heads[service], head)
		}
		return nil
	})
	return heads, busy, err
}
