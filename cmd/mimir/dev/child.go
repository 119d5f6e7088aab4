package dev

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// child is a running node.
type child struct {
	node    *Node
	command *exec.Cmd
	done    chan struct{} // closed when the process has ended
	err     error         // why, valid after done
}

// spawner starts processes from one thread that lives as long as the fleet: a child that is to die with its parent dies with
// the thread that started it.
type spawner struct{ requests chan func() }

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for start := range s.requests {
			start()
		}
	}()
	return s
}

func (s *spawner) close() { close(s.requests) }

// start runs arguments with the node's log as output.
func (s *spawner) start(n *Node, logPath string, arguments []string) (*child, error) {
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &child{node: n, command: exec.Command(arguments[0], arguments[1:]...), done: make(chan struct{})}
	c.command.Stdout, c.command.Stderr = log, log
	c.command.Env = environment()
	c.command.SysProcAttr = processAttributes()
	started := make(chan error)
	s.requests <- func() { started <- c.command.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		c.err = c.command.Wait()
		close(c.done)
	}()
	return c, nil
}

// environment is this process's own without MIMIR_ variables: those would configure every node alike.
func environment() []string {
	var kept []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MIMIR_") {
			kept = append(kept, pair)
		}
	}
	return kept
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop asks all children to end, and kills those that have not after grace, or at once when hurry is closed.
func stop(children []*child, grace time.Duration, hurry <-chan struct{}) {
	for _, c := range children {
		if c.running() {
			terminate(c.command.Process)
		}
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	for _, c := range children {
		select {
		case <-c.done:
			continue
		case <-late.C:
		case <-hurry:
		}
		for _, c := range children {
			if c.running() {
				c.command.Process.Kill()
			}
		}
		break
	}
	for _, c := range children {
		<-c.done
	}
}

// lastLine returns the last line of a log, "" if there is none.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 16 << 10
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		f.Seek(-tail, 2)
	}
	last := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			last = text
		}
	}
	return last
}
