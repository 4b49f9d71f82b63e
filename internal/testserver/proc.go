package testserver

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// processState reads from Linux's /proc in what state a process is ("R" running, "T" stopped, "Z" ended and not
// collected, ...) and whose child it is. There is no such process when ok is false.
func processState(pid int) (state byte, parent int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	// pid (program name, which may hold anything) state parent ...
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}

// alive tells whether a process still runs; one that has ended and waits to be collected does not.
func alive(pid int) bool {
	state, _, ok := processState(pid)
	return ok && state != 'Z' && state != 'X'
}

// stopped tells whether a process stands still, or has ended.
func stopped(pid int) bool {
	state, _, ok := processState(pid)
	return !ok || state == 'T' || state == 'Z' || state == 'X'
}

// childrenOf returns the running children of a process.
func childrenOf(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := processState(id); ok && parent == pid && alive(id) {
			children = append(children, id)
		}
	}
	return children, nil
}
