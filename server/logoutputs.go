package server

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/server/telemetry"
)

// Words of log-outputs, which are those of etcd. All others are names of files.
const (
	toDefault = "default"
	toStderr  = "stderr"
	toStdout  = "stdout"
	toJournal = "systemd/journal"
)

// toFile is the kind of all outputs that are no word; the others are of the kind of their name.
const toFile = "file"

// Bounds of how long a disk or a pipe that hangs is waited for.
const (
	logOpenTime = 5 * time.Second // until a file is open
	logEndTime  = time.Second     // at the end, until what waits is written
)

// logTellTime is how often the log is told of its outputs at most: what it is told goes to them too.
const logTellTime = time.Second

// outputs are where the log goes. Lines wait there for who writes them: nobody who has something to tell is held up by
// a disk that is full or hangs, or by a pipe that nobody reads. A line that one of them does not take is lost there and
// counted. It is safe for concurrent use, and keeps lines apart.
type outputs struct {
	stderr  io.Writer
	lost    map[string]*atomic.Uint64 // lines, by kind
	changed chan struct{}             // has something in it when there is something to tell of one
	ending  chan struct{}

	mu    sync.Mutex
	list  []*output
	ended bool
}

// logNames returns the outputs of a setting, each once; an error says what is wrong with it.
func logNames(setting []string) (names []string, err error) {
	for _, name := range setting {
		switch {
		case len(setting) > 1 && (name == toDefault || name == toJournal):
			return nil, fmt.Errorf("log-outputs: %s stands alone, as with etcd; use stderr beside others", name)
		case name == toDefault || name == toJournal:
			name = toStderr
		case strings.Contains(name, "://"):
			return nil, fmt.Errorf("log-outputs %q: use stderr, stdout or the name of a file", name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{toStderr}
	}
	return names, nil
}

// logFiles returns those of them that are files, of a setting that was validated.
func logFiles(setting []string) []string {
	names, _ := logNames(setting)
	return slices.DeleteFunc(names, func(name string) bool { return name == toStderr || name == toStdout })
}

// openOutputs opens those of a setting; stderr is that of the process.
func openOutputs(setting []string, stderr io.Writer) (*outputs, error) {
	o := &outputs{
		stderr: stderr, lost: map[string]*atomic.Uint64{toStderr: {}, toStdout: {}, toFile: {}},
		changed: make(chan struct{}, 1), ending: make(chan struct{}),
	}
	list, err := o.open(setting)
	if err != nil {
		return nil, err
	}
	o.list = list
	return o, nil
}

// open opens all outputs of a setting, or none. Names of the same file are one output.
func (o *outputs) open(setting []string) (list []*output, err error) {
	names, err := logNames(setting)
	if err != nil {
		return nil, err
	}
	var files []os.FileInfo
	for _, name := range names {
		kind, path, to := name, "", io.Writer(os.Stdout)
		switch name {
		case toStderr:
			to = o.stderr
		case toStdout:
		default:
			file, err := waitFor(name, func() (*os.File, error) { return openLog(name) }, closeLog)
			if err != nil {
				closeAll(list)
				return nil, fmt.Errorf("log-outputs: %w", err)
			}
			info, err := file.Stat()
			if err == nil && slices.ContainsFunc(files, func(f os.FileInfo) bool { return os.SameFile(f, info) }) {
				closeLog(file)
				continue
			}
			kind, path, to, files = toFile, name, file, append(files, info)
		}
		list = append(list, newOutput(kind, path, to, o.lost[kind], o.changed))
	}
	return list, nil
}

// openLog opens a file of the log. It does not wait for a reader where that is a pipe.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
}

func closeLog(file *os.File) {
	file.Close() //nolint:errcheck // what was not written is counted
}

func closeAll(list []*output) {
	for _, one := range list {
		one.close()
	}
}

// waitFor returns what f has of a file within logOpenTime. What comes later is for late.
func waitFor[T any](path string, f func() (T, error), late func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	came := make(chan answer)
	timer := time.NewTimer(logOpenTime)
	defer timer.Stop()
	gone := make(chan struct{})
	go func() {
		value, err := f()
		select {
		case came <- answer{value, err}:
		case <-gone:
			if err == nil {
				late(value)
			}
		}
	}()
	select {
	case a := <-came:
		return a.value, a.err
	case <-timer.C:
		close(gone)
		return *new(T), fmt.Errorf("%s cannot be opened within %v: its disk hangs", path, logOpenTime)
	}
}

// Write implements io.Writer, for one line. It never fails, and waits for nothing until the end.
func (o *outputs) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		o.stderr.Write(line) //nolint:errcheck // nobody is left to count it
	}
	for _, one := range o.list {
		one.take(line)
	}
	return len(line), nil
}

// replace sends the log to what another setting says. With an error it goes where it went.
func (o *outputs) replace(setting []string) error {
	list, err := o.open(setting)
	if err != nil {
		return err
	}
	o.mu.Lock()
	before := o.list
	o.list = list
	o.mu.Unlock()
	closeAll(before)
	return nil
}

// reopen has the files opened anew, before the next line: they may have been renamed. One that cannot be opened stays
// what it was.
func (o *outputs) reopen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.list {
		one.reopen()
	}
}

// tell tells the log of outputs that lose lines, and of those that take them again, until the end.
func (o *outputs) tell(logger *slog.Logger) {
	for {
		select {
		case <-o.ending:
			return
		case <-o.changed:
		}
		o.mu.Lock()
		list := slices.Clone(o.list)
		o.mu.Unlock()
		for _, one := range list {
			one.tell(logger)
		}
		select {
		case <-o.ending:
			return
		case <-time.After(logTellTime):
		}
	}
}

// end writes what waits, and closes the files. What is told later goes to standard error.
func (o *outputs) end() {
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return
	}
	before := o.list
	o.list, o.ended = nil, true
	close(o.ending)
	o.mu.Unlock()
	closeAll(before)
	timer := time.NewTimer(logEndTime)
	defer timer.Stop()
	for _, one := range before {
		select {
		case <-one.closed:
		case <-timer.C:
			return
		}
	}
}

// reopenLog has the log begin new files.
func reopenLog(s *server) { s.outputs.reopen() }

// replaceLog sends the log to what the settings say.
func replaceLog(s *server, c *Config) {
	if err := s.outputs.replace(c.LogOutputs); err != nil {
		s.logger.Error("the log goes on where it went", "err", err)
	}
}

// NewLog returns a log to standard error of a process that has no settings for it: it waits for nobody either. end
// writes what waits, for a moment.
func NewLog(stderr io.Writer) (logger *slog.Logger, end func()) {
	o, _ := openOutputs(nil, stderr) // opens no file
	logger = slog.New(slog.NewTextHandler(o, nil))
	go o.tell(logger)
	return logger, o.end
}

// logMetrics are the figures of the log.
type logMetrics struct {
	telemetry.Unchecked
	outputs *outputs
}

var logLost = telemetry.Declare(telemetry.Counter, "mimir_log_lines_lost_total",
	"Lines of the log that were not written, or in part, by kind of output: stderr, stdout, file.", "output")

// Collect implements prometheus.Collector.
func (m logMetrics) Collect(out chan<- prometheus.Metric) {
	for kind, lost := range m.outputs.lost {
		logLost.Set(out, float64(lost.Load()), kind)
	}
}
