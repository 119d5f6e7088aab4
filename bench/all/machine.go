package main

import (
	"bytes"
	"fmt"
	"os"
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
