//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
	"github.com/mimir-kv/mimir/replication"
)

// TestMain is the program itself when RUN_AS_MIMIR is set: that is how the fleet of these tests gets its nodes.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_MIMIR") != "" {
		if keys := os.Getenv(keysOfFleet); keys != "" {
			os.Setenv("MIMIR_ENCRYPTION_KEY_FILE", keys)
		}
		archiveWhereTold()
		main()
	}
	os.Exit(m.Run())
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// mimir runs a command line in this process.
func mimir(t *testing.T, arguments ...string) (status int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr output
	status = run(ctx, nil, arguments, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

// A node that was removed ends in a way that a supervisor can tell from others: to start it again is of no use.
func TestExitStatusOfARemovedNode(t *testing.T) {
	told := fmt.Errorf("%w: %w: us-1 of region us", replication.ErrStopped, replication.ErrRemoved)
	for err, want := range map[error]int{told: exitRemoved, replication.ErrStopped: exitFailed, errUsage: exitUsage} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wrong.yaml")
	os.WriteFile(file, []byte("name: a\nregoin: b\n"), 0o600)
	for _, test := range []struct {
		arguments string
		status    int
		want      string
	}{
		{"version", exitDone, "etcd API 3."},
		{"", exitDone, "Usage:"},
		{"serve --help", exitDone, "--initial-primary"},
		{"fly", exitUsage, `unknown command "fly"`},
		{"archive prune", exitUsage, "wants two arguments, the place and a snapshot; got 0"},
		{"archive prune /tmp x", exitFailed, "no such file"},
		{"import verify --from http://x --every -1", exitUsage, "invalid argument"},
		{"tail fly", exitUsage, `unknown command "fly"`},
		{"status more", exitUsage, `takes no argument, got "more"`},
		{"status --watch more", exitUsage, `takes no argument, got "more"`},
		{"status 5s", exitUsage, `takes no argument, got "5s"`},
		{"status -w 1ms", exitUsage, "every 200ms or more slowly"},
		{"status --watch 5s --check", exitUsage, "without --check"},
		{"status --fly", exitUsage, "unknown flag: --fly"},
		{"events more", exitUsage, `takes no argument, got "more"`},
		{"events --since yesterday", exitUsage, "neither a duration"},
		{"events --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"top more", exitUsage, `takes no argument, got "more"`},
		{"top --every 1ms", exitUsage, "200ms or longer"},
		{"top --once --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"config generate", exitUsage, "the fleet file; got 0"},
		{"config generate none.yaml --out none", exitUsage, "no such file"},
		{"config generate none.yaml", exitUsage, `usage: this needs the flag "out"`},
		{"config sample more", exitUsage, "takes no argument"},
		{"config fly", exitUsage, `unknown command "fly"`},
		{"cert fly", exitUsage, `unknown command "fly"`},
		{"cert client ../a", exitUsage, "no name of a client"},
		{"cert client a --days 0", exitUsage, "--days 0"},
		{"cert client a --dir /none", exitFailed, "make one with mimir cert init"},
		{"cert nodes", exitUsage, "the fleet file; got 0"},
		{"cert show", exitUsage, "wants files or directories"},
		{"cert show /none", exitFailed, "no such file"},
		{"serve --fleet-file a", exitUsage, "goes with --check"},
		{"status -o xml", exitUsage, `"xml"`},
		{"status --cert a.pem", exitUsage, "--cert and --key belong together"},
		{"switchover", exitUsage, "either --to or --abort"},
		{"switchover --to eu --abort", exitUsage, "either --to or --abort"},
		{"region bootstrap", exitUsage, "the name of a region"},
		{"region bootstrap eu --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"tail show", exitUsage, "the name of a tail"},
		{"tail replay", exitUsage, "the name of a tail"},
		{"node rebuild", exitUsage, "the name of a node"},
		{"node fly", exitUsage, `unknown command "fly"`},
		{"node rebuild us-1 --yes --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"tail discard a b", exitUsage, "the name of a tail"},
		{"feed more", exitUsage, `takes no argument, got "more"`},
		{"feed --prefix a --from-key b", exitUsage, "either --prefix, or --from-key"},
		{"feed --from-key b --to-key a", exitUsage, "is not behind"},
		{"feed --token 1.x --revision 2", exitUsage, "either --token or --revision"},
		{"feed --token 1.x", exitUsage, "this is no token"},
		{"feed --revision 0", exitUsage, "--revision 0"},
		{"feed --heartbeat 1ms", exitUsage, "at least 10ms"},
		{"feed --cert a.pem", exitUsage, "--cert and --key belong together"},
		{"dev --nodes 2", exitUsage, "--nodes 2"},
		{"dev --regions a,a", exitUsage, `"a"`},
		{"demo more", exitUsage, `takes no argument, got "more"`},
		{"demo --nodes 2", exitUsage, "--nodes 2"},
		{"demo --wan-delay 2s", exitUsage, "--wan-delay 2s"},
		{"demo --rate 0", exitUsage, "--rate 0"},
		{"demo --writes 0", exitUsage, "--writes 0"},
		{"bench --ops fly", exitUsage, `unknown operation "fly"`},
		{"serve", exitUsage, "name is missing"},
		{"serve --config " + file, exitUsage, `wrong.yaml:2: unknown key "regoin" (did you mean "region"?)`},
		{"serve --discovery https://d/x", exitUsage, "nodes are not discovered"},
		{"serve --snapshot-count 1", exitUsage, "name is missing"},
		{"log --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"serve --max-txn-ops many", exitUsage, "many"},
		{"status --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
		{"tail list --endpoints 127.0.0.1:1,127.0.0.1:2", exitFailed, "127.0.0.1:2"},
		{"failover --to eu --endpoints 127.0.0.1:1", exitFailed, "no endpoint answered"},
	} {
		t.Run(test.arguments, func(t *testing.T) {
			status, out, errs := mimir(t, strings.Fields(test.arguments)...)
			if status != test.status || !strings.Contains(out+errs, test.want) {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
			if status != exitDone && (strings.Count(errs, "\n") != 1 || out != "" ||
				!strings.HasPrefix(errs, "mimir: ")) {
				t.Errorf("not one clear line on standard error:\n%s%s", out, errs)
			}
		})
	}
}

// startDev runs `mimir dev` and returns its fleet when it is ready, with what stops it.
func startDev(t *testing.T, arguments ...string) (*dev.Fleet, *output, func() int) {
	t.Helper()
	t.Setenv("RUN_AS_MIMIR", "1")
	dir := filepath.Join(t.TempDir(), "fleet")
	ctx, cancel := context.WithCancel(context.Background())
	out, done := &output{}, make(chan int, 1)
	go func() { done <- run(ctx, nil, append([]string{"dev", "--data-dir", dir}, arguments...), out, out) }()
	stop := sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(out)
			logs, _ := filepath.Glob(filepath.Join(dir, "*", "log"))
			for _, name := range logs {
				text, _ := os.ReadFile(name)
				t.Logf("%s:\n%s", name, text)
			}
		}
	})
	eventually(t, "mimir dev is ready", func() bool {
		select {
		case status := <-done:
			done <- status
			t.Fatalf("ended with %d", status)
		default:
		}
		return strings.Contains(out.String(), "are ready")
	})
	text, err := os.ReadFile(filepath.Join(dir, "fleet.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &dev.Fleet{}
	if err := json.Unmarshal(text, f); err != nil {
		t.Fatal(err)
	}
	return f, out, stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func put(t *testing.T, endpoint, key string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, key, "value of "+key); err != nil {
		t.Fatalf("put %s at %s: %v", key, endpoint, err)
	}
}

func status(t *testing.T, endpoints string) *fleetReport {
	t.Helper()
	code, out, errs := mimir(t, "status", "-o", "json", "--endpoints", endpoints)
	r := &fleetReport{FleetStatus: &replication.FleetStatus{}}
	text := regexp.MustCompile(`"(id)": "(\d+)"`).ReplaceAllString(out, `"$1": $2`)
	if strings.Count(text, `"id": `) != strings.Count(out, `"id": "`) {
		t.Errorf("identifiers that are no strings: %s", out)
	}
	if err := json.Unmarshal([]byte(text), r); code != exitDone || err != nil {
		t.Fatalf("status %d: %s %v", code, errs, err)
	}
	return r
}

// region returns one region of a report.
func (f *fleetReport) region(name string) *regionReport {
	for i := range f.Regions {
		if f.Regions[i].Name == name {
			return &f.Regions[i]
		}
	}
	return &regionReport{}
}

// What README tells a newcomer, and what an operator does on a bad day: real processes, one node a region, with
// encrypted disks, of which no byte shows what was written.
func TestFleetByHand(t *testing.T) {
	keys := encryptFleet(t)
	f, out, stop := startDev(t, "--regions", "us,eu", "--nodes", "1")
	us, eu := f.Regions[0].Nodes[0], f.Regions[1].Nodes[0]
	both := us.Client + "," + eu.Client
	put(t, eu.Client, "forwarded")
	eventually(t, "both regions are equal", func() bool {
		s := status(t, both)
		a, b := s.region("us"), s.region("eu")
		return s.Survivable && a.Position == 1 && b.Position == 1 && a.Chain == b.Chain && a.Revision == 2 &&
			b.Revision == 2
	})
	feed := startFeed(t, eu.Client+","+us.Client, "--revision", "2")
	feed.until("what was written", ofKey("forwarded"))
	code, text, errs := mimir(t, "switchover", "--to", "eu", "--endpoints", us.Client)
	if code != exitDone || !strings.Contains(text, "nothing was lost; writes paused for") {
		t.Fatalf("switchover: %d %s%s", code, text, errs)
	}
	if code, _, errs := mimir(t, "switchover", "--to", "mars", "--endpoints", both); code != exitFailed ||
		!strings.Contains(errs, `"mars"`) {
		t.Errorf("unknown region: %d %s", code, errs)
	}
	eventually(t, "us follows eu", func() bool {
		s := status(t, both)
		return s.Primary == "eu" && s.region("us").Role == replication.RoleSecondary && s.region("us").Lag.Seconds >= 0
	})

	// The secondary hangs while the primary writes, and both die. What the secondary had not read is gone; it takes
	// over.
	freeze(t, us.PID)
	put(t, eu.Client, "only-in-eu")
	feed.until("what is at eu alone", ofKey("only-in-eu")) // behind the switchover
	loseChain(t, eu.Client)
	syscall.Kill(eu.PID, syscall.SIGKILL)
	syscall.Kill(us.PID, syscall.SIGKILL)
	eventually(t, "the killed nodes are reported", func() bool {
		return strings.Contains(out.String(), "eu-1 (pid") && strings.Contains(out.String(), "us-1 (pid")
	})
	defer runServe(&us)()
	eventually(t, "us is back", func() bool {
		code, _, _ := mimir(t, "status", "--endpoints", us.Client)
		return code == exitDone && status(t, us.Client).region("us").Leader != ""
	})
	if code, _, errs := mimir(t, "failover", "--to", "us", "--endpoints", both); code != exitFailed ||
		!strings.Contains(errs, "force") {
		t.Errorf("failover without force: %d %s", code, errs)
	}
	if code, text, errs := mimir(t, "failover", "--to", "us", "--force", "--endpoints", both); code != exitDone ||
		!strings.Contains(text, "us is primary, after eu") {
		t.Fatalf("failover: %d %s%s", code, text, errs)
	}
	put(t, us.Client, "contested")
	void := feed.ends(exitVoid, "a failover has cut off")
	if void.Type != "void" || void.After != "2" || !void.Given {
		t.Errorf("%s", feed.out)
	}
	feed = startFeed(t, both, "--token", void.Token)
	feed.until("what is behind the failover", ofKey("contested"))
	feed.kill()
	feed.ends(exitDone, "")
	again := runServe(&eu)
	defer again()
	checkTail(t, both)
	nothingShows(t, eu.DataDir)
	eventually(t, "both regions are equal again", func() bool {
		s := status(t, both)
		return s.Survivable && s.Primary == "us" && s.region("us").Chain == s.region("eu").Chain &&
			s.region("eu").Revision > 1_000_000_000
	})
	useTail(t, both)
	checkEvents(t, both)
	checkTop(t, both)
	checkSchema(t, both)
	if code := again(); code != exitDone {
		t.Errorf("serve ended with %d", code)
	}
	if code := stop(); code != exitDone {
		t.Errorf("dev ended with %d", code)
	}
	nothingShows(t, us.DataDir)
	nothingShows(t, eu.DataDir)
	canRotate(t, eu.DataDir, keys)
	if n := isPrivate(t, filepath.Dir(filepath.Dir(us.DataDir))); n < 20 {
		t.Errorf("%d files", n)
	}
}

// freeze stops a process, and returns when none of its threads runs any more, as far as the system tells.
func freeze(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, "every thread has stopped", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range threads {
			text, err := os.ReadFile(name)
			if _, state, ok := strings.Cut(string(text), ") "); err == nil && ok && !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}

// runServe runs a node in this process and returns what stops it.
func runServe(n *dev.Node) func() int {
	config := filepath.Join(filepath.Dir(n.DataDir), "config.yaml")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, nil, []string{"serve", "--config", config, "--log-level", "error"}, os.Stderr, os.Stderr)
	}()
	return sync.OnceValue(func() int { cancel(); return <-done })
}

// loseChain writes what a failover will cut off: two transactions of which the second is about what the first made, and
// a key that will be written elsewhere too.
func loseChain(t *testing.T, endpoint string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := int64(2)
	for _, value := range []string{"lost 1", "lost 2"} {
		r, err := c.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision("forwarded"), "=", seen)).
			Then(clientv3.OpPut("forwarded", value)).Commit()
		if err != nil || !r.Succeeded {
			t.Fatalf("%+v, %v", r, err)
		}
		seen = r.Header.Revision
	}
	if _, err := c.Put(t.Context(), "contested", "lost"); err != nil {
		t.Fatal(err)
	}
}

// useTail replays the tail: the chain is done, the key that was written since is told, and a second run finds all of
// it.
func useTail(t *testing.T, endpoints string) {
	t.Helper()
	var tails []storedTail
	_, text, _ := mimir(t, "tail", "list", "-o", "json", "--endpoints", endpoints)
	if err := json.Unmarshal([]byte(text), &tails); err != nil || len(tails) != 1 {
		t.Fatalf("%v, %s", err, text)
	}
	name := tails[0].Name
	for _, c := range []struct {
		command string
		status  int
		want    []string
	}{
		{"tail diff " + name, exitLeftOver, []string{
			"applies\tput \"only-in-eu\"", "applies\ttxn \"forwarded\"", `lost   "lost"`, `today  "value of contested"`,
			"4 commands: 3 would be applied", "1 conflict",
		}},
		{"tail replay --dry-run --only forwarded -o json " + name, exitLeftOver, []string{
			`"applied":2`, `"leftOut":2`,
		}},
		{"tail replay " + name, exitLeftOver, []string{"conflict\tput \"contested\"", "3 applied"}},
		{"tail replay " + name, exitLeftOver, []string{"0 applied, 3 there already", "1 conflict"}},
		{"tail replay none", exitFailed, []string{"no tail"}},
		{"tail discard " + name, exitFailed, []string{"nothing was discarded"}},
		{"tail discard --yes " + name, exitDone, []string{"discarded " + name + " on eu-1"}},
		{"tail discard --yes " + name, exitFailed, []string{"no tail"}},
	} {
		status, out, errs := mimir(t, append(strings.Fields(c.command), "--endpoints", endpoints)...)
		for _, want := range c.want {
			if status != c.status || !strings.Contains(out+errs, want) {
				t.Errorf("%s: %d, no %q in:\n%s%s", c.command, status, want, out, errs)
			}
		}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoints, ","), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for key, want := range map[string]string{
		"forwarded": "lost 2", "only-in-eu": "value of only-in-eu", "contested": "value of contested",
	} {
		if r, err := c.Get(t.Context(), key); err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != want {
			t.Errorf("%s is %v, %v, want %s", key, r, err, want)
		}
	}
}

// checkTail waits for the tail with the one write that eu alone had, and exports it.
func checkTail(t *testing.T, endpoints string) {
	t.Helper()
	var tails []storedTail
	eventually(t, "the tail is saved", func() bool {
		code, text, _ := mimir(t, "tail", "list", "-o", "json", "--endpoints", endpoints)
		return code == exitDone && json.Unmarshal([]byte(text), &tails) == nil && len(tails) == 1
	})
	name := tails[0].Name
	file := filepath.Join(t.TempDir(), "tail.json")
	if code, _, errs := mimir(t, "tail", "export", name, "--to", file, "--endpoints", endpoints); code != exitDone {
		t.Fatalf("export: %d %s", code, errs)
	}
	text, err := os.ReadFile(file)
	const key = `"b25seS1pbi1ldQ=="` // only-in-eu
	if err != nil || bytes.Count(text, []byte("\n")) != 4 || !bytes.Contains(text, []byte(key)) {
		t.Errorf("exported: %s %v", text, err)
	}
	if code, text, errs := mimir(t, "tail", "show", name, "--endpoints", endpoints); code != exitDone ||
		!strings.Contains(text, key) {
		t.Errorf("show: %d %s%s", code, text, errs)
	}
	if code, _, errs := mimir(t, "tail", "export", "none", "--endpoints", endpoints); code != exitFailed ||
		!strings.Contains(errs, `no tail "none"`) {
		t.Errorf("export of nothing: %d %s", code, errs)
	}
	if code, _, errs := mimir(t, "tail", "export", name, "--to", file, "--endpoints", endpoints); code != exitFailed ||
		!strings.Contains(errs, "exists already") {
		t.Errorf("export over a file: %d %s", code, errs)
	}
}

// A short benchmark of every operation, against both regions, has no error.
func TestBench(t *testing.T) {
	f, _, _ := startDev(t, "--regions", "us,eu", "--nodes", "1", "--wan-delay", "1ms")
	code, text, errs := mimir(t, "bench", "-o", "json", "--endpoints", f.Regions[0].Nodes[0].Client,
		"--compare-endpoints", f.Regions[1].Nodes[0].Client,
		"--ops", "put,get,get-serializable,range,txn,watch", "--clients", "8", "--connections", "2",
		"--key-space", "20", "--total", "64", "--warmup", "0s")
	var report struct {
		Summary []struct {
			Operation string
			A, B      struct {
				PerSecond float64
				Errors    int
			}
			Ratio float64
		}
	}
	if err := json.Unmarshal([]byte(text), &report); code != exitDone || err != nil || len(report.Summary) != 6 {
		t.Fatalf("%d %v %s", code, err, errs)
	}
	for _, s := range report.Summary {
		if s.A.PerSecond <= 0 || s.B.PerSecond <= 0 || s.Ratio <= 0 || s.A.Errors+s.B.Errors > 0 {
			t.Errorf("%s\n%s", fmt.Sprintf("%+v", s), errs)
		}
	}
}
