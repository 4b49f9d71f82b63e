package rpc

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
)

var logPolicy = map[string]Access{
	"ReadLog": machinery,
	"GetHead": machinery,
}

// logFace reads the logs of the services that run here.
type logFace struct{ *server }

func serveLog(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewLogServiceHandler(logFace{s}, o...)
}

// Bounds of one message of ReadLog, and of what it may be asked.
const (
	chunkRecords = 512
	chunkBytes   = 512 << 10
	maxTypes     = 256
)

// here returns the reader of a service that runs here.
func (s *server) here(service string) (*backbone.Reader, error) {
	if err := validID("service", service); err != nil {
		return nil, err
	}
	if !slices.Contains(s.Run, service) {
		return nil, backbone.ErrNotHandled
	}
	return s.Reader(service), nil
}

func (h logFace) GetHead(ctx context.Context, r *connect.Request[soukv1.GetHeadRequest]) (*connect.Response[soukv1.GetHeadResponse], error) {
	reader, err := h.here(r.Msg.GetService())
	if err != nil {
		return nil, err
	}
	head, err := reader.Head(ctx)
	return done(&soukv1.GetHeadResponse{Position: head}, unread(err))
}

func (h logFace) ReadLog(ctx context.Context, r *connect.Request[soukv1.ReadLogRequest], stream *connect.ServerStream[soukv1.ReadLogResponse]) error {
	reader, err := h.here(r.Msg.GetService())
	if err != nil {
		return err
	}
	q, err := queryOf(r.Msg)
	if err != nil {
		return err
	}
	head, err := reader.Head(ctx)
	if err != nil {
		return unread(err)
	}
	if q.Until == 0 || q.Until > head {
		q.Until = head
	}
	left, bounded := r.Msg.GetLimit(), r.Msg.GetLimit() > 0
	for (left > 0 || !bounded) && q.After < q.Until {
		q.Limit = chunkRecords
		if bounded {
			q.Limit = int(min(left, chunkRecords))
		}
		list, err := reader.Log(ctx, q)
		if err != nil {
			return unread(err)
		}
		if len(list) == 0 {
			return nil
		}
		answer := &soukv1.ReadLogResponse{}
		for _, m := range list {
			answer.Records = append(answer.Records, recordOf(m))
		}
		if err := send(ctx, stream, answer); err != nil {
			return err
		}
		left -= int64(len(list))
		if last := list[len(list)-1].Position; q.Descending {
			q.Until = last - 1
		} else {
			q.After = last
		}
		select {
		case <-h.Closing:
			return backbone.ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
	return nil
}

func queryOf(r *soukv1.ReadLogRequest) (q backbone.ReadQuery, err error) {
	q = backbone.ReadQuery{
		After: r.GetAfter(), Until: r.GetUntil(), Bytes: chunkBytes, Types: r.GetTypes(), Stream: r.GetStream(), ID: r.GetId(),
		Correlation: r.GetCorrelation(), Descending: r.GetDescending(),
	}
	err = cmp.Or(
		notNegative("after", q.After), notNegative("until", q.Until), notNegative("limit", r.GetLimit()),
		shortText("stream", q.Stream), shortText("id", q.ID), shortText("correlation", q.Correlation),
	)
	for _, k := range r.GetKinds() {
		if _, known := soukv1.RecordKind_name[int32(k)]; !known || k == soukv1.RecordKind_RECORD_KIND_UNSPECIFIED {
			return q, wrong("kinds", "has a kind that there is not")
		}
		if kind := backbone.Kind(k); !slices.Contains(q.Kinds, kind) { // the numbers are the same
			q.Kinds = append(q.Kinds, kind)
		}
	}
	if len(q.Types) > maxTypes {
		return q, wrong("types", fmt.Sprintf("must have at most %d entries", maxTypes))
	}
	for i, t := range q.Types {
		if t == "" {
			return q, wrong(fmt.Sprintf("types[%d]", i), "must not be empty")
		}
		err = cmp.Or(err, shortText(fmt.Sprintf("types[%d]", i), t))
	}
	return q, err
}

// MessageOf reads a record of a service's log as ReadLog has sent it.
func MessageOf(service string, r *soukv1.Record) *backbone.Message {
	return &backbone.Message{
		Meta: backbone.Meta{
			ID: r.GetId(), Time: r.GetTime().AsTime(), Actor: r.GetActor(), Correlation: r.GetCorrelation(), Causation: r.GetCausation(),
			Trace: r.GetTrace(), ReplyTo: r.GetReplyTo(),
		},
		Source: service, Kind: backbone.Kind(r.GetKind()), Type: r.GetType(), Stream: r.GetStream(), Position: r.GetPosition(),
		Version: r.GetVersion(), Sequence: r.GetSequence(), Target: r.GetTarget(), Ref: r.GetRef(), Data: r.GetData(),
	}
}

func recordOf(m *backbone.Message) *soukv1.Record {
	return &soukv1.Record{
		Position: m.Position, Kind: soukv1.RecordKind(m.Kind), Id: m.ID, Ref: m.Ref, Stream: m.Stream, Version: m.Version, Sequence: m.Sequence,
		Type: m.Type, Data: m.Data, Time: timeOf(m.Time), Target: m.Target, Actor: m.Actor, Correlation: m.Correlation,
		Causation: m.Causation, Trace: m.Trace, ReplyTo: m.ReplyTo,
	}
}
