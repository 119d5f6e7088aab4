package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

// pinning gives one processor to the primary, and the others to everything else.
type pinning struct {
	tool string // "": nothing is pinned
	rest string // processors of everything else
	all  string
}

// pin pins this process, which loads the servers, if the machine has taskset and processors to share out. The caller
// undoes it.
func pin() (p pinning, undo func()) {
	tool, err := exec.LookPath("taskset")
	n := runtime.NumCPU()
	if err != nil || n < 2 {
		return p, func() {}
	}
	p = pinning{tool: tool, rest: fmt.Sprintf("1-%d", n-1), all: fmt.Sprintf("0-%d", n-1)}
	if p.move(p.rest) != nil {
		return pinning{}, func() {}
	}
	return p, func() { _ = p.move(p.all) } // it was possible before
}

// move pins all threads of this process.
func (p pinning) move(to string) error {
	return exec.Command(p.tool, "-a", "-c", "-p", to, strconv.Itoa(os.Getpid())).Run()
}

// primary and others are commands that run there.
func (p pinning) primary(command []string) []string { return p.on("0", command) }

func (p pinning) others(command []string) []string { return p.on(p.rest, command) }

func (p pinning) on(processors string, command []string) []string {
	if p.tool == "" {
		return command
	}
	return append([]string{p.tool, "-c", processors}, command...)
}
