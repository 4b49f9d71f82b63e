//go:build unix && !linux

package testserver

import "syscall"

// ofItsOwnGroup puts a child into a process group of its own. Only Linux can also end it with its parent; elsewhere a
// test process that is killed leaves its children behind.
func ofItsOwnGroup(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
