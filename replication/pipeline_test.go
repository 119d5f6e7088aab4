package replication

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// pipelineBench is a pipeline whose log is a slice, stepped by hand.
type pipelineBench struct {
	*pipeline
	log     [][]byte
	refuse  error
	writes  bool
	cursor  timeline.Cursor
	back    []*unit
	results map[*unit]*Receipt
}

func newPipelineBench() *pipelineBench {
	b := &pipelineBench{writes: true, cursor: timeline.Cursor{Epoch: 3, Position: 10, Chain: timeline.Chain{1}}, results: map[*unit]*Receipt{}}
	b.pipeline = &pipeline{
		propose: func(_ context.Context, _ uint64, payloads [][]byte) (uint64, error) {
			if b.refuse != nil {
				return 0, b.refuse
			}
			b.log = append(b.log, payloads...)
			return uint64(len(b.log)), nil
		},
		again: func(us []*unit) {
			for _, u := range us {
				u.giveBack()
			}
			b.back = append(b.back, us...)
		},
		applied:   func(u *unit, r *Receipt) { b.results[u] = r },
		mayOpen:   func() (timeline.Cursor, bool) { return b.cursor, b.writes },
		frameSize: 100, window: 1 << 20, wake: make(chan struct{}, 1), folder: timeline.NewFolder(),
	}
	return b
}

func (b *pipelineBench) put(t *testing.T, sizes ...int) *unit {
	t.Helper()
	u := &unit{}
	for i, n := range sizes {
		u.commands = append(u.commands, Command{Data: fmt.Appendf(nil, "%0*d", n, i)})
		u.bytes += n
	}
	if !b.enqueue(u) {
		t.Fatal("the pipeline is closed")
	}
	return u
}

func (b *pipelineBench) frames(t *testing.T) []timeline.Frame {
	t.Helper()
	frames := make([]timeline.Frame, len(b.log))
	for i, p := range b.log {
		if err := timeline.DecodeFrame(p, &frames[i]); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

func TestEveryFrameContinuesTheOneBefore(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	var units []*unit
	for range 3 {
		units = append(units, b.put(t, 30, 30), b.put(t, 60))
		for b.step(t.Context()) {
		}
	}
	at, folder := b.cursor, timeline.NewFolder()
	for _, f := range b.frames(t) {
		if f.Epoch != at.Epoch || f.First != at.Position+1 || f.Previous != at.Chain {
			t.Fatalf("frame at %d of epoch %d behind position %d of epoch %d", f.First, f.Epoch, at.Position, at.Epoch)
		}
		at = timeline.Cursor{Epoch: f.Epoch, Position: f.Last(), Chain: folder.Frame(&f)}
		b.resolve([]region.Outcome{{Term: 5, Index: 1, Epoch: f.Epoch, First: f.First, Results: make([][]byte, len(f.Commands))}})
	}
	for b.step(t.Context()) {
	}
	for _, f := range b.frames(t)[maxFlights:] {
		b.resolve([]region.Outcome{{Term: 5, Index: 1, Epoch: f.Epoch, First: f.First, Results: make([][]byte, len(f.Commands))}})
	}
	want := Position(10)
	for i, u := range units {
		want += Position(len(u.commands))
		if r := b.results[u]; r == nil || r.Position != want || len(r.Results) != len(u.commands) {
			t.Errorf("unit %d: receipt %+v, want position %d", i, r, want)
		}
	}
}

func TestUnitsOfALostTermComeBack(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	u := b.put(t, 10)
	b.step(t.Context())
	b.follow()
	if len(b.back) != 0 {
		t.Fatal("a unit whose frame may still be committed came back")
	}
	b.resolve([]region.Outcome{{Term: 4, Index: 1}})
	if len(b.back) != 0 {
		t.Fatal("an entry of an earlier term proves nothing")
	}
	b.resolve([]region.Outcome{{Term: 6, Index: 2}})
	if len(b.back) != 1 || b.back[0] != u || b.results[u] != nil {
		t.Fatalf("units that came back: %d", len(b.back))
	}
}

func TestFramesOfAnEarlierTermMayStillBeApplied(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	u := b.put(t, 10)
	b.step(t.Context())
	b.follow()
	b.resolve([]region.Outcome{{Term: 5, Index: 1, Epoch: 3, First: 11}, {Term: 6, Index: 2}})
	if len(b.back) != 0 || b.results[u] == nil || b.results[u].Position != 11 {
		t.Fatalf("came back %d, receipt %+v", len(b.back), b.results[u])
	}
}

func TestAFrameThatRaftDoesNotTakeLeavesNoGap(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	b.refuse = errors.New("transfer in progress")
	u := b.put(t, 10)
	b.step(t.Context())
	if len(b.back) != 1 {
		t.Fatal("the unit did not come back")
	}
	b.refuse = nil
	if !b.enqueue(u) {
		t.Fatal("the pipeline is closed")
	}
	b.step(t.Context())
	if f := b.frames(t); len(f) != 1 || f[0].First != 11 {
		t.Fatalf("frames %+v", f)
	}
}

func TestNoFrameStandsBehindASeal(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	b.put(t, 10)
	b.step(t.Context())
	waiting := b.put(t, 10)
	payload, err := timeline.EncodeControl(&timeline.Control{Op: timeline.OpSeal, Token: 99})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		a, err := b.request(t.Context(), &request{payload: payload, closes: true, token: 99})
		if err == nil && a.Token != 99 {
			err = fmt.Errorf("answered by %+v", a)
		}
		done <- err
	}()
	for waits := 0; waits == 0; { // until the request stands in line
		b.mu.Lock()
		waits = len(b.controls)
		b.mu.Unlock()
	}
	for b.step(t.Context()) {
	}
	if len(b.back) != 1 || b.back[0] != waiting || b.isOpen() {
		t.Fatalf("came back %d, open %t", len(b.back), b.isOpen())
	}
	b.evaluate()
	if b.isOpen() {
		t.Fatal("open while the seal is on its way")
	}
	b.writes = false
	b.resolve([]region.Outcome{{Term: 5, Index: 1, Epoch: 3, First: 11}, {Term: 5, Index: 2, Token: 99}})
	if err := <-done; err != nil || b.isOpen() {
		t.Fatalf("%v, open %t", err, b.isOpen())
	}
	b.writes, b.cursor = true, timeline.Cursor{Epoch: 3, Position: 11}
	b.evaluate()
	b.put(t, 10)
	b.step(t.Context())
	var f timeline.Frame
	if err := timeline.DecodeFrame(b.log[len(b.log)-1], &f); err != nil || f.First != 12 {
		t.Fatalf("first frame after the seal was lifted: %d, %v", f.First, err)
	}
}

// A node that proposed frames and then was given a state of another node cannot tell whether they are part of it: neither may they be
// proposed again, nor may their callers wait for ever.
func TestNothingIsRepeatedThatAGivenStateMayHold(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	u := b.put(t, 10)
	var ended []result
	u.finish = func(r result) { ended = append(ended, r) }
	b.step(t.Context())
	b.follow()
	b.overtaken()
	b.resolve([]region.Outcome{{Term: 6, Index: 9}})
	if len(b.back) != 0 {
		t.Fatal("a unit that may be applied came back")
	}
	if len(ended) != 1 || !errors.Is(ended[0].err, ErrUnknownOutcome) {
		t.Fatalf("ended with %v", ended)
	}
}

// Requests of a leader that lost its term may still be decided by the log, as frames may.
func TestARequestOfALostTermIsAnsweredByTheLog(t *testing.T) {
	b := newPipelineBench()
	b.lead(5)
	r := &request{closes: true, token: 99, done: make(chan requestResult, 1)}
	b.controls = append(b.controls, r)
	b.step(t.Context())
	b.follow()
	if len(r.done) != 0 {
		t.Fatal("answered although the log may still hold it")
	}
	b.resolve([]region.Outcome{{Term: 5, Index: 1, Token: 99}})
	if res := <-r.done; res.err != nil || res.applied.Token != 99 {
		t.Fatalf("answered %+v", res)
	}
}

// A frame handed to raft as it stops may have been taken; whoever waits for it learns that once, from abandon.
func TestAFrameThatRaftMayHaveTakenDoesNotComeBack(t *testing.T) {
	for _, refuse := range []error{raftgroup.ErrStopped, raftgroup.ErrBusy} {
		b := newPipelineBench()
		b.lead(5)
		u := b.put(t, 10)
		ends := 0
		u.finish = func(result) { ends++ }
		propose := b.propose
		b.propose = func(ctx context.Context, term uint64, payloads [][]byte) (uint64, error) {
			b.abandon(ErrClosed)
			b.refuse = refuse
			return propose(ctx, term, payloads)
		}
		b.step(t.Context())
		if len(b.back) != 0 || ends != 1 {
			t.Errorf("%v: came back %d, ended %d times", refuse, len(b.back), ends)
		}
	}
}

// Whether the region may write is asked with the lock held. An answer that is older than the end of a control would open the pipeline behind
// a seal, or leave it closed for good.
func TestTheRightToWriteIsNeverOutOfDate(t *testing.T) {
	b := newPipelineBench()
	ask := b.mayOpen
	b.mayOpen = func() (timeline.Cursor, bool) {
		if b.mu.TryLock() {
			b.mu.Unlock()
			t.Error("asked without the lock")
		}
		return ask()
	}
	b.lead(5)
	if !b.isOpen() {
		t.Fatal("closed")
	}
}
