package profile

import (
	"cmp"
	"slices"
	"strings"
)

// Share is the part of processor time that a group of code took, or of the heap that it had asked for.
type Share struct {
	Group string  `json:"group"`
	Part  float64 `json:"part"`
}

// module is how functions of this tree begin.
const module = "github.com/mimir-kv/mimir/"

// Groups that are asked for before the functions of a stack are, the innermost first.
const (
	collector = "garbage collector"
	scheduler = "scheduler"
	syscalls  = "system calls"
	apply     = "kv.Apply"
	otherwise = "other"
)

// applies is the function under which everything is counted for it.
const applies = module + "kv.(*Store).Apply"

var (
	collects  = []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge"}
	schedules = []string{"runtime.schedule", "runtime.findRunnable", "runtime.mcall", "runtime.park_m"}
	calls     = []string{"syscall.", "internal/runtime/syscall", "runtime/internal/syscall"}
)

// groups are those of functions, by how these begin. The first one that fits counts.
var groups = []struct{ begins, group string }{
	{"google.golang.org/grpc", "gRPC"},
	{"golang.org/x/net/http2", "gRPC"},
	{"google.golang.org/protobuf", "gRPC"},
	{"go.etcd.io/etcd/api", "gRPC"},
	{"go.etcd.io/raft", "raft"},
	{module + "replication/internal/raftgroup", "raft"},
	{module + "replication/internal/wal", "log"},
	{module + "replication/durable", "log"},
	{module + "replication/internal/stream", "stream between regions"},
	{module + "replication", "replication"},
	{module + "kv", "kv beside Apply"},
	{"github.com/cockroachdb/pebble", "Pebble beside Apply"},
	{module + "etcdapi", "etcdapi"},
	{module + "server", "server"},
	{"runtime.", "runtime"},
}

// Shares are those of all groups, the largest first, and the whole that they are of: nanoseconds, or bytes.
func (p *Profile) Shares() (shares []Share, whole int64) {
	sums := map[string]int64{}
	var total int64
	for i := range p.stacks {
		s := &p.stacks[i]
		sums[groupOf(s.frames)] += s.value
		total += s.value
	}
	for group, sum := range sums {
		if total > 0 {
			shares = append(shares, Share{group, float64(sum) / float64(total)})
		}
	}
	slices.SortFunc(shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Part, a.Part), strings.Compare(a.Group, b.Group))
	})
	return shares, total
}

// groupOf is the one that a stack belongs to. What is of the runtime counts for who asked for it, but for collecting
// and scheduling; a system call counts as one, whoever made it.
func groupOf(frames []string) string {
	switch {
	case holds(frames, collects):
		return collector
	case holds(frames, schedules):
		return scheduler
	case holds(frames, calls):
		return syscalls
	case holds(frames, []string{applies}):
		return apply
	}
	last := otherwise
	for _, f := range frames {
		for _, g := range groups {
			if !strings.HasPrefix(f, g.begins) {
				continue
			}
			if g.group != "runtime" {
				return g.group
			}
			last = g.group
		}
	}
	return last
}

func holds(frames, any []string) bool {
	return slices.ContainsFunc(frames, func(f string) bool { return begins(f, any) })
}

func begins(f string, any []string) bool {
	return slices.ContainsFunc(any, func(b string) bool { return strings.HasPrefix(f, b) })
}
