package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The log goes to all of its outputs; at SIGHUP files are opened anew, and others take their places.
func TestWhereTheLogGoes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	has := func(name, line string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has %q", name, line), func(context.Context) bool {
			text, err := os.ReadFile(path(name))
			return err == nil && strings.Contains(string(text), line)
		})
	}
	c, log := testConfig(t, "solo"), &logged{}
	c.LogOutputs = []string{toStderr, path("a"), path("b"), path("a")}
	read, told := make(chan []string, 1), make(chan struct{})
	stop := runNodeWith(t, c, Options{LogTo: log, HungUp: told, Reload: func() (*Config, error) {
		next := *c
		next.LogOutputs = <-read
		return &next, nil
	}})
	has("a", "msg=serving")
	has("b", "msg=serving")
	eventually(t, "standard error has it too", func(context.Context) bool {
		return strings.Contains(log.String(), "msg=serving")
	})
	if text, err := os.ReadFile(path("a")); err != nil || strings.Count(string(text), "msg=serving") != 1 {
		t.Errorf("a file that is named twice: %s, %v", text, err)
	}
	if info, err := os.Stat(path("a")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	if err := os.Rename(path("a"), path("a.1")); err != nil {
		t.Fatal(err)
	}
	read <- c.LogOutputs
	told <- struct{}{}
	has("a", "settings read anew")
	if text, _ := os.ReadFile(path("a.1")); strings.Contains(string(text), "settings read anew") {
		t.Error("the file that was renamed is written")
	}

	read <- []string{path("gone") + "/x"}
	told <- struct{}{}
	has("a", "settings not read anew: all stay as they are")
	read <- []string{path("c d")} // a name that its text as a variable leads back to as well
	told <- struct{}{}
	has("c d", "setting=log-outputs")
	before, _ := os.ReadFile(path("a"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path("a")); len(after) != len(before) {
		t.Errorf("a file that is no output any more has %s", after[len(before):])
	}
	has("c d", "msg=stopping")
}

// A log that cannot be opened is refused at the start, and by a check, which makes nothing.
func TestALogThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(t, "solo")
	c.LogOutputs = []string{filepath.Join(dir, "ok"), filepath.Join(dir, "gone", "log")}
	err := Run(t.Context(), c, Options{LogTo: &logged{}})
	if !errors.Is(err, ErrConfig) || !errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), "log-outputs: ") {
		t.Errorf("got %v", err)
	}
	os.Remove(c.LogOutputs[0])
	_, wrong := checked(t, "--name=a", "--region=r", "--data-dir="+filepath.Join(dir, "data"),
		"--listen-client=127.0.0.1:0", "--advertise-client=a:1", "--listen-peer=127.0.0.1:0", "--advertise-peer=a:2",
		"--log-outputs="+strings.Join(c.LogOutputs, ","))
	if len(wrong) != 1 || !strings.Contains(wrong[0], "log-outputs: ") {
		t.Errorf("checked: %q", wrong)
	}
	if _, err := os.Stat(c.LogOutputs[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a check made a log: %v", err)
	}
	for _, setting := range []string{"default,x", "x,systemd/journal", "http://x"} {
		c.LogOutputs = strings.Split(setting, ",")
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "log-outputs") {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, setting := range []string{"", toDefault, toJournal, toStderr} {
		if files := logFiles(split(setting)); len(files) > 0 {
			t.Errorf("%s: files %q", setting, files)
		}
	}
}

// small takes as many bytes as it has room for.
type small struct {
	text strings.Builder
	room int
}

func (s *small) Write(p []byte) (int, error) {
	n := min(len(p), s.room)
	s.room -= n
	s.text.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no room")
	}
	return n, nil
}

// settled waits until nothing waits for an output.
func (o *output) settled(t *testing.T) {
	t.Helper()
	eventually(t, "what waits for an output is written or lost", func(context.Context) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.bytes == 0
	})
}

// What an output does not take is lost there and counted; the others have it, nobody hears of an error, and what was
// written in part does not become the beginning of another line.
func TestLinesThatAreLost(t *testing.T) {
	full, other := &small{room: 6}, &logged{}
	o, err := openOutputs(nil, other)
	if err != nil {
		t.Fatal(err)
	}
	lossy := newOutput(toFile, "", full, o.lost[toFile], o.changed)
	o.list = append(o.list, lossy)
	tell := func(line string) {
		t.Helper()
		if n, err := o.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	tell("one\n")
	tell("two\n") // in part
	tell("three\n")
	lossy.settled(t)
	full.room = 100
	tell("four\n")
	o.end()
	if got, want := full.text.String(), "one\ntw\nfour\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := other.String(), "one\ntwo\nthree\nfour\n"; got != want {
		t.Errorf("the other has %q, want %q", got, want)
	}
	if n := o.lost[toFile].Load(); n != 2 || o.lost[toStderr].Load() != 0 {
		t.Errorf("%d lines are lost", n)
	}
}

// hung takes nothing until it is let go.
type hung struct {
	logged
	until chan struct{}
}

func (h *hung) Write(p []byte) (int, error) {
	<-h.until
	return h.logged.Write(p)
}

// An output that hangs holds nobody up, and what waits for it has a bound: more is lost there and counted. The others
// have everything, are told that lines are lost, and how many were when it goes on.
func TestAnOutputThatHangs(t *testing.T) {
	other, hangs := &logged{}, &hung{until: make(chan struct{})}
	o, err := openOutputs(nil, other)
	if err != nil {
		t.Fatal(err)
	}
	stuck := newOutput(toFile, "", hangs, o.lost[toFile], o.changed)
	o.list = append(o.list, stuck)
	logger := slog.New(slog.NewTextHandler(o, nil))
	go o.tell(logger)
	const lines = 3 * mostWaiting / (1 << 10)
	for i := range lines {
		logger.Info("line", "n", i, "text", strings.Repeat("x", 1<<10))
		if i%100 == 0 {
			o.list[0].settled(t)
		}
	}
	eventually(t, "the other is told", func(context.Context) bool {
		return strings.Contains(other.String(), "an output of the log takes no lines")
	})
	o.list[0].settled(t)
	if n := strings.Count(other.String(), "msg=line"); n != lines {
		t.Errorf("the other has %d lines of %d", n, lines)
	}
	lost := o.lost[toFile].Load()
	if lost < lines/2 || lost > lines+1 || o.lost[toStderr].Load() != 0 {
		t.Errorf("%d lines are lost of %d", lost, lines)
	}
	stuck.mu.Lock()
	if stuck.bytes > mostWaiting {
		t.Errorf("%d bytes wait", stuck.bytes)
	}
	stuck.mu.Unlock()
	close(hangs.until)
	eventually(t, "the other is told how many were lost", func(context.Context) bool {
		return strings.Contains(other.String(), "takes lines again") && strings.Contains(other.String(),
			fmt.Sprintf("lost=%d", o.lost[toFile].Load()))
	})
	o.end()
	all := strings.Count(other.String(), "\n") // what is told of it too
	if n := strings.Count(hangs.String(), "\n"); n+int(lost) != all {
		t.Errorf("it has %d lines of %d, and %d are lost", n, all, lost)
	}
}

// The end waits a moment for an output that hangs, and a file that is to be opened anew on a disk that hangs keeps
// nobody.
func TestTheEndOfAnOutputThatHangs(t *testing.T) {
	hangs := &hung{until: make(chan struct{})}
	defer close(hangs.until)
	o, err := openOutputs(nil, hangs)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(o, "line")
	o.reopen()
	if err := o.replace([]string{filepath.Join(t.TempDir(), "log")}); err != nil {
		t.Error(err)
	}
	o.list = append(o.list, newOutput(toFile, "", hangs, o.lost[toFile], o.changed))
	fmt.Fprintln(o, "line")
	ended := make(chan struct{})
	go func() {
		o.end()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the end waits for an output that hangs")
	}
}

// A file that is named in two ways is one output.
func TestNamesOfOneLog(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "log"), filepath.Join(dir, "link")
	if err := os.Symlink(path, other); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	o, err := openOutputs([]string{path, other, dir + "/./log"}, &logged{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(o, "line")
	o.end()
	if text, err := os.ReadFile(path); string(text) != "line\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// A node whose log is on a full disk serves, and tells how much is lost.
func TestALogOnAFullDisk(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("this machine has no such device: ", err)
	}
	c := testConfig(t, "solo")
	c.LogOutputs = []string{full}
	runNode(t, c)
	client := etcdClient(t, c, TLS{})
	eventually(t, "the node serves and says what is lost", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		page, failed := getHTTP(c.ClientURL()+"/metrics", nil)
		return err == nil && failed == nil &&
			strings.Contains(page, "\nmimir_log_lines_lost_total{output=\"file\"} ") &&
			!strings.Contains(page, "\nmimir_log_lines_lost_total{output=\"file\"} 0\n")
	})
}
