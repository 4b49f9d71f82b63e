package sqlitestore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"example.org/souk/backbone/driver"
)

// smallDisk names, in the process that has it, the directory on which a small disk is to be mounted.
const smallDisk = "SQLITESTORE_SMALL_DISK"

// A disk that is full just when the index of the write-ahead log has to grow refuses the commit, and takes commits again
// once there is room, without being opened anew. Red when that failure counts as a doubt about what is on the disk.
func TestNoRoomForTheIndexOfTheLog(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		fillAtTheIndex(t, dir)
		return
	}
	t.Parallel()
	child := exec.Command("unshare", "--map-root-user", "--mount", os.Args[0], "-test.run=^TestNoRoomForTheIndexOfTheLog$", "-test.v")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	if exec.Command("unshare", "--map-root-user", "--mount", "true").Run() != nil {
		t.Log("NOT TESTED: no disk can be mounted here")
		return
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillAtTheIndex(t *testing.T, dir string) {
	t.Helper()
	must(t, syscall.Mount("small", dir, "tmpfs", 0, "size=64m,mode=700"))
	defer func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	path := filepath.Join(dir, "test.db")
	s := open(t, path)
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: "orders"}}))
	reader, err := s.Query(t.Context(), "SELECT name FROM sqlite_master") // keeps the log from beginning anew
	must(t, err)
	defer func() { must(t, reader.Close()) }()
	if !reader.Next() {
		t.Fatalf("no row: %v", reader.Err())
	}
	n := 0 // what does not change is not written
	write := func() error { n++; return s.SetValue(t.Context(), "orders", "n", strconv.AppendInt(nil, int64(n), 10)) }
	// The first part of the index holds 4,062 frames; each commit here is a frame.
	const frame, first = 4096 + 24, 4062
	frames := func() int64 {
		info, err := os.Stat(path + "-wal")
		must(t, err)
		return (info.Size() - 32) / frame
	}
	for n < 2*first && frames() < first-3 {
		must(t, write())
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	must(t, err)
	page := make([]byte, 4096)
	size := int64(0)
	for err == nil {
		_, err = f.Write(page)
		size += int64(len(page))
	}
	// Room for some frames, and for no further part of the index, which has eight pages.
	must(t, f.Truncate(size-6*int64(len(page))))
	must(t, f.Close())
	var refused error
	for tries := 0; tries < 10 && refused == nil; tries++ {
		refused = write()
	}
	if !errors.Is(refused, driver.ErrFull) {
		t.Fatalf("a disk without room answers: %v", refused)
	}
	if got := frames(); got < first {
		t.Fatalf("it was full at frame %d already", got)
	}
	must(t, os.Remove(filler))
	must(t, write())
	intact(t, s)
}
