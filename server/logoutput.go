package server

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// mostWaiting is how many bytes of lines wait for an output at most, with what each costs beside its text.
const (
	mostWaiting = 4 << 20
	lineCost    = 64
)

// output is one of those of the log. One goroutine writes it, and alone waits for what hangs.
type output struct {
	kind, path string
	lost       *atomic.Uint64
	changed    chan<- struct{}
	wake       chan struct{}
	closed     chan struct{} // what waited is written, and the file is closed

	mu      sync.Mutex
	waiting [][]byte // nil: the file is to be opened anew
	bytes   int
	closing bool
	losing  bool   // the last line that ended was lost
	missing uint64 // lines that were lost since it began to lose
	told    bool   // the log was told of that
	wrong   error  // why the file was not opened anew; nil once that was told

	// Of the goroutine alone.
	to  io.Writer
	cut bool // the last line is there in part
}

// newOutput returns one that writes to to, which is closed in the end if it is a file with a path.
func newOutput(kind, path string, to io.Writer, lost *atomic.Uint64, changed chan<- struct{}) *output {
	o := &output{kind: kind, path: path, lost: lost, changed: changed, wake: make(chan struct{}, 1),
		closed: make(chan struct{}), to: to}
	go o.run()
	return o
}

// take has a line written, or loses it.
func (o *output) take(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+len(line)+lineCost > mostWaiting {
		o.lose()
		return
	}
	o.add(append(make([]byte, 0, len(line)), line...))
}

// reopen has the file opened anew before the next line.
func (o *output) reopen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := len(o.waiting) - 1; o.path != "" && (last < 0 || o.waiting[last] != nil) {
		o.add(nil)
	}
}

// close ends it, once everything is written that waits. It does not wait for that.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	notify(o.wake)
}

// add adds to what waits. mu is held.
func (o *output) add(line []byte) {
	o.waiting = append(o.waiting, line)
	o.bytes += len(line) + lineCost
	notify(o.wake)
}

// lose counts a line that was lost. mu is held.
func (o *output) lose() {
	o.lost.Add(1)
	o.missing++
	if !o.losing {
		o.losing = true
		notify(o.changed)
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes what waits, until it is closed.
func (o *output) run() {
	defer close(o.closed)
	for {
		o.mu.Lock()
		list, closing := o.waiting, o.closing
		o.waiting = nil
		o.mu.Unlock()
		for _, line := range list {
			if line == nil {
				o.begin()
			} else {
				o.wrote(line, o.write(line))
			}
		}
		if len(list) > 0 {
			continue
		}
		if closing {
			if file, is := o.to.(*os.File); is && o.path != "" {
				closeLog(file)
			}
			return
		}
		<-o.wake
	}
}

// wrote tells what became of a line.
func (o *output) wrote(line []byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= len(line) + lineCost
	switch {
	case err != nil:
		o.lose()
	case o.losing && o.bytes < mostWaiting/2:
		o.losing = false
		notify(o.changed)
	}
}

// write writes a line. What is there of the one before is not to be the beginning of this one.
func (o *output) write(line []byte) error {
	if o.cut {
		if n, err := o.to.Write([]byte("\n")); n == 0 {
			return err
		}
		o.cut = false
	}
	n, err := o.to.Write(line)
	o.cut = err != nil && n > 0
	return err
}

// begin opens the file anew.
func (o *output) begin() {
	next, err := openLog(o.path)
	if err == nil {
		closeLog(o.to.(*os.File))
		o.to, o.cut = next, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= lineCost
	if err != nil {
		o.wrong = err
		notify(o.changed)
	}
}

// tell tells the log what has changed.
func (o *output) tell(logger *slog.Logger) {
	o.mu.Lock()
	wrong, losing, told, missing := o.wrong, o.losing, o.told, o.missing
	o.wrong, o.told = nil, losing
	if !losing {
		o.missing = 0
	}
	o.mu.Unlock()
	if wrong != nil {
		logger.Error("a file of the log was not opened anew: the former goes on", "err", wrong)
	}
	switch {
	case losing && !told:
		logger.Error("an output of the log takes no lines: they are lost there, and nobody waits for it",
			"output", o.kind, "file", o.path)
	case !losing && missing > 0:
		logger.Warn("an output of the log takes lines again", "output", o.kind, "file", o.path, "lost", missing)
	}
}
