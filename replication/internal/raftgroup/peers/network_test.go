package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// life ends with its test.
type life struct {
	ctx     context.Context
	running sync.WaitGroup
}

func (l *life) Context() context.Context { return l.ctx }
func (l *life) Spawn(f func()) bool {
	if l.ctx.Err() != nil {
		return false
	}
	l.running.Go(f)
	return true
}

// inbox collects what one member gets.
type inbox struct {
	mu          sync.Mutex
	received    []*raftpb.Message
	unreachable map[uint64]int
	closed      bool
}

func (b *inbox) Receive(messages []*raftpb.Message, _ int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received = append(b.received, messages...)
	return !b.closed
}

func (b *inbox) ReportUnreachable(id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unreachable[id]++
}

// losses returns how often raft was told that messages to a member were lost.
func (b *inbox) losses(id uint64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unreachable[id]
}

// indexes returns the indexes of the messages of a kind that arrived, in order.
func (b *inbox) indexes(kind raftpb.MessageType) (list []uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.received {
		if m.GetType() == kind {
			list = append(list, m.GetIndex())
		}
	}
	return list
}

// errEnd is why the groups of these tests end.
var errEnd = errors.New("the test is over")

// node is one member with nothing but its network.
type node struct {
	*Network
	inbox *inbox
	life  *life
	end   func()
	fail  context.CancelCauseFunc
	gone  atomic.Uint64 // whom this member knows as removed
	told  atomic.Uint64 // how often it was told that it is removed itself
	apart atomic.Uint64 // whom this member knows to be of another life
}

func newNode(t *testing.T, net *memory.Network, id uint64) *node {
	t.Helper()
	return newNodeAt(t, net, id, fmt.Sprint(id))
}

func newNodeAt(t *testing.T, net *memory.Network, id uint64, addr string) *node {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	tr := net.Node(addr)
	n := &node{
		inbox: &inbox{unreachable: map[uint64]int{}}, life: &life{ctx: ctx},
		end: func() { cancel(errEnd) }, fail: cancel,
	}
	n.Network = New(Config{
		Group: "test", ID: id, Transport: tr, Clock: clock.Real,
		TickInterval: 10 * time.Millisecond, MaxInflightBytes: 1 << 20,
		Directory: upTo8{&n.gone}, OnRemoved: func(error) { n.told.Add(1) },
		Apart:  func(id uint64, _ string) bool { return id == n.apart.Load() },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, n.inbox, n.life)
	if err := tr.Serve(map[string]transport.Handler{Service: n.Serve}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.end()
		tr.Close()
		n.life.running.Wait()
	})
	return n
}

// valid checks the streams to all members.
func (n *node) valid(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if err := errors.Join(p.control.valid(), p.entries.valid()); err != nil {
			t.Error(err)
		}
	}
}

func message(kind raftpb.MessageType, to, index uint64, data ...byte) *raftpb.Message {
	m := &raftpb.Message{Type: kind.Enum(), To: new(to), From: new(uint64(1)), Index: new(index)}
	if len(data) > 0 {
		m.Entries = []*raftpb.Entry{{Index: new(index), Data: data}}
	}
	return m
}

// inBubble runs f with a network of two members.
func inBubble(t *testing.T, f func(t *testing.T, net *memory.Network, a, b *node)) {
	virtual.Test(t, func(t *testing.T) {
		net := memory.NewNetwork(clock.Real, 1)
		f(t, net, newNode(t, net, 1), newNode(t, net, 2))
	})
}

// N2: each way keeps its order, whatever the other carries.
func TestEachWayKeepsItsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		for i := range uint64(50) {
			a.Send(message(raftpb.MsgApp, 2, i))
			a.Send(message(raftpb.MsgHeartbeat, 2, i))
			a.valid(t)
		}
		time.Sleep(time.Second)
		for _, kind := range []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgHeartbeat} {
			list := b.inbox.indexes(kind)
			for i, index := range list {
				if index != uint64(i) {
					t.Errorf("%s: message %d is %d", kind, i, index)
				}
			}
			if len(list) == 0 {
				t.Errorf("%s: nothing arrived", kind)
			}
		}
	})
}

// N1: what does not fit is dropped, the newest first, and raft is told once; a message larger than the queue fits if it
// is alone.
func TestFullQueueDropsAndTellsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		s := newStream(a.Network, 2, 1<<10)
		push := func(index uint64, bytes int) {
			s.push(message(raftpb.MsgApp, 2, index, make([]byte, bytes)...))
			if err := s.valid(); err != nil {
				t.Error(err)
			}
		}
		for round := 1; round <= 2; round++ {
			for i := range uint64(40) {
				push(i, 100)
			}
			if told := a.inbox.losses(2); told != round {
				t.Errorf("raft was told of losses %d times in %d rounds", told, round)
			}
			for i, m := range s.take() {
				if m.GetIndex() != uint64(i) {
					t.Errorf("message %d is %d", i, m.GetIndex())
				}
			}
		}
		push(100, 5<<10)
		push(101, 1)
		if left := s.take(); len(left) != 1 || left[0].GetIndex() != 100 {
			t.Errorf("%d messages wait", len(left))
		}
	})
}

// N1: a connection that breaks costs what waited, raft is told, and the next message goes through.
func TestBrokenConnectionIsOpenedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		net.SetDetection(20 * time.Millisecond)
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		net.Cut("1", "2")
		for i := range uint64(100) {
			a.Send(message(raftpb.MsgHeartbeat, 2, 2+i))
			time.Sleep(10 * time.Millisecond)
		}
		if a.inbox.losses(2) == 0 {
			t.Error("raft was not told")
		}
		net.HealAll()
		time.Sleep(time.Second)
		a.Send(message(raftpb.MsgHeartbeat, 2, 1000))
		time.Sleep(time.Second)
		if list := b.inbox.indexes(raftpb.MsgHeartbeat); list[0] != 1 || list[len(list)-1] != 1000 {
			t.Errorf("arrived %v", list)
		}
		a.valid(t)
	})
}

func TestMemberWithoutAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, _ *node) {
		if _, err := a.Open(t.Context(), 9, Service); !errors.Is(err, ErrNoAddress) {
			t.Error(err)
		}
		a.Send(message(raftpb.MsgHeartbeat, 9, 1))
		time.Sleep(time.Second)
		if a.inbox.losses(9) == 0 {
			t.Error("raft was not told")
		}
	})
}

// N8: nothing goes to a member of another life, whether or not a stream to him is open, until he is of this one again.
func TestNothingIsSentToAnotherLife(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		a.apart.Store(2)
		a.Send(message(raftpb.MsgHeartbeat, 2, 2))
		a.Send(message(raftpb.MsgApp, 2, 2))
		if _, err := a.Open(t.Context(), 2, "any"); !errors.Is(err, ErrApart) {
			t.Errorf("a stream to him: %v", err)
		}
		time.Sleep(time.Second)
		if a.inbox.losses(2) != 2 {
			t.Errorf("raft was told of %d losses", a.inbox.losses(2))
		}
		a.apart.Store(0)
		a.Send(message(raftpb.MsgHeartbeat, 2, 3))
		time.Sleep(time.Second)
		if list := b.inbox.indexes(raftpb.MsgHeartbeat); !slices.Equal(list, []uint64{1, 3}) {
			t.Errorf("arrived %v", list)
		}
		if list := b.inbox.indexes(raftpb.MsgApp); len(list) > 0 {
			t.Errorf("appends arrived: %v", list)
		}
	})
}

// moved has two addresses of the member 2, and takes another one when one failed.
type moved struct {
	upTo8
	at *atomic.Int64
}

func (m moved) Addr(id uint64) (string, bool) {
	if id == 2 {
		return []string{"2", "3"}[m.at.Load()%2], true
	}
	return m.upTo8.Addr(id)
}

func (m moved) Failed(id uint64, addr string) {
	if at, _ := m.Addr(id); id == 2 && at == addr {
		m.at.Add(1)
	}
}

// N7, N8: where a member was is somebody of another life, to whom a stream is open already. The member is sent to where
// he is.
func TestWhoMovedIsSentToWhereHeIs(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		there := newNodeAt(t, net, 2, "3")
		a.config.Directory = moved{a.config.Directory.(upTo8), new(atomic.Int64)}
		a.config.Apart = func(id uint64, addr string) bool { return addr == fmt.Sprint(a.apart.Load()) }
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		a.apart.Store(2)
		for i := range uint64(3) {
			a.Send(message(raftpb.MsgHeartbeat, 2, 2+i))
			time.Sleep(time.Second)
		}
		if list := b.inbox.indexes(raftpb.MsgHeartbeat); !slices.Equal(list, []uint64{1}) {
			t.Errorf("where he was arrived %v", list)
		}
		if list := there.inbox.indexes(raftpb.MsgHeartbeat); !slices.Equal(list, []uint64{3, 4}) {
			t.Errorf("where he is arrived %v", list)
		}
	})
}

// N5: the streams to those who left end, and come back with the member.
func TestRetainEndsStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		before := a.peers[2]
		a.Retain(&raftpb.ConfState{Learners: []uint64{2}})
		if a.peers[2] != before {
			t.Error("the streams to a learner ended")
		}
		a.Retain(&raftpb.ConfState{Voters: []uint64{1}})
		if len(a.peers) != 0 {
			t.Error("the streams to a former member go on")
		}
		time.Sleep(time.Second)
		a.Send(message(raftpb.MsgHeartbeat, 2, 2))
		time.Sleep(time.Second)
		if list := b.inbox.indexes(raftpb.MsgHeartbeat); len(list) != 2 {
			t.Errorf("arrived %v", list)
		}
	})
}

// N3 and N4: whatever is not a hello for this member, or not a message of a peer, ends the stream.
func TestStrangersAreTurnedAway(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, a, b *node) {
		stranger := net.Node("stranger")
		defer stranger.Close()
		good := Hello{Group: "test", From: 1, To: 2}.Encode()
		for _, said := range [][][]byte{
			{Hello{Group: "other", From: 1, To: 2}.Encode()},
			{Hello{Group: "test", From: 1, To: 3}.Encode()},
			{[]byte("GET / HTTP/1.1")},
			{good, []byte("GET / HTTP/1.1")},
			{good, encodeMessages([]*raftpb.Message{message(raftpb.MsgHup, 2, 1)})},
		} {
			s, err := stranger.Open(t.Context(), "2", Service)
			for _, p := range said {
				if err == nil {
					err = s.Send(p)
				}
			}
			if err == nil {
				_, err = s.Recv()
			}
			if !errors.Is(err, transport.ErrRemote) {
				t.Errorf("after %q: %v", said, err)
			}
		}
		if len(b.inbox.received) != 0 {
			t.Errorf("taken: %v", b.inbox.received)
		}
	})
}

// N5: the group's end ends the streams that others opened, and says why.
func TestServeEndsWithTheGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		s, err := a.Open(t.Context(), 2, Service)
		if err != nil {
			t.Fatal(err)
		}
		virtual.Wait()
		b.end()
		if _, err := s.Recv(); !errors.Is(err, transport.ErrRemote) {
			t.Errorf("the stream ended with %v", err)
		}
		if err := b.Serve(t.Context(), s); !errors.Is(err, errEnd) {
			t.Errorf("served after the end: %v", err)
		}
		b.Send(message(raftpb.MsgHeartbeat, 1, 1)) // nobody minds
	})
}

func TestIsMember(t *testing.T) {
	conf := &raftpb.ConfState{
		Voters: []uint64{1}, Learners: []uint64{2}, VotersOutgoing: []uint64{3}, LearnersNext: []uint64{4},
	}
	for id := range uint64(6) {
		if got, want := IsMember(conf, id), id >= 1 && id <= 4; got != want {
			t.Errorf("%d: %t", id, got)
		}
	}
}

// upTo8 is a directory of eight members that are reached by their number.
type upTo8 struct{ gone *atomic.Uint64 }

func (upTo8) Addr(id uint64) (string, bool) { return fmt.Sprint(id), id < 9 }
func (upTo8) Name(id uint64) string         { return fmt.Sprint("n", id) }

func (upTo8) Failed(uint64, string) {}

// Removed says it of one.
func (u upTo8) Removed(id uint64) bool { return u.gone.Load() == id }

// N6: whoever was removed is told so, on the stream that he has and on every new one, and is not listened to.
func TestWhoWasRemovedIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		b.gone.Store(1)
		a.Send(message(raftpb.MsgHeartbeat, 2, 2))
		time.Sleep(time.Second)
		if a.told.Load() != 1 {
			t.Errorf("told %d times on its stream", a.told.Load())
		}
		a.Send(message(raftpb.MsgApp, 2, 3))
		time.Sleep(time.Second)
		if a.told.Load() != 2 || b.told.Load() != 0 {
			t.Errorf("told %d times, the other %d times", a.told.Load(), b.told.Load())
		}
		if got := b.inbox.indexes(raftpb.MsgHeartbeat); fmt.Sprint(got) != "[1]" {
			t.Errorf("listened to %v", got)
		}
		if got := b.inbox.indexes(raftpb.MsgApp); len(got) != 0 {
			t.Errorf("listened to %v", got)
		}
	})
}

// That a member was removed is its own end, and none of those that it talks to.
func TestARemovedMemberTellsNobodyThatHeIs(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *memory.Network, a, b *node) {
		a.Send(message(raftpb.MsgHeartbeat, 2, 1))
		time.Sleep(time.Second)
		b.fail(fmt.Errorf("stopped: %w: n2, from test", transport.ErrRemoved))
		time.Sleep(time.Second)
		a.Send(message(raftpb.MsgHeartbeat, 2, 2))
		time.Sleep(time.Second)
		if a.told.Load() != 0 {
			t.Errorf("believed %d times that it was removed itself", a.told.Load())
		}
	})
}
