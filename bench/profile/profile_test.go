package profile

import (
	"bytes"
	"errors"
	"math"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// TestGroupOf counts a stack once, for what it is.
func TestGroupOf(t *testing.T) {
	const kv, grpc = module + "kv.(*Store).Apply", "google.golang.org/grpc/internal/transport.(*loopyWriter).run"
	for _, c := range []struct {
		frames []string
		want   string
	}{
		{nil, otherwise},
		{[]string{"main.main", "runtime.main"}, "runtime"},
		{[]string{"internal/runtime/syscall/linux.Syscall6", "syscall.write", "net.(*conn).Write", grpc}, syscalls},
		{[]string{"runtime.exitsyscall", "syscall.Syscall", "net.(*conn).Write", grpc}, syscalls},
		{[]string{"internal/runtime/syscall/linux.EpollWait", "runtime.netpoll", "runtime.findRunnable"}, scheduler},
		{[]string{"runtime.memmove", "bytes.(*Buffer).Write", grpc}, "gRPC"},
		{[]string{"runtime.gcDrain", "runtime.gcAssistAlloc.func1", "runtime.mallocgc", kv}, collector},
		{[]string{"github.com/cockroachdb/pebble/v2.(*Batch).Set", kv, module + "replication.x"}, apply},
		{[]string{"github.com/cockroachdb/pebble/v2.(*DB).compact1"}, "Pebble beside Apply"},
		{[]string{"hash/crc32.update", module + "replication/internal/wal.(*Log).A", module + "replication.x"}, "log"},
		{[]string{"go.etcd.io/raft/v3.(*raft).Step", module + "replication/internal/raftgroup.(*loop).run"}, "raft"},
	} {
		if got := groupOf(c.frames); got != c.want {
			t.Errorf("%q is %q, want %q", c.frames, got, c.want)
		}
	}
}

// TestAProfileOfThisProcess has what it did, in shares that make a whole.
func TestAProfileOfThisProcess(t *testing.T) {
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		t.Skip(err) // somebody profiles this test
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		bench.Spin()
	}
	pprof.StopCPUProfile()
	p, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var spun, all int64
	for _, s := range p.stacks {
		all += s.value
		if strings.Contains(strings.Join(s.frames, " "), "bench.Spin") {
			spun += s.value
		}
	}
	if spun == 0 || spun*2 < all {
		t.Errorf("%v of %v were spent spinning", time.Duration(spun), time.Duration(all))
	}
	p.Merge(p)
	shares, whole := p.Shares()
	sum := 0.0
	for _, s := range shares {
		sum += s.Part
	}
	if whole != 2*all || math.Abs(sum-1) > 1e-9 {
		t.Errorf("shares of %d make %v: %v", whole, sum, shares)
	}
}

func TestParseRefusesWhatIsNone(t *testing.T) {
	if _, err := Parse([]byte("profiles are not enabled")); !errors.Is(err, ErrProfile) {
		t.Error(err)
	}
}
