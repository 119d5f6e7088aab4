package packages

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// room is a part of this machine that is set apart: processes, mounts, a network with nothing but the loopback, and a
// hierarchy of cgroups, all its own. Its first process ends when the pipe does that the test holds, and the kernel ends
// all others with it, so that nothing is left of a test that failed or was killed.
type room struct {
	t   *testing.T
	pid int // whose namespaces they are
	log *output
}

// setApart is how a room begins.
const setApart = `set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
echo apart
`

// aRoom returns a room in which the script was begun. It ends with the test.
func aRoom(t *testing.T, script string) *room {
	t.Helper()
	needs(t, "unshare", "nsenter", "mount", "ip")
	group, err := os.Open(aGroup(t))
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	c := exec.Command("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child",
		"--mount-proc", "sh", "-c", setApart+script+"\nread -r end\n")
	c.SysProcAttr = within(group)
	held, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &room{t: t, log: &output{}}
	c.Stderr = r.log
	if err := c.Start(); err != nil {
		t.Fatalf("set a room apart: %v", err)
	}
	r.pid = c.Process.Pid
	lines := bufio.NewReader(out)
	begun, err := lines.ReadString('\n')
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines.WriteTo(r.log)
	}()
	t.Cleanup(func() {
		held.Close()
		<-read
		c.Wait()
		if t.Failed() {
			t.Logf("the room said\n%s", r.log)
		}
	})
	if err != nil || begun != "apart\n" {
		held.Close()
		<-read
		t.Skipf("no room can be set apart on this machine: %s%s", begun, r.log)
	}
	return r
}

// within has a process begin in a cgroup.
func within(group *os.File) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
}

// output is what several say at once.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// needs skips the test where a tool is not there, or may not do what it is for.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("rooms of their own are made by root alone")
	}
}

var unified = regexp.MustCompile(`(?m)^\S+ \S+ \S+ / (\S+) .* - cgroup2 `)

// aGroup returns the directory of a cgroup for one room, which goes after the test, when nobody is in it any more.
func aGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	where := unified.FindSubmatch(mounts)
	if where == nil {
		t.Skip("the unified hierarchy of cgroups is not mounted")
	}
	dir, err := os.MkdirTemp(string(where[1]), "mimir-room-")
	if err != nil {
		t.Skipf("no cgroup of its own: %v", err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			err := removeGroup(dir)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("a cgroup is left: %v", err)
				return
			}
		}
	})
	return dir
}

// removeGroup removes a cgroup with those below it.
func removeGroup(dir string) error {
	below, err := os.ReadDir(dir)
	for _, e := range below {
		if err == nil && e.IsDir() {
			err = removeGroup(filepath.Join(dir, e.Name()))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// run runs a script in the room to its end, and returns what it said.
func (r *room) run(script string) (out string, status int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	of := fmt.Sprintf("/proc/%d/ns/", r.pid)
	c := exec.CommandContext(ctx, "nsenter", "--mount="+of+"mnt", "--net="+of+"net", "--ipc="+of+"ipc",
		"--uts="+of+"uts", "--cgroup="+of+"cgroup", "--pid="+of+"pid_for_children", "sh", "-c", script)
	text, err := c.CombinedOutput()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) || ctx.Err() != nil {
		r.t.Fatalf("%s: %v\n%s", script, errors.Join(err, ctx.Err()), text)
	}
	return string(text), c.ProcessState.ExitCode()
}

// shell runs a script to its end.
type shell func(script string) (out string, status int)

// in returns a shell of the room that begins each script so.
func (r *room) in(begin string) shell {
	return func(script string) (string, int) { return r.run(begin + script) }
}

// does runs a script that ends at what fails, and is to succeed.
func (sh shell) does(t *testing.T, script string) (out string) {
	t.Helper()
	out, status := sh("set -e\n" + script)
	t.Logf("%s%d\n%s", script, status, out)
	if status != 0 {
		t.Fatalf("it ended with %d:\n%s\n%s", status, script, out)
	}
	return out
}

// asks sends a question to the JSON gateway of the node at the default address, until the answer has a word.
func (sh shell) asks(t *testing.T, path, question, word string) {
	t.Helper()
	eventually(t, path+" of "+question+" is answered with "+word, func() (bool, string) {
		out, status := sh(fmt.Sprintf("curl -sS -m 5 http://127.0.0.1:2379%s -d '%s'\n", path, question))
		return status == 0 && strings.Contains(out, word), out
	})
}

// puts writes a key, gets reads one.
func (sh shell) puts(t *testing.T, key, value string) {
	t.Helper()
	sh.asks(t, "/v3/kv/put", fmt.Sprintf(`{"key":"%s","value":"%s"}`, coded(key), coded(value)), `"revision"`)
}

func (sh shell) gets(t *testing.T, key, value string) {
	t.Helper()
	sh.asks(t, "/v3/kv/range", fmt.Sprintf(`{"key":"%s"}`, coded(key)), `"value":"`+coded(value)+`"`)
}

// docs returns a page.
func docs(t *testing.T, page string) string {
	t.Helper()
	return string(read(t, filepath.Join(source, "docs", page)))
}

var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// block returns the only block of a kind that begins so on a page.
func block(t *testing.T, page, kind, beginning string) string {
	t.Helper()
	list := blocks(t, page, kind, beginning)
	if len(list) != 1 {
		t.Fatalf("%s has %d blocks of %s that begin %q", page, len(list), kind, beginning)
	}
	return list[0]
}

// blocks returns the blocks of a kind that begin so on a page.
func blocks(t *testing.T, page, kind, beginning string) (list []string) {
	t.Helper()
	for _, m := range fenced.FindAllStringSubmatch(docs(t, page), -1) {
		if m[1] == kind && strings.HasPrefix(m[2], beginning) {
			list = append(list, m[2])
		}
	}
	return list
}

// eventually asks until something is so.
func eventually(t *testing.T, what string, is func() (so bool, seen string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		so, seen := is()
		if so {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s\n%s", patience, what, seen)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
