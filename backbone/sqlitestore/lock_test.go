package sqlitestore

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A lock that is given up is free, though a child that was just forked still has the file. Red when the file is closed and the lock is not taken off.
func TestAForkDoesNotKeepTheLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "souk.db.lock")
	first, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(first.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(child) }()
	if _, err := lock(path); err == nil {
		t.Fatal("two have it")
	}
	if err := first.release(true); err != nil {
		t.Fatal(err)
	}
	second, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if second.unclean {
		t.Error("it was closed in good order")
	}
	if err := second.release(true); err != nil {
		t.Error(err)
	}
}
