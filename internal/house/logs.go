package house

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/gateway/rpc"
	"example.org/souk/internal/peers"
)

const (
	// logReads bounds the pieces of logs of other processes that are read at once: each is held in memory until it is handled.
	logReads = 8
	// logPatience bounds how long one piece may take.
	logPatience = time.Minute
	// logMessage bounds a message of a piece, in bytes: what the other side puts into one is half a megabyte of data, or one record.
	logMessage = 4 << 20
)

// othersLogs reads the logs of services whose databases are not reached from here: the processes that run them are asked. It is safe for
// concurrent use. Where nobody can be asked now, or the answer is cut off, the error wraps driver.ErrUnavailable.
type othersLogs struct {
	client  *http.Client
	reading chan struct{} // has room for those who read now
}

func newOthersLogs(client *http.Client) *othersLogs {
	return &othersLogs{client: client, reading: make(chan struct{}, logReads)}
}

func (l *othersLogs) of(service string) soukv1connect.LogServiceClient {
	return soukv1connect.NewLogServiceClient(l.client, peers.URL(service), connect.WithGRPC(), connect.WithReadMaxBytes(logMessage))
}

// Head implements driver.Log.
func (l *othersLogs) Head(ctx context.Context, service string) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	r, err := l.of(service).GetHead(bounded, connect.NewRequest(&soukv1.GetHeadRequest{Service: service}))
	if err != nil {
		return 0, unreadLog(ctx, service, err)
	}
	return r.Msg.GetPosition(), nil
}

// Read implements driver.Log. It cannot select by Target or Ref.
func (l *othersLogs) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if q.Target != "" || q.Ref != "" {
		return nil, errors.New("a log of another process is not read by target or ref")
	}
	select {
	case l.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.reading }()
	bounded, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	request := &soukv1.ReadLogRequest{
		Service: service, After: q.After, Until: q.Until, Limit: int64(q.Limit), Types: q.Types, Stream: q.Stream, Id: q.ID,
		Correlation: q.Correlation, Descending: q.Descending,
	}
	if q.Limit <= 0 {
		request.Limit = defaultRead
	}
	for _, k := range q.Kinds {
		request.Kinds = append(request.Kinds, soukv1.RecordKind(k)) // the numbers are the same
	}
	stream, err := l.of(service).ReadLog(bounded, connect.NewRequest(request))
	if err != nil {
		return nil, unreadLog(ctx, service, err)
	}
	defer func() { _ = stream.Close() }() // its error is told by Err
	var list []driver.Record
	bytes := 0
	for stream.Receive() {
		for _, r := range stream.Msg().GetRecords() {
			list = append(list, backbone.RecordOf(rpc.MessageOf(service, r)))
			if bytes += len(r.GetData()); q.Bytes > 0 && bytes >= q.Bytes {
				return list, nil
			}
		}
	}
	if err := stream.Err(); err != nil { // also where it was cut off: what came is no whole piece
		return nil, unreadLog(ctx, service, err)
	}
	return list, nil
}

// defaultRead is the limit of a driver.ReadQuery that names none.
const defaultRead = 1000

// unreadLog says why a log was not read. What the other side refuses for good stays refused; everything else may go by.
func unreadLog(ctx context.Context, service string, err error) error {
	switch code := connect.CodeOf(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case slices.Contains([]connect.Code{
		connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeUnimplemented,
	}, code) && connect.IsWireError(err):
		return fmt.Errorf("the log of %s: %w", service, rpc.ErrorOf(err))
	}
	return fmt.Errorf("the log of %s: %w: %w", service, driver.ErrUnavailable, err)
}
