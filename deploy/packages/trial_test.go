//go:build unix

package packages

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/localfleet"
)

// source is the work tree, from here.
const source = "../.."

// patience is how long a machine that is busy may take for anything.
const patience = 2 * time.Minute

// stamp is what the packages of these tests say.
var stamp = build.Stamp{
	Version: "v1.2.3-rc.1", Commit: "0123456789abcdef0123456789abcdef01234567",
	Date: time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC),
}

// scratch is removed when all tests are through.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mimir-packages-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		scratch = dir
		syscall.Umask(0o077) // the strictest that anybody has: no package, no image depends on it
		return m.Run()
	}())
}

// buildOnce builds the binary of these tests.
var buildOnce = sync.OnceValues(func() (string, error) {
	to := filepath.Join(scratch, "mimir")
	return to, build.Binary(context.Background(), source, stamp, build.Target{OS: "linux", Arch: runtime.GOARCH}, to)
})

// program returns a binary for linux on this kind of processor.
func program(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is how something that was unpacked is run.
type process struct {
	root      string // directory that is / for it
	arguments []string
	variables []string
	directory string // that it may write to, made before it starts as whoever runs it would
	uid, gid  int
}

// command returns what runs it: in its own root and as its own user where that can be, else by paths below the root.
func (p *process) command(t *testing.T) *exec.Cmd {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("what was packed runs on linux alone")
	}
	data := filepath.Join(p.root, p.directory)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		c := exec.Command(filepath.Join(p.root, p.arguments[0]))
		for _, a := range p.arguments[1:] {
			if strings.HasPrefix(a, "/") {
				a = filepath.Join(p.root, a)
			}
			c.Args = append(c.Args, a)
		}
		c.Env = append([]string{"MIMIR_DATA_DIR=" + data + "/data"}, p.variables...)
		return c
	}
	if err := os.Chown(data, p.uid, p.gid); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(p.arguments[0], p.arguments[1:]...)
	c.Path, c.Err, c.Dir, c.Env = p.arguments[0], nil, "/", p.variables
	c.SysProcAttr = &syscall.SysProcAttr{
		Chroot: p.root, Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)},
	}
	return c
}

// run runs it to its end and returns what it printed.
func (p *process) run(t *testing.T) (out string, status int) {
	t.Helper()
	c := p.command(t)
	text, err := c.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s: %v", strings.Join(p.arguments, " "), err)
	}
	return string(text), c.ProcessState.ExitCode()
}

// node is a node that runs.
type node struct {
	client string // URL for clients
	stop   func()
}

// start starts a node that serves clients at the given address, and ends it with the test, in good order.
func (p *process) start(t *testing.T, client string) *node {
	t.Helper()
	c := p.command(t)
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatalf("start %s in %s: %v", strings.Join(p.arguments, " "), p.root, err)
	}
	stop := sync.OnceFunc(func() {
		c.Process.Signal(syscall.SIGTERM)
		hung := time.AfterFunc(patience, func() { c.Process.Kill() })
		defer hung.Stop()
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(p.arguments, " "), err, log.String())
		}
	})
	t.Cleanup(stop)
	return &node{"http://" + client, stop}
}

// call asks the JSON gateway until it answers.
func (n *node) call(t *testing.T, path string, question, answer any) {
	t.Helper()
	text, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		err = n.ask(t.Context(), path, text, answer)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s%s: %v", n.client, path, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *node) ask(ctx context.Context, path string, question []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.client+path, bytes.NewReader(question))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return json.Unmarshal(text, answer)
}

func coded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// put writes a key.
func (n *node) put(t *testing.T, key, value string) {
	t.Helper()
	var answer map[string]any
	n.call(t, "/v3/kv/put", map[string]string{"key": coded(key), "value": coded(value)}, &answer)
}

// get reads a key, linearizably.
func (n *node) get(t *testing.T, key string) string {
	t.Helper()
	var answer struct {
		KVs []struct{ Value string } `json:"kvs"`
	}
	n.call(t, "/v3/kv/range", map[string]string{"key": coded(key)}, &answer)
	if len(answer.KVs) != 1 {
		t.Fatalf("%d keys %q", len(answer.KVs), key)
	}
	value, err := base64.StdEncoding.DecodeString(answer.KVs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

// holds writes to the node and reads it back.
func (n *node) holds(t *testing.T) {
	t.Helper()
	n.put(t, "greeting", "hello")
	if got := n.get(t, "greeting"); got != "hello" {
		t.Errorf("greeting is %q", got)
	}
}

// addresses returns addresses on which nobody listens.
func addresses(t *testing.T, count int) []string {
	t.Helper()
	ports := localfleet.AnyPorts()
	t.Cleanup(func() { ports.Close() })
	list, err := ports.Next(count)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// root returns a directory that any user may enter, which is removed after the test.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "root-")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{scratch, dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// anybodys writes a file that any user may read, whatever the umask.
func anybodys(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// directories makes directories below a root that any user may enter, whatever the umask.
func directories(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := root
		for element := range strings.SplitSeq(name, "/") {
			path = filepath.Join(path, element)
			if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}
