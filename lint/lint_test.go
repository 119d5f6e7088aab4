package lint

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// below lists, for each room, the rooms of this tree that it may import. A room that is not listed may import none;
// tests are bound by the same rules, but for the rooms made for them.
var below = map[string][]string{
	"replication/timeline":           {},
	"replication/clock":              {},
	"replication/clock/virtual":      {},
	"replication/durable":            {},
	"replication/durable/pagecache":  {"replication/durable"},
	"replication/durable/pebblefs":   {"replication/durable"},
	"replication/durable/atrest":     {"replication/internal/checksum"},
	"replication/transport":          {},
	"replication/transport/grpc":     {"replication/transport"},
	"replication/transport/memory":   {"replication/transport", "replication/clock"},
	"replication/internal/checksum":  {},
	"replication/internal/wake":      {},
	"replication/internal/invariant": {},
	"replication/internal/progress":  {},
	"replication/internal/wal":       {"replication/internal/checksum", "replication/timeline", "replication/durable"},
	"replication/internal/checkpoint": {"replication/internal/checksum", "replication/transport", "replication/clock",
		"replication/durable", "replication/internal/progress"},
	"replication/internal/throttle": {"replication/clock"},
	"replication/internal/laggate":  {"replication/clock", "replication/contract"},
	"replication/internal/rescue":   {"replication/internal/checksum", "replication/timeline", "replication/durable"},
	"replication/internal/fleet": {
		"replication/internal/progress", "replication/internal/wake", "replication/timeline", "replication/clock"},
	"replication/contract": {"replication/timeline", "replication/internal/checksum",
		"replication/internal/progress"},
	"replication/storagetest":   {"replication/contract", "replication/durable"},
	"replication/internal/life": {"replication/contract", "replication/clock"},
	"replication/internal/members": {
		"replication/internal/wake", "replication/contract", "replication/timeline", "replication/clock",
		"replication/internal/region", "replication/internal/peer", "replication/internal/raftgroup",
		"replication/internal/raftgroup/peers"},
	"replication/internal/overview": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/internal/fleet",
		"replication/internal/life", "replication/internal/recall",
		"replication/internal/peer", "replication/internal/region", "replication/internal/succession",
	},
	"replication/internal/recall": {
		"replication/contract", "replication/clock", "replication/durable", "replication/internal/checksum",
		"replication/internal/fleet", "replication/internal/peer"},
	"replication/internal/secondary": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/transport",
		"replication/internal/checkpoint", "replication/internal/fleet",
		"replication/internal/life", "replication/internal/peer", "replication/internal/progress",
		"replication/internal/region", "replication/internal/stream", "replication/internal/succession",
		"replication/internal/wake",
	},
	"replication/internal/primary": {
		"replication/internal/wake",
		"replication/contract", "replication/timeline", "replication/clock", "replication/internal/fleet",
		"replication/internal/life", "replication/internal/peer",
		"replication/internal/region", "replication/internal/standing", "replication/internal/succession",
	},
	"replication/internal/forming": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/durable",
		"replication/internal/fleet", "replication/internal/life", "replication/internal/members",
		"replication/internal/overview", "replication/internal/peer", "replication/internal/recall",
		"replication/internal/region",
	},
	"replication/internal/leading": {
		"replication/contract", "replication/timeline", "replication/internal/fleet", "replication/internal/members",
		"replication/internal/primary", "replication/internal/propose", "replication/internal/region",
		"replication/internal/slots", "replication/internal/standing",
	},
	"replication/internal/succession": {"replication/contract", "replication/timeline"},
	"replication/internal/ballot":     {"replication/timeline"},
	"replication/internal/enginetest": {"replication/contract", "replication/durable"},
	"replication/internal/copies": {
		"replication/contract", "replication/durable", "replication/internal/checksum",
	},
	"replication/internal/region": {
		"replication/contract", "replication/timeline", "replication/internal/copies", "replication/internal/raftgroup",
		"replication/internal/invariant", "replication/durable",
	},
	"replication/internal/delay": {
		"replication/internal/wake", "replication/contract", "replication/timeline", "replication/clock",
		"replication/internal/fleet", "replication/internal/region", "replication/internal/tail",
	},
	"replication/internal/tail": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/durable",
		"replication/internal/copies", "replication/internal/peer",
		"replication/internal/rescue", "replication/internal/wal",
	},
	"replication/internal/transfer": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/durable",
		"replication/transport",
		"replication/internal/peer", "replication/internal/life", "replication/internal/region",
		"replication/internal/checkpoint", "replication/internal/copies", "replication/internal/throttle",
	},
	"replication/internal/rewind": {
		"replication/contract", "replication/timeline", "replication/clock", "replication/durable",
		"replication/internal/copies", "replication/internal/peer", "replication/internal/region",
		"replication/internal/tail",
	},
	"replication/internal/peer": {"replication/contract", "replication/transport"},
	"replication/internal/standing": {"replication/internal/wake", "replication/timeline", "replication/clock",
		"replication/internal/ballot", "replication/internal/fleet", "replication/internal/region"},
	"replication/witness": {
		"replication/clock", "replication/contract", "replication/durable", "replication/internal/checksum",
		"replication/internal/fleet", "replication/internal/life", "replication/internal/peer",
		"replication/internal/votes", "replication/timeline", "replication/transport"},
	"replication/internal/roster": {
		"replication/internal/wake", "replication/contract", "replication/timeline", "replication/clock",
		"replication/internal/fleet", "replication/internal/life", "replication/internal/peer",
		"replication/internal/region", "replication/internal/standing"},
	"replication/internal/votes": {
		"replication/internal/wake", "replication/contract", "replication/timeline", "replication/clock",
		"replication/internal/ballot", "replication/internal/fleet", "replication/internal/life",
		"replication/internal/peer", "replication/internal/region", "replication/internal/standing"},
	"replication/internal/raftgroup": {
		"replication/internal/wake",
		"replication/internal/raftgroup/snapshots", "replication/internal/raftgroup/peers",
		"replication/internal/wal", "replication/transport", "replication/clock", "replication/durable",
		"replication/internal/invariant",
	},
	"replication/internal/raftgroup/snapshots": {
		"replication/internal/raftgroup/peers", "replication/internal/checkpoint", "replication/transport",
		"replication/durable", "replication/clock",
	},
	"replication/internal/raftgroup/peers": {
		"replication/internal/wake",
		"replication/internal/checksum", "replication/transport", "replication/clock",
	},
	"replication/internal/stream": {
		"replication/internal/wake", "replication/internal/checksum", "replication/internal/throttle",
		"replication/timeline", "replication/transport", "replication/clock"},
	"replication/internal/propose": {
		"replication/internal/wake",
		"replication/internal/checksum", "replication/internal/invariant",
		"replication/contract", "replication/timeline", "replication/clock", "replication/transport",
		"replication/internal/life",
		"replication/internal/region", "replication/internal/peer", "replication/internal/standing",
		"replication/internal/raftgroup", "replication/internal/laggate",
	},
	"replication/internal/slots": {
		"replication/internal/wake",
		"replication/contract", "replication/timeline", "replication/clock", "replication/internal/region",
		"replication/internal/peer",
		"replication/internal/fleet", "replication/internal/wal", "replication/internal/laggate",
	},
	"replication/internal/reads": {
		"replication/clock", "replication/contract", "replication/timeline", "replication/internal/life",
		"replication/internal/fleet", "replication/internal/region", "replication/internal/peer",
		"replication/internal/standing", "replication/transport",
	},
	"replication": {
		"replication/internal/succession", "replication/internal/primary", "replication/internal/secondary",
		"replication/internal/forming", "replication/internal/leading",
		"replication/internal/overview", "replication/internal/checksum", "replication/internal/delay",
		"replication/contract", "replication/internal/life", "replication/internal/region", "replication/internal/peer",
		"replication/internal/propose", "replication/internal/slots", "replication/internal/recall",
		"replication/internal/reads",
		"replication/internal/members", "replication/internal/standing", "replication/internal/copies",
		"replication/internal/tail",
		"replication/internal/transfer",
		"replication/timeline", "replication/clock", "replication/durable", "replication/transport",
		"replication/internal/wal", "replication/internal/checkpoint",
		"replication/internal/rescue", "replication/internal/fleet", "replication/internal/raftgroup",
		"replication/internal/stream", "replication/internal/votes", "replication/internal/rewind",
		"replication/internal/roster", "replication/internal/throttle", "replication/internal/laggate",
	},
	"kv/command":  {},
	"kv/auth":     {"kv/command"},
	"kv/keyset":   {},
	"kv/mvcc":     {"kv/command"},
	"kv/snapshot": {"kv/mvcc", "replication/durable", "replication/durable/pebblefs"},
	"kv/lease":    {"kv/command", "kv/mvcc", "replication/clock", "replication/contract"},
	"kv/watch":    {"kv/command", "kv/mvcc"},
	"kv": {"kv/auth", "kv/command", "kv/keyset", "kv/mvcc", "kv/snapshot", "kv/lease", "kv/watch", "replication",
		"replication/clock", "replication/durable", "replication/durable/pebblefs"},
	"etcdapi": {"kv", "kv/auth", "kv/command", "kv/mvcc", "kv/lease", "kv/watch", "replication", "replication/clock"},
	"server":  {"server", "backup", "etcdapi", "kv", "replication"},
	"backup":  {"backup", "etcdapi", "kv", "replication"},
	"bench":   {"bench", "kv", "localfleet"},
	"feed":    {"backup/sides"},
	"cmd":     {"backup", "cmd", "server", "bench", "feed", "replication", "localfleet", "kv"},
	"sim":     {"kv", "replication"},
	"e2e":     {"e2e", "localfleet", "server", "replication"},
	"lint":    {},
	"check":   {},
	// For tests alone.
	"check/leaks": {},
	// On this machine: processes, links and ports, which know nothing of what a node is.
	"localfleet": {},
}

// forTests are rooms that any test may use.
var forTests = []string{
	"replication/transport/memory", "replication/clock", "replication/clock/virtual",
	"replication/durable", "replication/durable/pagecache", "replication/durable/pebblefs",
	"replication/durable/atrest",

	"replication/storagetest", "replication/internal/enginetest", "replication/internal/copies",
	"replication/internal/wal",
	"replication/timeline", "replication/transport", "replication/transport/grpc", "replication/witness", "localfleet",
	"etcdapi/etcdapitest", "check/leaks",
}

// loose are rooms whose rule holds for everything inside them, and that may use what lies in the rooms they name.
var loose = []string{"backup", "server", "cmd", "sim", "e2e", "bench"}

func TestImportsRunDownward(t *testing.T) {
	used := map[[2]string]bool{}
	for _, f := range tree(t) {
		room := f.room
		if room == "." {
			continue
		}
		key := ruleOf(room)
		if _, listed := below[key]; !listed {
			t.Errorf("%s: room %s has no rule", f.path, room)
			continue
		}
		for _, path := range f.imports() {
			other, own := strings.CutPrefix(path, module)
			if !own || other == room || key == "etcdapi" && within(other, "etcdapi") {
				continue
			}
			edge := allowed(key, other)
			used[[2]string{key, edge}] = true
			if f.test && slices.Contains(forTests, other) {
				used[[2]string{"", other}] = true
			} else if edge == "" {
				t.Errorf("%s: %s must not import %s", f.path, room, other)
			}
		}
	}
	for key, rooms := range below {
		for _, other := range rooms {
			if !used[[2]string{key, other}] {
				t.Errorf("%s may import %s, and does not: take it out of the table", key, other)
			}
		}
	}
	for _, room := range forTests {
		if !used[[2]string{"", room}] {
			t.Errorf("tests may import %s, and none does: take it out of the list", room)
		}
	}
}

// ruleOf returns the entry of below that binds a room.
func ruleOf(room string) string {
	if top, _, _ := strings.Cut(room, "/"); slices.Contains(loose, top) || top == "etcdapi" {
		return top
	}
	return room
}

// allowed returns the room in the rule of key that lets it import other; empty if there is none.
func allowed(key, other string) string {
	for _, a := range below[key] {
		if a == other || slices.Contains(loose, key) && within(other, a) {
			return a
		}
	}
	return ""
}

// foreign are packages that a part of the tree must not know.
var foreign = []struct{ room, prefix, why string }{
	{"replication", "go.etcd.io/etcd", "replication knows nothing of etcd"},
	{"kv", "google.golang.org/grpc", "kv knows nothing of gRPC services"},
	{"kv", "go.etcd.io/raft", "kv knows nothing of Raft"},
	{"replication/timeline", "go.etcd.io", "timeline is pure"},
	{".", "go.etcd.io/etcd/server", "a real etcd is for compat only"},
}

// TestVirtualTimeHasOneDoor keeps bubbles where the race detector survives them.
func TestVirtualTimeHasOneDoor(t *testing.T) {
	const door = "replication/clock/virtual"
	for _, f := range tree(t) {
		if f.room != door && slices.Contains(f.imports(), "testing/synctest") {
			t.Errorf("%s imports testing/synctest: enter virtual time through %s", f.path, door)
		}
		if !f.test && f.room != "sim" && slices.Contains(f.imports(), module+door) {
			t.Errorf("%s imports %s, which is for tests", f.path, door)
		}
	}
}

// TestImportsStandInBlocks of their own: those of the standard library, those of others, and those of this module.
func TestImportsStandInBlocks(t *testing.T) {
	kind := func(path string) string {
		first, _, _ := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(path, module):
			return "this module"
		case strings.Contains(first, "."):
			return "others"
		}
		return "the standard library"
	}
	for _, f := range tree(t) {
		for i, spec := range f.ast.Imports {
			if i == 0 {
				continue
			}
			before := f.ast.Imports[i-1]
			was, is := kind(f.imports()[i-1]), kind(f.imports()[i])
			apart := f.set.Position(spec.Pos()).Line > f.set.Position(before.End()).Line+1
			if was != is && !apart {
				t.Errorf("%s imports %s in the block of %s", f.path, spec.Path.Value, was)
			}
		}
	}
}

// messages are generated packages of etcd's server which know nothing of it: there are no others of these services.
var messages = []string{
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb",
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb",
}

func TestRoomsDoNotKnowWhatIsAbove(t *testing.T) {
	for _, f := range tree(t) {
		for _, rule := range foreign {
			for _, path := range f.imports() {
				if slices.Contains(messages, strings.TrimSuffix(path, "/gw")) {
					continue
				}
				if (rule.room == "." || within(f.room, rule.room)) && strings.HasPrefix(path, rule.prefix) {
					t.Errorf("%s imports %s: %s", f.path, path, rule.why)
				}
			}
		}
	}
}

// machine is what replaces a seam by the machine itself.
var machine = map[string][]string{
	"time": {"Now", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Since", "Until"},
	"os": {"Open", "Create", "OpenFile", "ReadFile", "WriteFile", "Mkdir", "MkdirAll", "Remove", "RemoveAll",
		"Rename", "Stat", "ReadDir"},
	"net": {"Dial", "DialTimeout", "Listen", "Dialer"},
}

// TestSeams keeps clock, filesystem and network injected under replication and in kv.
func TestSeams(t *testing.T) {
	for _, f := range tree(t) {
		real := f.room == "replication/storagetest" || f.room == "replication/clock" ||
			f.room == "replication/durable" || f.room == "replication/transport/grpc"
		if f.test || real || (!within(f.room, "replication") && !within(f.room, "kv")) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if p, ok := s.X.(*ast.Ident); ok && p.Obj == nil && slices.Contains(machine[p.Name], s.Sel.Name) {
				t.Errorf("%s: %s.%s goes past a seam", f.set.Position(s.Pos()), p.Name, s.Sel.Name)
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		documented[f.room] = documented[f.room] || f.ast.Doc != nil
	}
	for room, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", room)
		}
		for _, word := range []string{"util", "utils", "common", "helpers", "misc"} {
			if strings.HasSuffix("/"+room, "/"+word) {
				t.Errorf("%s: a room is named after what it does", room)
			}
		}
	}
}
