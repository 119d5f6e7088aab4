package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// fed is a line of a feed.
type fed struct {
	Type, Revision, Key, Value, After, Token string
	Given                                    bool
}

// fedOf returns the whole lines of a feed, without those that say only how far it is.
func fedOf(t *testing.T, out string) (lines []fed) {
	t.Helper()
	for text := range strings.Lines(out) {
		if !strings.HasSuffix(text, "\n") {
			break
		}
		var l fed
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if l.Type != "resolved" {
			lines = append(lines, l)
		}
	}
	return lines
}

// feeds is a feed that runs in this process.
type feeds struct {
	t         *testing.T
	out, errs *output
	status    chan int
	kill      func()
}

func startFeed(t *testing.T, endpoints string, more ...string) *feeds {
	ctx, kill := context.WithCancel(t.Context())
	f := &feeds{t: t, out: &output{}, errs: &output{}, status: make(chan int, 1), kill: kill}
	arguments := append([]string{"feed", "--endpoints", endpoints, "--heartbeat", "100ms"}, more...)
	go func() { f.status <- run(ctx, nil, arguments, f.out, f.errs) }()
	t.Cleanup(kill)
	return f
}

// until waits for a line.
func (f *feeds) until(what string, is func(fed) bool) (found fed) {
	f.t.Helper()
	eventually(f.t, what, func() bool {
		for _, l := range fedOf(f.t, f.out.String()) {
			if is(l) {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// ends waits for the end, and returns the last line.
func (f *feeds) ends(status int, says string) (last fed) {
	f.t.Helper()
	eventually(f.t, "the feed has ended", func() bool { return len(f.status) == 1 })
	lines := fedOf(f.t, f.out.String())
	if got := <-f.status; got != status || !strings.Contains(f.errs.String(), says) || len(lines) == 0 {
		f.t.Fatalf("status %d: %s%s", got, f.out, f.errs)
	}
	return lines[len(lines)-1]
}

func compactAll(t *testing.T, endpoint, revision string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := strconv.ParseInt(revision, 10, 64)
	if err == nil {
		_, err = c.Compact(t.Context(), n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ofKey(key string) func(fed) bool { return func(l fed) bool { return l.Key == key } }

// A feed is killed and goes on, at another region that does not have all that was printed; it says what is void, and
// goes on behind that, or with a copy. What is compacted ends it.
func TestFeedEndsAndGoesOn(t *testing.T) {
	us, eu := etcdapitest.StartPlain(t), etcdapitest.StartPlain(t)
	for _, n := range []*etcdapitest.Node{us, eu} {
		put(t, n.Endpoint, "shared")
	}
	f := startFeed(t, us.Endpoint, "--revision", "2", "--prefix", "")
	at := f.until("what is there", ofKey("shared"))
	f.kill()
	f.ends(exitDone, "")
	put(t, us.Endpoint, "lost")
	f = startFeed(t, us.Endpoint, "--token", at.Token)
	lost := f.until("what came meanwhile", ofKey("lost"))
	f.kill()
	if f.ends(exitDone, ""); lost.Revision != "3" || lost.Value != "value of lost" {
		t.Errorf("%+v", lost)
	}

	eu.FailOver(t, 2, 2)
	put(t, eu.Endpoint, "after")
	void := startFeed(t, eu.Endpoint, "--token", lost.Token).ends(exitVoid, "cut off the history behind revision 2")
	if void.Type != "void" || void.After != at.Revision || !void.Given || void.Token == "" {
		t.Errorf("%+v", void)
	}
	f = startFeed(t, eu.Endpoint, "--token", void.Token)
	after := f.until("what is behind that", ofKey("after"))
	f.kill()
	f.ends(exitDone, "")
	f = startFeed(t, eu.Endpoint, "--token", lost.Token, "--snapshot")
	f.until("a copy", func(l fed) bool { return l.Type == "copied" })
	f.kill()
	if last := f.ends(exitDone, ""); last.Type != "copied" || f.until("its keys", ofKey("after")).Type != "key" {
		t.Errorf("%s", f.out)
	}
	if status, _, errs := mimir(t, "feed", "--endpoints", eu.Endpoint, "--token", lost.Token, "--prefix",
		"a"); status != exitUsage || !strings.Contains(errs, "other keys") {
		t.Errorf("%d: %s", status, errs)
	}
	compactAll(t, eu.Endpoint, after.Revision)
	startFeed(t, eu.Endpoint, "--revision", "2").ends(exitCompacted, "--snapshot")
}

// A feed that goes on at a fleet that was begun anew under its name ends, and says so.
func TestFeedOfAFleetThatWasBegunAnew(t *testing.T) {
	was, is := etcdapitest.StartPlain(t), etcdapitest.StartPlain(t)
	put(t, was.Endpoint, "before")
	for _, key := range []string{"after", "and more"} {
		put(t, is.Endpoint, key)
	}
	f := startFeed(t, was.Endpoint, "--revision", "2")
	at := f.until("what is there", ofKey("before"))
	f.kill()
	f.ends(exitDone, "")
	startFeed(t, is.Endpoint, "--token", at.Token).ends(exitCompacted, "begin with a copy: --snapshot")
}

// A feed is a process that is killed, between two lines or within one.
func TestFeedIsKilled(t *testing.T) {
	n := etcdapitest.StartPlain(t)
	put(t, n.Endpoint, "first")
	put(t, n.Endpoint, "second")
	c := exec.Command(os.Args[0], "feed", "--endpoints", n.Endpoint, "--revision", "2")
	c.Env = append(os.Environ(), "RUN_AS_MIMIR=1")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Wait() //nolint:errcheck // it is killed
	defer c.Process.Kill()
	in, text := bufio.NewReader(out), ""
	for !strings.Contains(text, `"first"`) {
		more, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		text += more
	}
	c.Process.Kill()
	lines := fedOf(t, text+`{"type":"put","revision":"3","ch`)
	f := startFeed(t, n.Endpoint, "--token", lines[len(lines)-1].Token)
	f.until("the other one", ofKey("second"))
	f.kill()
	if f.ends(exitDone, ""); len(fedOf(t, f.out.String())) != 2 {
		t.Errorf("%s", f.out)
	}
}

// A feed logs in, and ends at once where its user may not read.
func TestFeedLogsIn(t *testing.T) {
	n := etcdapitest.StartPlain(t)
	put(t, n.Endpoint, "a/1")
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{n.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for _, do := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "r00t"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "reader", "r"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reads"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "reader", "reads"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reads", "a/", "a0", clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	f := startFeed(t, n.Endpoint, "--user", "reader:r", "--prefix", "a/", "--snapshot")
	f.until("the copy", ofKey("a/1"))
	f.kill()
	f.ends(exitDone, "")
	for _, more := range [][]string{{"--user", "reader:r"}, {"--user", "reader:r", "--from-key", "a/"}, {}} {
		arguments := append([]string{"feed", "--endpoints", n.Endpoint}, more...)
		if status, _, errs := mimir(t, arguments...); status != exitFailed {
			t.Errorf("%q: %d %s", more, status, errs)
		}
	}
}
