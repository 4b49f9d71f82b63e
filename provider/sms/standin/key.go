package standin

import "example.org/souk/provider/internal/admin"

// KeyFile returns the API key in a file, which it makes with a new one where it is not there.
func KeyFile(path string) (string, error) { return admin.KeyFile(path) }
