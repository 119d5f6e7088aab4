package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// The checks that the whole run rests on see what they are there for.

func TestRecorderWantsEveryEventOnce(t *testing.T) {
	for _, test := range []struct {
		name      string
		revisions []int64
		says      string
	}{
		{"in order", []int64{5, 6, 7}, ""},
		{"one missing", []int64{5, 7}, "saw revision 7 (key k) where 6 was next"},
		{"one doubled", []int64{5, 6, 6}, "saw revision 6 (key k) where 7 was next"},
		{"out of order", []int64{6, 5}, "saw revision 6 (key k) where 5 was next"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{from: 5, grown: make(chan struct{})}
			var events []*clientv3.Event
			for _, revision := range test.revisions {
				events = append(events, &clientv3.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: revision}})
			}
			err := r.take(&clientv3.WatchResponse{Events: events})
			if got := errorText(err); test.says == "" && err != nil || !strings.Contains(got, test.says) {
				t.Error(got)
			}
		})
	}
}

func TestAcknowledgedWritesAreChecked(t *testing.T) {
	failed := errors.New("failed")
	for _, test := range []struct {
		name   string
		err    error
		held   *mvccpb.KeyValue
		tailed bool
		says   string
	}{
		{"there", nil, &mvccpb.KeyValue{ModRevision: 9, Version: 1, Value: []byte("v")}, false, ""},
		{"rescued", nil, nil, true, ""},
		{"unknown outcome, not there", failed, nil, false, ""},
		{"unknown outcome, there", failed, &mvccpb.KeyValue{ModRevision: 10, Version: 1, Value: []byte("v")},
			false, ""},
		{"lost", nil, nil, false, "is lost"},
		{"at another revision", nil, &mvccpb.KeyValue{ModRevision: 10, Version: 1, Value: []byte("v")},
			false, "acknowledged at revision 9"},
		{"applied twice", nil, &mvccpb.KeyValue{ModRevision: 9, Version: 2, Value: []byte("v")}, false, "put once"},
		{"applied twice, outcome unknown", failed, &mvccpb.KeyValue{ModRevision: 9, Version: 2, Value: []byte("v")},
			false, "put once"},
		{"another value", nil, &mvccpb.KeyValue{ModRevision: 9, Version: 1, Value: []byte("w")}, false, "put once"},
	} {
		t.Run(test.name, func(t *testing.T) {
			held := map[string]*mvccpb.KeyValue{}
			if test.held != nil {
				held["k"] = test.held
			}
			_, err := checkAcknowledged([]write{{key: "k", value: "v", revision: 9, err: test.err}}, held,
				func(string) bool { return test.tailed })
			if got := errorText(err); test.says == "" && err != nil || !strings.Contains(got, test.says) {
				t.Error(got)
			}
		})
	}
}

func TestLongestPause(t *testing.T) {
	at := func(milliseconds int) time.Time { return time.UnixMilli(int64(milliseconds)) }
	writes := []write{
		{ended: at(10)}, {ended: at(12)}, {ended: at(40), err: context.Canceled}, {ended: at(52)}, {ended: at(60)},
	}
	if pause, began := longestPause(writes); pause != 40*time.Millisecond || !began.Equal(at(12)) {
		t.Errorf("%s from %s", pause, began)
	}
}

// Beside an election a client may be told that it is not known what became of its write, and nothing worse.
func TestUnsettled(t *testing.T) {
	lost, leaderless := rpctypes.Error(rpctypes.ErrGRPCTimeoutDueToLeaderFail), rpctypes.Error(rpctypes.ErrGRPCNoLeader)
	for _, test := range []struct {
		errs    []error
		elected bool
		count   int
		says    string
	}{
		{errs: []error{nil, context.Canceled}},
		{errs: []error{nil, lost, leaderless}, elected: true, count: 2},
		{errs: []error{nil, lost}, says: "elections beside it: false"},
		{errs: []error{lost, rpctypes.Error(rpctypes.ErrGRPCCorrupt)}, elected: true, says: "corrupt"},
		{errs: []error{context.DeadlineExceeded}, elected: true, says: "deadline"},
	} {
		var writes []write
		for _, err := range test.errs {
			writes = append(writes, write{err: err})
		}
		count, err := unsettled(writes, test.elected)
		got := errorText(err)
		if count != test.count || test.says == "" && err != nil || !strings.Contains(got, test.says) {
			t.Errorf("%v, elected %t: %d, %s", test.errs, test.elected, count, got)
		}
	}
}

// What a node finds amiss with a history is found in its log, as it is said where it is said.
func TestWhatIsAmissIsFound(t *testing.T) {
	for _, line := range []string{
		`level=ERROR msg="stream does not continue the history held here; nothing of it was taken" err=gap`,
		`level=WARN msg="history has a fork; the tail is saved and the region rejoins" fork=7`,
		`level=ERROR msg="nodes hold different things; mimir verify says which" what=keys`,
		`level=ERROR msg="this node's log is damaged where another region has to go on"`,
	} {
		n := &localfleet.Node{Dir: t.TempDir(), Config: localfleet.Config{Name: "us-1"}}
		for _, text := range []string{"level=INFO msg=\"stream connected\"\n", line + "\n"} {
			f, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.WriteString(text); errors.Join(err, f.Close()) != nil {
				t.Fatal(err)
			}
			if err := unbroken(n); (err == nil) != strings.Contains(text, "INFO") {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}

// What is looked for in logs is what nodes say there.
func TestWhatIsAmissIsSaidSo(t *testing.T) {
	var said strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "compat" || d.Name() == "e2e") {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		said.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("\" +\n", "", "\t\"", "", "\t", "").Replace(said.String())
	for _, words := range amiss {
		if !strings.Contains(text, words) {
			t.Errorf("nobody says %q", words)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
