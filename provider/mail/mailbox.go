package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// MailboxConfig says where a Mailbox writes.
type MailboxConfig struct {
	// Path is the mbox file, created if it is not there. Required. One Mailbox writes to it at a time.
	Path string
	// From is the sender's address, "Shop <shop@example.org>". Required.
	From string
	// Now is the clock for dates. Default time.Now.
	Now func() time.Time
}

// Mailbox appends messages to a local file in mbox format (RFC 4155, lines that could be taken for the beginning of a
// message quoted the reversible way: every "From ", ">From ", ... gets one more ">"). It is for a shop that has no mail
// server yet: messages can be read with any mail reader, and nobody receives them.
//
// It is safe for concurrent use and writes each message with one write. It does not wait for the disk: what was sent
// shortly before a power cut can be gone, and so can what the operating system had not written yet. A message that is
// sent again stands in the file twice, with the same Message-ID.
type Mailbox struct {
	origin

	mu     sync.Mutex
	file   *os.File
	size   int64
	broken error // set when the end of the file is no longer known
}

// OpenMailbox opens or creates the file that config names. A message that a killed process left half written is closed
// off, so that it swallows no other.
func OpenMailbox(config MailboxConfig) (*Mailbox, error) {
	from, err := newOrigin(config.From, config.Now)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(config.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open mailbox: %w", err)
	}
	b := &Mailbox{origin: from, file: file}
	if err := b.closeOff(); err != nil {
		return nil, errors.Join(fmt.Errorf("open mailbox: %w", err), file.Close())
	}
	return b, nil
}

// closeOff makes the file end in an empty line, as every whole message does.
func (b *Mailbox) closeOff() error {
	info, err := b.file.Stat()
	if err != nil {
		return err
	}
	if b.size = info.Size(); b.size == 0 {
		return nil
	}
	end := make([]byte, min(2, b.size))
	if _, err := b.file.ReadAt(end, b.size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	missing := "\n\n"
	switch {
	case bytes.Equal(end, []byte("\n\n")):
		return nil
	case bytes.HasSuffix(end, []byte("\n")):
		missing = "\n"
	}
	n, err := b.file.WriteString(missing)
	b.size += int64(n)
	return err
}

// Send appends m. Its errors have class Permanent for a malformed message, Unavailable when nothing was written, and
// Unknown when the file can no longer be trusted.
func (b *Mailbox) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return &Error{Class: Unavailable, ID: m.ID, Err: err}
	}
	message, err := b.compose(m)
	if err != nil {
		return err
	}
	var wire, entry bytes.Buffer
	if _, err := message.WriteTo(&wire); err != nil {
		return &Error{Class: Permanent, ID: m.ID, Err: err}
	}
	entry.Grow(wire.Len() + 128)
	fmt.Fprintf(&entry, "From %s %s\n", b.address.Address, b.now().UTC().Format(time.ANSIC))
	quote(&entry, wire.Bytes())

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return &Error{Class: Unavailable, ID: m.ID, Err: b.broken}
	}
	n, err := b.file.Write(entry.Bytes())
	if err == nil {
		b.size += int64(n)
		return nil
	}
	if n == 0 {
		return &Error{Class: Unavailable, ID: m.ID, Err: err}
	}
	// A piece of the message is there, as on a full disk: it must go, or it would swallow the next one.
	if undo := b.file.Truncate(b.size); undo != nil {
		b.broken = fmt.Errorf("the mailbox ends in a piece of a message: %w", undo)
		return &Error{Class: Unknown, ID: m.ID, Err: errors.Join(err, undo)}
	}
	return &Error{Class: Unavailable, ID: m.ID, Err: err}
}

// quote writes a message as it stands in an mbox file: lines end in LF, what looks like a beginning is quoted, an empty
// line follows.
func quote(into *bytes.Buffer, wire []byte) {
	for line := range bytes.Lines(wire) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			into.WriteByte('>')
		}
		into.Write(line)
		into.WriteByte('\n')
	}
	into.WriteByte('\n')
}

// Close closes the file. Calling it again does nothing.
func (b *Mailbox) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.broken, os.ErrClosed) {
		return nil
	}
	b.broken = fmt.Errorf("mailbox: %w", os.ErrClosed)
	return b.file.Close()
}
