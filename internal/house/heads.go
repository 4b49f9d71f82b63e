package house

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"example.org/souk/backbone"
)

// keepHead keeps the newest seal of a service's log in a file beside the database,
// so that a log whose end was cut off, or that was sealed anew, is found out. Copy
// the file to another machine to be safe from whoever can write here.
func (h *House) keepHead(service string, head backbone.Seal) error {
	data, err := json.Marshal(head)
	if err != nil {
		return err
	}
	path := headFile(h.cfg.Data, service)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func headFile(data, service string) string { return filepath.Join(data, "seal-"+service+".json") }

// Head returns the seal that was kept of a service's log, or the zero Seal.
func (h *House) Head(service string) (backbone.Seal, error) { return HeadIn(h.cfg.Data, service) }

// HeadIn is Head of a mall, or of one of its processes, that has this data directory.
func HeadIn(data, service string) (head backbone.Seal, err error) {
	path := headFile(data, service)
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return head, nil
	}
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return head, fmt.Errorf("%s: %w", path, err)
	}
	return head, nil
}
