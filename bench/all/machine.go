package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// calibration is about how long spin takes on a machine of these years that does nothing else.
const calibration = 60 * time.Millisecond

// spun keeps the arithmetic from being left out.
var spun atomic.Uint64

// spin times a fixed piece of arithmetic in one thread: it takes longer by what others take of the processor.
func spin() time.Duration {
	began := time.Now()
	x := uint64(88172645463325252)
	for range 40_000_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	spun.Add(x)
	return time.Since(began)
}

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

// Machine is where a run was made.
type Machine struct {
	System     string `json:"system"`
	Processors int    `json:"processors"`
	Model      string `json:"model,omitempty"`
}

func thisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU()}
	p, _ := os.ReadFile("/proc/cpuinfo") // elsewhere it is not there
	for line := range strings.Lines(string(p)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}
