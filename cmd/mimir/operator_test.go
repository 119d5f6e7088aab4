//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// A command shows the token that it is given, and says what is missing where a node lets it not.
func TestCommandsShowAToken(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	url := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/mimir/v1/fleet":
			fmt.Fprintf(w, `{"regions":[{"name":"us","nodes":[{"name":"us-1","reachable":true,"clientURLs":[%q]}]}]}`,
				url)
		case r.URL.Path == "/mimir/v1/node":
			fmt.Fprint(w, `{}`)
		case r.URL.Path == "/v3/auth/authenticate":
			var who struct{ Name, Password string }
			if json.NewDecoder(r.Body).Decode(&who) != nil || who.Name != "root" || who.Password != "r00t" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"authentication failed"}`)
				return
			}
			fmt.Fprintf(w, `{"header":{},"token":%q}`, token)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"error":"%s needs the operator's right: no token was shown"}`, r.URL.Path)
		case r.URL.Path == "/mimir/v1/tails":
			fmt.Fprint(w, `[]`)
		default:
			fmt.Fprint(w, `{"to":"eu"}`)
		}
	}))
	defer s.Close()
	url = s.URL
	dir := t.TempDir()
	good, short := filepath.Join(dir, "good"), filepath.Join(dir, "short")
	for file, text := range map[string]string{good: "# mine\nalice " + token + "\n", short: "geheim\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const denied = "needs the operator's right: no token was shown"
	for _, test := range []struct {
		command string
		file    string
		status  int
		text    string
	}{
		{"switchover --to eu", good, exitDone, "eu is primary"},
		{"tail list", good, exitDone, "no tails on the nodes that answer"},
		{"switchover --to eu", "", exitFailed, denied},
		{"tail list", "", exitFailed, "us-1: /mimir/v1/tails " + denied},
		{"tail show x", "", exitFailed, denied},
		{"tail discard x -y", "", exitFailed, denied},
		{"fleet pause --reason x", "", exitFailed, denied},
		{"switchover --to eu --user root:r00t", "", exitDone, "eu is primary"},
		{"tail list --user root --password r00t", "", exitDone, "no tails on the nodes that answer"},
		{"switchover --to eu --user root:geheim", "", exitFailed, "log in as root: "},
		{"switchover --to eu --user root", "", exitUsage, "--user wants name:password"},
		{"tail list", short, exitUsage, "--token-file: " + short + ": a token of 6 characters"},
		{"tail list", dir + "/none", exitUsage, "--token-file: open " + dir + "/none"},
	} {
		t.Setenv("MIMIR_TOKEN_FILE", test.file)
		status, out, errs := mimir(t, append(strings.Fields(test.command), "--endpoints", s.URL)...)
		if status != test.status || !strings.Contains(out+errs, test.text) || strings.Contains(out+errs, "geheim") {
			t.Errorf("%s with %q: %d %s%s", test.command, test.file, status, out, errs)
		}
	}
}

// The log of each node is set and told, also behind one that refuses; the end says who failed.
func TestLogAsksEachNode(t *testing.T) {
	node := func(refuses bool) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refuses && r.URL.Path == "/mimir/v1/log" {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `{"error":"not you"}`)
				return
			}
			fmt.Fprint(w, `{"level":"debug","format":"text"}`)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	first, second, third, fourth := node(false), node(true), node(false), node(true)
	for _, more := range [][]string{nil, {"--level", "debug"}} {
		list := strings.Join([]string{first, second, third, fourth}, ",")
		status, out, errs := mimir(t, append([]string{"log", "--endpoints", list}, more...)...)
		want := fmt.Sprintf("%s: level debug, format text\n%s: level debug, format text\n", first, third)
		if status != exitFailed || out != want || !strings.Contains(errs, second+": not you") ||
			!strings.Contains(errs, fourth+": not you") || strings.Contains(errs, first) {
			t.Errorf("%v: %d\n%s%s", more, status, out, errs)
		}
	}
}

// A node that asks nobody for the operator's right, where others do, is named: whether it is old or not told to.
func TestANodeThatAsksNobodyIsNamed(t *testing.T) {
	region := func(name string, nodes ...nodeReport) regionReport {
		return regionReport{RegionStatus: replication.RegionStatus{Name: name}, nodes: nodes}
	}
	const rule = "operator.allowed-cn"
	node := func(name, operators string, open []string) nodeReport {
		return nodeReport{name: name, operators: operators, open: open}
	}
	for name, test := range map[string]struct {
		regions []regionReport
		want    []string
	}{
		"nobody asks": {[]regionReport{region("us", node("us-1", admin.Everybody, []string{"open"}))},
			[]string{"us: open"}},
		"all ask": {[]regionReport{region("us", node("us-1", rule, nil)),
			region("eu", node("eu-1", "root", nil))}, nil},
		"an old one": {[]regionReport{region("us", node("us-1", rule, nil), node("us-2", "", nil))},
			[]string{"us (us-2): nobody is asked for the operator's right there"}},
		"a region": {[]regionReport{region("us", node("us-1", rule, nil)),
			region("eu", node("eu-1", admin.Everybody, nil), node("eu-2", admin.Everybody, nil))},
			[]string{"eu: nobody is asked for the operator's right there"}},
	} {
		f := &fleetReport{Regions: test.regions}
		f.tellOpen()
		if len(f.Open) != len(test.want) || !slices.EqualFunc(f.Open, test.want, strings.HasPrefix) {
			t.Errorf("%s: %q", name, f.Open)
		}
	}
}

// What is open to others fails no check but that of a fleet which is to be closed; a way around those that ask, and an
// audit log that cannot be written, fail every check.
func TestWhatIsOpenAndTheCheck(t *testing.T) {
	status := &replication.FleetStatus{Primary: "us"}
	wellOpen := nodeReport{name: "us-1", operators: admin.Everybody, open: []string{"every client is an operator"}}
	asks := nodeReport{name: "us-1", operators: "operator.allowed-cn"}
	silent := nodeReport{name: "us-1", operators: "operator.allowed-cn", auditProblem: "no space left on device"}
	for name, test := range map[string]struct {
		nodes         []nodeReport
		check, closed bool // that it passes
	}{
		"closed":          {[]nodeReport{asks}, true, true},
		"open, as wanted": {[]nodeReport{wellOpen}, true, false},
		"a way around":    {[]nodeReport{asks, {name: "us-2", operators: admin.Everybody}}, false, false},
		"no audit log":    {[]nodeReport{silent}, false, false},
	} {
		f := &fleetReport{FleetStatus: status, Regions: []regionReport{{nodes: test.nodes}}}
		f.tellOpen()
		if check, closed := f.verdict(true, false), f.verdict(true, true); (check == nil) != test.check ||
			(closed == nil) != test.closed || f.verdict(false, false) != nil {
			t.Errorf("%s: %v; %v", name, check, closed)
		}
	}
}

// What settings of nodes mean nothing is noted: of a region, or of those of its nodes that say so.
func TestIdleSettingsAreNoted(t *testing.T) {
	f := &fleetReport{FleetStatus: &replication.FleetStatus{}, Regions: []regionReport{
		{RegionStatus: replication.RegionStatus{Name: "us"}, nodes: []nodeReport{
			{name: "us-1", idle: []string{"a", "b"}}, {name: "us-2", idle: []string{"b"}}}},
		{RegionStatus: replication.RegionStatus{Name: "eu"}, nodes: []nodeReport{{name: "eu-1"}}},
	}}
	f.tellIdle()
	if want := []string{"us (us-1): a", "us: b"}; !slices.Equal(f.Notes, want) {
		t.Errorf("%q, want %q", f.Notes, want)
	}
}

// SIGHUP has the audit log opened anew, and ends nothing.
func TestHungUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := hungUp(ctx)
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-told:
		case <-time.After(30 * time.Second):
			t.Fatal("not told")
		}
	}
}
