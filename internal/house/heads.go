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
	path := h.headFile(service)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (h *House) headFile(service string) string {
	return filepath.Join(h.cfg.Data, "seal-"+service+".json")
}

// Head returns the seal that was kept of a service's log, or the zero Seal.
func (h *House) Head(service string) (head backbone.Seal, err error) {
	data, err := os.ReadFile(h.headFile(service))
	if os.IsNotExist(err) {
		return head, nil
	}
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return head, fmt.Errorf("%s: %w", h.headFile(service), err)
	}
	return head, nil
}
