package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
	read <- []string{path("c")}
	told <- struct{}{}
	has("c", "setting=log-outputs")
	before, _ := os.ReadFile(path("a"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path("a")); len(after) != len(before) {
		t.Errorf("a file that is no output any more has %s", after[len(before):])
	}
	has("c", "msg=stopping")
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

// What an output does not take is lost there and counted; the others have it, nobody hears of an error, and what was
// written in part does not become the beginning of another line.
func TestLinesThatAreLost(t *testing.T) {
	full, other := &small{room: 6}, &logged{}
	o, err := openOutputs(nil, other)
	if err != nil {
		t.Fatal(err)
	}
	o.list = append(o.list, &output{kind: toFile, to: full})
	tell := func(line string) {
		t.Helper()
		if n, err := o.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	tell("one\n")
	tell("two\n") // in part
	tell("three\n")
	full.room = 100
	tell("four\n")
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
