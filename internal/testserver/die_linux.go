package testserver

import "syscall"

// ofItsOwnGroup puts a child into a process group of its own, and has the kernel send it signal when the thread that
// started it, and so at the latest this process, ends.
func ofItsOwnGroup(signal syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: signal}
}
