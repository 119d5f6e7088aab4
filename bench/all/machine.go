package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of /proc/PID/stat, the same on every Linux.
const ticksPerSecond = 100

// processorTime returns what processes have used, ok false where the system does not say.
func processorTime(pids []int) (total time.Duration, ok bool) {
	for _, pid := range pids {
		p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, false
		}
		d, err := ticks(p)
		if err != nil {
			return 0, false
		}
		total += d
	}
	return total, len(pids) > 0
}

// ticks reads utime and stime of a stat file: the 12th and 13th words behind the name, which may hold anything.
func ticks(stat []byte) (time.Duration, error) {
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(words) < 13 {
		return 0, fmt.Errorf("stat of %d words", len(words))
	}
	var sum int64
	for _, word := range words[11:13] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticksPerSecond, nil
}

const megabyte = 1_000_000

// Lines of /proc/PID/status: what a process has resident, and the most that it had since it started.
const (
	memoryNow  = "VmRSS"
	memoryPeak = "VmHWM"
)

// residentBytes is the memory that processes have, ok false where the system does not say.
func residentBytes(pids []int) (total int64, ok bool) {
	for _, pid := range pids {
		n, ok := statusBytes(pid, memoryNow)
		if !ok {
			return 0, false
		}
		total += n
	}
	return total, len(pids) > 0
}

// statusBytes is a line of the status of a process, ok false where the system does not say.
func statusBytes(pid int, name string) (bytes int64, ok bool) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	n, err := inStatus(string(p), name)
	return n, err == nil
}

// inStatus reads a line of a status file, which is in kibibytes.
func inStatus(status, name string) (int64, error) {
	for line := range strings.Lines(status) {
		if of, value, _ := strings.Cut(line, ":"); of == name {
			text, _ := strings.CutSuffix(strings.TrimSpace(value), " kB")
			n, err := strconv.ParseInt(text, 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("status without %s", name)
}

// threadsTime is what the threads of a process have used, more closely than processorTime tells; threads that ended are
// left out, of which Go has few. Where the system does not say, it is processorTime.
func threadsTime(pid int) (total time.Duration, ok bool) {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is none that is wrong
	for _, path := range all {
		p, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		d, err := onProcessor(string(p))
		if err != nil {
			return processorTime([]int{pid})
		}
		total += d
	}
	if total == 0 {
		return processorTime([]int{pid})
	}
	return total, true
}

// onProcessor reads a schedstat file, whose first word are nanoseconds.
func onProcessor(schedstat string) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(schedstat), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(n), err
}

// atRest waits until servers do next to nothing: they have written to their tables, and compacted, what was put before.
func atRest(ctx context.Context, pids ...int) error {
	const look = 500 * time.Millisecond
	before, known := threadsTimes(pids)
	for calm := 0; known && calm < 3; {
		if !until(ctx, time.Now().Add(look)) {
			return fmt.Errorf("servers are still busy with what was put: %w", context.Cause(ctx))
		}
		var now time.Duration
		if now, known = threadsTimes(pids); now-before < time.Duration(len(pids))*look/20 {
			calm++
		} else {
			calm = 0
		}
		before = now
	}
	return nil
}

// threadsTimes is what the threads of processes have used together.
func threadsTimes(pids []int) (total time.Duration, ok bool) {
	for _, pid := range pids {
		one, known := threadsTime(pid)
		if !known {
			return 0, false
		}
		total += one
	}
	return total, true
}
