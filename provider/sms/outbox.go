package sms

import (
	"context"
	"encoding/json"
	"errors"
	"os"
)

// Outbox appends messages to a file, one JSON object a line, readable by its owner only. It sends none.
type Outbox struct{ Path string }

// Send returns when the message is on disk. A message that is sent again stands there again.
func (o Outbox) Send(_ context.Context, m Message) error {
	if err := m.check(); err != nil {
		return &Error{Permanent, m.ID, 0, err}
	}
	if err := o.write(m); err != nil {
		return &Error{Unknown, m.ID, 0, err}
	}
	return nil
}

func (o Outbox) write(m Message) (err error) {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(o.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return file.Sync()
}
