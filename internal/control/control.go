// Package control carries out what the command line asks of a mall: through the
// socket in its data directory where one runs, else in this process, which then
// takes the directory's lock. Of a mall in several processes it reads the
// databases, and asks the processes for what they alone can do.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/house"
)

// Args are the arguments of an operation, by name.
type Args map[string]string

// Emit takes one row of an operation's result; rows are structs or messages that
// encode to JSON objects. A note is no row: people are told it beside them.
type Emit func(row any) error

// note is what people have to know of the rows, such as that there are more.
type note string

// cut is the note of a list that ends before its end.
func cut(n int64, longer string) note {
	return note(fmt.Sprintf("%d are shown, and there are more: %s", n, longer))
}

// operation is what can be asked of a mall.
type operation struct {
	run func(ctx context.Context, h *house.House, a Args, emit Emit) error
	// reads says that it needs no running services.
	reads bool
	// bare says that it needs no tables that are up to date either.
	bare bool
	// alone says that it cannot be done while a mall runs.
	alone bool
}

// ErrRunning says that a mall runs on the data directory.
var ErrRunning = errors.New("a mall runs on this data directory; stop it first")

// Socket returns the path of a data directory's socket.
func Socket(data string) string { return filepath.Join(data, "souk.sock") }

// socketLimit is the length up to which every system takes the path of a socket.
const socketLimit = 103

// through calls use with a path of the data directory's socket. One that is longer than systems take is reached by a link
// from the directory for temporary files, which is there for as long as use lasts.
func through[T any](data string, use func(path string) (T, error)) (T, error) {
	path := Socket(data)
	if len(path) <= socketLimit {
		return use(path)
	}
	var none T
	whole, err := filepath.Abs(data)
	if err != nil {
		return none, err
	}
	dir, err := os.MkdirTemp("", "souk-")
	if err != nil {
		return none, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it holds a link, to what is not removed
	link := filepath.Join(dir, "data")
	if err := os.Symlink(whole, link); err != nil {
		return none, err
	}
	return use(Socket(link))
}

// dial connects to the data directory's socket.
func dial(ctx context.Context, data string) (net.Conn, error) {
	return through(data, func(path string) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) })
}

const maxArgs = 1 << 20

// Listen opens the data directory's socket, which only the owner of the directory
// can reach. From then on commands wait there for Serve.
func Listen(ctx context.Context, data string) (net.Listener, error) {
	path := Socket(data)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // the directory's lock is ours, so nobody listens there
	}
	l, err := through(data, func(path string) (net.Listener, error) { return (&net.ListenConfig{}).Listen(ctx, "unix", path) })
	if err != nil {
		return nil, err
	}
	if len(path) > socketLimit { // by then the path that it was made by leads nowhere
		l.(*net.UnixListener).SetUnlinkOnClose(false)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers commands until ctx ends.
func Serve(ctx context.Context, h *house.House, l net.Listener) error {
	server := &http.Server{Handler: handler(h), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// line is one line of an answer: a row, a note, or the error that ended it.
type line struct {
	Row   json.RawMessage `json:"row,omitempty"`
	Note  string          `json:"note,omitempty"`
	Error string          `json:"error,omitempty"`
}

// lineOf is the line of what an operation emits.
func lineOf(row any) (line, error) {
	if n, ok := row.(note); ok {
		return line{Note: string(n)}, nil
	}
	data, err := json.Marshal(row)
	return line{Row: data}, err
}

// told hands on what a line tells.
func (l line) told(noted func(string), emit func(json.RawMessage) error) error {
	switch {
	case l.Error != "":
		return errors.New(l.Error)
	case l.Note != "":
		if noted != nil {
			noted(l.Note)
		}
		return nil
	}
	return emit(l.Row)
}

func handler(h *house.House) http.Handler {
	all := operations()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, known := all[r.URL.Path[1:]]
		var a Args
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxArgs)).Decode(&a)
		if !known || err != nil {
			http.Error(w, "unknown operation or arguments", http.StatusBadRequest)
			return
		}
		out := json.NewEncoder(w)
		flush := http.NewResponseController(w)
		err = op.run(r.Context(), h, a, func(row any) error {
			l, err := lineOf(row)
			if err != nil {
				return err
			}
			if err := out.Encode(l); err != nil {
				return err
			}
			return flush.Flush()
		})
		if err != nil {
			_ = out.Encode(line{Error: err.Error()}) // the other side may be gone
		}
	})
}

// Running reports whether a mall runs on a data directory.
func Running(ctx context.Context, data string) bool {
	conn, err := dial(ctx, data)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was asked
	return true
}

// Mall says which mall is meant.
type Mall struct {
	Data string
	// DB is the databases of a mall in several processes; "": it runs, or ran, in one, on the data directory.
	DB string
	// Broker is the URL of the broker that carries its messages, for what is to be read there; a mall that runs knows its own.
	Broker string
	Added  []*backbone.Service
	// Waiting is told, if it is there, what a call waits for because a mall begins or ends just now.
	Waiting func(error)
	// Noted is told, if it is there, what is to be known of the rows.
	Noted func(string)
}

// Call runs an operation on a mall: on the one that runs, or else in this process.
func Call(ctx context.Context, m Mall, name string, a Args, emit func(json.RawMessage) error) error {
	if m.DB != "" {
		return here(ctx, m, name, a, emit)
	}
	waiting := m.Waiting
	if waiting == nil {
		waiting = func(error) {}
	}
	return turn(ctx, waiting, func() (inTheWay bool, err error) {
		err = askRunning(ctx, m.Data, name, a, m.Noted, emit)
		if errors.Is(err, errNobody) {
			err = here(ctx, m, name, a, emit)
		}
		return errors.Is(err, sqlitestore.ErrInUse), err
	})
}

// errNobody says that no mall runs on a data directory.
var errNobody = errors.New("no mall runs here")

// Ask has the mall that runs on a data directory run an operation; where none does, it fails.
func Ask(ctx context.Context, data, name string, a Args, emit func(json.RawMessage) error) error {
	return askRunning(ctx, data, name, a, nil, emit)
}

func askRunning(ctx context.Context, data, name string, a Args, noted func(string), emit func(json.RawMessage) error) error {
	conn, err := dial(ctx, data)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w", errNobody, err)
	case err != nil:
		return err
	}
	defer func() { _ = conn.Close() }()
	if operations()[name].alone {
		return ErrRunning
	}
	return ask(ctx, conn, name, a, noted, emit)
}

func ask(ctx context.Context, conn net.Conn, name string, a Args, noted func(string), emit func(json.RawMessage) error) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://souk/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // it only explains the status
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		if err := l.told(noted, emit); err != nil {
			return err
		}
	}
	return lines.Err()
}

// here runs an operation in this process.
func here(ctx context.Context, m Mall, name string, a Args, emit func(json.RawMessage) error) (err error) {
	op, known := operations()[name]
	if !known {
		return fmt.Errorf("unknown operation %q", name)
	}
	if _, err := os.Stat(filepath.Join(m.Data, "souk.db")); err != nil && m.DB == "" {
		return fmt.Errorf("no mall runs on %s, and no database lies there; start one with: souk --data %s up", m.Data, m.Data)
	}
	h, err := house.Open(ctx, house.Config{
		Data: m.Data, DB: m.DB, Broker: m.Broker, Quiet: true, Empty: true, Added: m.Added, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	switch {
	case op.bare, m.DB != "": // its processes have begun it, and run it
	case op.reads:
		err = h.Migrate(ctx)
	default:
		err = h.Start(ctx)
	}
	if err != nil {
		return err
	}
	return op.run(ctx, h, a, func(row any) error {
		l, err := lineOf(row)
		if err != nil {
			return err
		}
		return l.told(m.Noted, emit)
	})
}
