package door

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Vault keeps the secrets of an authority under names, each as a whole. Safe for concurrent use.
type Vault interface {
	// Read returns what stands under a name; nil where nothing does.
	Read(ctx context.Context, name string) ([]byte, error)
	// Change replaces what stands under a name by what change makes of it, durably, and nobody else's change comes between.
	// change may be called several times.
	Change(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error
	// Where says for people where that is.
	Where(name string) string
}

// folder is a vault of files in a directory that only their owner can read. One process at a time uses it.
type folder struct {
	dir string
	mu  sync.Mutex
}

func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of signing keys: %w", err)
	}
	return &folder{dir: dir}, nil
}

// Where implements Vault.
func (f *folder) Where(name string) string { return filepath.Join(f.dir, name) }

// Read implements Vault.
func (f *folder) Read(_ context.Context, name string) ([]byte, error) {
	path := f.Where(name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %#o): run chmod 600 on it, and rotate the keys if somebody did", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// Change implements Vault.
func (f *folder) Change(ctx context.Context, name string, change func([]byte) ([]byte, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := f.Read(ctx, name)
	if err != nil {
		return err
	}
	data, err := change(old)
	if err != nil {
		return err
	}
	return f.write(name, data)
}

// write replaces a file as a whole: after a power cut the old or the new one is there.
func (f *folder) write(name string, data []byte) (err error) {
	file, err := os.CreateTemp(f.dir, name+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), f.Where(name)); err != nil {
		return err
	}
	return syncDir(f.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
