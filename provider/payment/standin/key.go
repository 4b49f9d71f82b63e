package standin

import "example.org/souk/provider/internal/admin"

// KeyFile returns the API key or the secret of callbacks in a file, which is
// written first, with a new one that only its owner can read, where it does not exist.
func KeyFile(path string) (string, error) { return admin.KeyFile(path) }
