package localfleet

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// process is a running node.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it has ended
}

// spawns receives what starts processes. One thread that never ends runs them all, because a process that is to die
// with its parent dies with the thread that started it.
var spawns = sync.OnceValue(func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range requests {
			start()
		}
	}()
	return requests
})

// startProcess runs arguments, with a file that it appends to as output, and none of this process's MIMIR_ variables.
func startProcess(logPath string, arguments []string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{command: exec.Command(arguments[0], arguments[1:]...), done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = Environment()
	p.command.SysProcAttr = attributes()
	started := make(chan error)
	spawns() <- func() { started <- p.command.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", arguments[0], err)
	}
	go func() {
		p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// Environment is this process's environment without MIMIR_ variables, which would configure every node alike.
func Environment() []string {
	var kept []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MIMIR_") {
			kept = append(kept, pair)
		}
	}
	return kept
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a power cut would, and returns when it is gone.
func (p *process) kill() {
	p.command.Process.Kill()
	<-p.done
}

// stopProcesses asks all to end, kills those that have not after grace, or at once when hurry is closed, and returns
// when all are gone.
func stopProcesses(all []*process, grace time.Duration, hurry <-chan struct{}) {
	for _, p := range all {
		terminate(p.command.Process)
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	for _, p := range all {
		select {
		case <-p.done:
			continue
		case <-late.C:
		case <-hurry:
		}
		for _, p := range all {
			p.command.Process.Kill()
		}
		break
	}
	for _, p := range all {
		<-p.done
	}
}
