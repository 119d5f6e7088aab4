package raftgroup

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// BenchmarkPropose measures three members in one process, on disks and a network in memory: how many batches of how
// many payloads go through log, commit and apply on all of them, with up to 64 batches under way.
func BenchmarkPropose(b *testing.B) {
	for _, size := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("%dx256B", size), func(b *testing.B) { benchmarkPropose(b, size) })
	}
}

func benchmarkPropose(b *testing.B, size int) {
	net := memory.NewNetwork(clock.Real, 1)
	leads := make(chan *Group, 10)
	groups := make([]*Group, 3)
	var machine *countingMachine
	var peers []Peer
	for id := range uint64(3) {
		peers = append(peers, Peer{ID: id + 1})
	}
	for i := range groups {
		fs := pebblefs.New(vfs.NewMem())
		log, err := wal.Open(wal.Options{FS: fs, Dir: "log", SegmentBytes: 64 << 20, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		m := &countingMachine{conf: firstMembers(peers), applied: make(chan struct{}, 1)}
		tr := net.Node(fmt.Sprint(i + 1))
		groups[i], err = New(Config{
			ID: uint64(i + 1), Name: fmt.Sprint(i + 1), Peers: peers, Log: log, Machine: m,
			FS: fs, StagingDir: "staging", Transport: tr,
			Directory: numbered(""), Logger: quiet,
			TickInterval: 100 * time.Millisecond, ElectionTicks: 10, CompactBytes: 64 << 20,
			OnLeader: func(uint64) { machine = m; leads <- groups[i] },
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := tr.Serve(groups[i].Services()); err != nil {
			b.Fatal(err)
		}
		groups[i].Start()
		defer func() { groups[i].Stop(); tr.Close(); log.Close() }()
	}
	l := <-leads
	term := l.Status().Term
	const window = 64
	batch := make([][]byte, size)
	for i := range batch {
		batch[i] = make([]byte, 256)
		batch[i][0], batch[i][1] = timeline.FormatVersion, byte(timeline.KindControl)
	}
	runtime.GC()
	b.SetBytes(int64(size) * 256)
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	var last uint64
	for i := range b.N {
		first, err := l.Propose(b.Context(), term, batch)
		if err != nil {
			b.Fatal(err)
		}
		last = first + uint64(size) - 1
		if i >= window {
			machine.await(last - window*uint64(size))
		}
	}
	machine.await(last)
	b.ReportMetric(float64(b.N*size)/time.Since(began).Seconds(), "entries/s")
}

// countingMachine is a Machine that does nothing but count.
type countingMachine struct {
	conf    *raftpb.ConfState
	index   atomic.Uint64
	applied chan struct{}
}

func (m *countingMachine) await(index uint64) {
	for m.index.Load() < index {
		<-m.applied
	}
}

func (m *countingMachine) Apply(entries []*raftpb.Entry) error {
	m.index.Store(entries[len(entries)-1].GetIndex())
	select {
	case m.applied <- struct{}{}:
	default:
	}
	return nil
}

func (m *countingMachine) ApplyConf(*raftpb.Entry, *raftpb.ConfChangeV2, *raftpb.ConfState) error {
	return nil
}
func (m *countingMachine) Applied() (uint64, uint64, *raftpb.ConfState) { return 0, 0, m.conf }
func (m *countingMachine) Sync() (uint64, error)                        { return m.index.Load(), nil }
func (m *countingMachine) Checkpoint(string) (*Checkpoint, error) {
	return nil, ErrMachine
}
func (m *countingMachine) Inspect(string) (uint64, uint64, *raftpb.ConfState, error) {
	return 0, 0, nil, ErrMachine
}

func (m *countingMachine) Install(string) (uint64, uint64, *raftpb.ConfState, error) {
	return 0, 0, nil, ErrMachine
}
