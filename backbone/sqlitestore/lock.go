package sqlitestore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"example.org/souk/backbone/driver"
)

// owner is the operating system's lock on a database: a file beside it that
// holds the process id while the database is open, and "clean" after it was
// closed in good order.
type owner struct {
	file    *os.File
	unclean bool // the owner before did not close the database
}

const clean = "clean\n"

// ErrInUse says that another process, or another Store of this one, has the
// database. It comes with driver.ErrUnavailable.
var ErrInUse = errors.New("database is in use")

func lock(path string) (*owner, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(file, 64))
		_ = file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%w by process %s (it holds %s): %w",
			ErrInUse, strings.TrimSpace(string(holder)), path, driver.ErrUnavailable)
	}
	before, err := io.ReadAll(io.LimitReader(file, 64))
	if err == nil {
		err = mark(file, strconv.Itoa(os.Getpid())+"\n")
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &owner{file: file, unclean: string(before) != clean}, nil
}

// mark replaces the file's content.
func mark(file *os.File, text string) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return file.Sync()
}

// release gives the lock up; inGoodOrder records that the database was closed. To close the file would not be enough: a program that this one is just
// starting has it too until it runs.
func (o *owner) release(inGoodOrder bool) error {
	var err error
	if inGoodOrder {
		err = mark(o.file, clean)
	}
	return errors.Join(err, syscall.Flock(int(o.file.Fd()), syscall.LOCK_UN), o.file.Close())
}
