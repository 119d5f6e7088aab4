package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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

// outputs are where the log goes. A line that one of them does not take is lost there and counted, and nobody who has
// something to tell is held up by that. It is safe for concurrent use, and keeps lines apart.
type outputs struct {
	stderr io.Writer
	lost   map[string]*atomic.Uint64 // lines, by kind

	mu   sync.Mutex
	list []*output
}

// output is one of them.
type output struct {
	kind, path string
	to         io.Writer
	file       *os.File // nil if it is none that was opened here
	cut        bool     // the last line is there in part
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
	o := &outputs{stderr: stderr, lost: map[string]*atomic.Uint64{toStderr: {}, toStdout: {}, toFile: {}}}
	list, err := o.open(setting)
	if err != nil {
		return nil, err
	}
	o.list = list
	return o, nil
}

// open opens all outputs of a setting, or none.
func (o *outputs) open(setting []string) (list []*output, err error) {
	names, err := logNames(setting)
	for _, name := range names {
		one := &output{kind: name}
		switch name {
		case toStderr:
			one.to = o.stderr
		case toStdout:
			one.to = os.Stdout
		default:
			one.kind, one.path = toFile, name
			if one.file, err = openLog(name); err != nil {
				closeAll(list)
				return nil, fmt.Errorf("log-outputs: %w", err)
			}
			one.to = one.file
		}
		list = append(list, one)
	}
	return list, err
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

func closeAll(list []*output) {
	for _, one := range list {
		if one.file != nil {
			one.file.Close() //nolint:errcheck // each line was written when it was told
		}
	}
}

// Write implements io.Writer, for one line. It never fails.
func (o *outputs) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.list {
		if one.cut { // what is there of the last line is not to be the beginning of this one
			if n, _ := one.to.Write([]byte("\n")); n == 0 {
				o.lost[one.kind].Add(1)
				continue
			}
			one.cut = false
		}
		if n, err := one.to.Write(line); err != nil {
			o.lost[one.kind].Add(1)
			one.cut = n > 0
		}
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

// reopen opens the files anew: they may have been renamed. One that cannot be opened stays what it was.
func (o *outputs) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var wrong []error
	for _, one := range o.list {
		if one.file == nil {
			continue
		}
		next, err := openLog(one.path)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		one.file.Close() //nolint:errcheck // each line was written when it was told
		one.file, one.to, one.cut = next, next, false
	}
	return errors.Join(wrong...)
}

// end closes the files. What is told later goes to standard error.
func (o *outputs) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	closeAll(o.list)
	o.list = []*output{{kind: toStderr, to: o.stderr}}
}

// reopenLog has the log begin new files.
func reopenLog(s *server) {
	if err := s.outputs.reopen(); err != nil {
		s.logger.Error("a file of the log was not opened anew: the former goes on", "err", err)
	}
}

// replaceLog sends the log to what the settings say.
func replaceLog(s *server, c *Config) {
	if err := s.outputs.replace(c.LogOutputs); err != nil {
		s.logger.Error("the log goes on where it went", "err", err)
	}
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
