package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mimir-kv/mimir/localfleet"
)

// memoryDir is where Linux keeps files in memory.
const memoryDir = "/dev/shm"

// farther is what a region that is far away does not share with the one here: its disk, and the processors of who loads
// the one here, of which it gets what they leave.
type farther struct {
	dir   string // in memory; "": there is no such place, and it is on the same disk
	ports *localfleet.Ports
}

// newFarther makes the place. The caller removes it.
func newFarther() (f farther, remove func()) {
	f.ports = localfleet.AnyPorts()
	dir, err := os.MkdirTemp(memoryDir, "bench-all-")
	if err != nil {
		return f, f.ports.Close
	}
	f.dir = dir
	return f, func() {
		f.ports.Close()
		_ = os.RemoveAll(dir) // it is in nobody's way
	}
}

// place says where the nodes are that are named, and leaves the others in dir.
func (f farther) place(dir string, names ...string) func(string) (localfleet.Place, error) {
	return func(node string) (localfleet.Place, error) {
		at := dir
		for _, name := range names {
			if name == node && f.dir != "" {
				at = f.dir
			}
		}
		return localfleet.PlaceOn(f.ports, filepath.Join(at, node))
	}
}

// behind is a command that has its turn on a processor when nobody else wants it.
func behind(command []string) []string {
	tool, err := exec.LookPath("nice")
	if err != nil {
		return command
	}
	return append([]string{tool, "-n", "19"}, command...)
}
