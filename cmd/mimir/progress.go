package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows how far long work is: on a terminal as one line that changes, elsewhere as a plain line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	total    uint64
	unit     string
	began    time.Time
	next     time.Time
	shown    bool
}

func startProgress(out io.Writer, total uint64, unit string) *progress {
	p := &progress{out: out, total: total, unit: unit, began: time.Now(), terminal: isTerminal(out)}
	p.next = p.began.Add(p.interval())
	return p
}

func (p *progress) interval() time.Duration {
	if p.terminal {
		return 200 * time.Millisecond
	}
	return 10 * time.Second
}

// step tells what is done so far. It is cheap.
func (p *progress) step(done uint64) {
	if done%256 != 0 {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(p.interval()), true
	elapsed := now.Sub(p.began)
	left := time.Duration(float64(elapsed) * float64(p.total-min(done, p.total)) / float64(done))
	line := fmt.Sprintf("%d of %d %s, %.0f/s, %s left", done, p.total, p.unit, float64(done)/elapsed.Seconds(),
		left.Round(time.Second))
	if p.terminal {
		again(p.out, line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

// found tells what was found so far, where nobody knows how much there is.
func (p *progress) found(done, bytes int64) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(p.interval()), true
	line := fmt.Sprintf("%d %s, %d MB, %.0f/s", done, p.unit, bytes>>20, float64(done)/now.Sub(p.began).Seconds())
	if p.terminal {
		again(p.out, line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

func (p *progress) end() {
	if p.terminal && p.shown {
		again(p.out, "")
	}
}
