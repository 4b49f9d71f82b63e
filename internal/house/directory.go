package house

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// own takes the lock of a data directory whose database is elsewhere, and returns by which name leases know whoever has it. A process
// that begins again after it was killed has the same name, so it goes on at once with what it held, where others would have to wait for
// the end of its leases. A copy of the directory has another name.
func own(dir string) (name string, release func() error, err error) {
	path := filepath.Join(dir, "process")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return "", nil, fmt.Errorf("another process uses the data directory %s: give each its own", dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("lock %s: %w", path, err)
	}
	seed, err := io.ReadAll(io.LimitReader(file, 64))
	if err != nil {
		return "", nil, err
	}
	if len(seed) == 0 {
		seed = []byte(rand.Text() + "\n")
		if _, err := file.WriteAt(seed, 0); err != nil {
			return "", nil, err
		}
		if err := file.Sync(); err != nil {
			return "", nil, err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return "", nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	node := uint64(0)
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		node = s.Ino
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", strings.TrimSpace(string(seed)), host, node))
	return hex.EncodeToString(sum[:12]), func() error {
		return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close()) // a child that was just forked has the file too
	}, nil
}
