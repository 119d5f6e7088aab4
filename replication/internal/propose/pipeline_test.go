package propose

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func TestEveryFrameContinuesTheOneBefore(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	var us []*proposal
	for range 3 {
		us = append(us, b.put(30, 30), b.put(60))
		b.steps()
	}
	at, folder := b.cursor, timeline.NewFolder()
	for _, f := range b.frames() {
		if f.Epoch != at.Epoch || f.First != at.Position+1 || f.Previous != at.Chain {
			t.Fatalf("frame at %d of epoch %d behind position %d of epoch %d", f.First, f.Epoch, at.Position, at.Epoch)
		}
		at = timeline.Cursor{Epoch: f.Epoch, Position: f.Last(), Chain: folder.Frame(&f)}
		b.told(region.Outcome{
			Term: 5, Index: 1, Epoch: f.Epoch, First: f.First, Results: make([][]byte, len(f.Commands)),
		})
	}
	b.steps()
	for _, f := range b.frames()[maxFlights:] {
		b.told(region.Outcome{
			Term: 5, Index: 1, Epoch: f.Epoch, First: f.First, Results: make([][]byte, len(f.Commands)),
		})
	}
	want := contract.Position(10)
	for i, u := range us {
		want += contract.Position(len(u.commands))
		if r := b.results[u].receipt; r == nil || r.Position != want || len(r.Results) != len(u.commands) {
			t.Errorf("proposal %d: receipt %+v, want position %d", i, r, want)
		}
	}
}

func TestProposalsOfALostTermComeBack(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	u := b.put(10)
	b.step()
	b.stepDown()
	if len(b.back) != 0 {
		t.Fatal("a proposal whose frame may still be committed came back")
	}
	b.told(region.Outcome{Term: 4, Index: 1})
	if len(b.back) != 0 {
		t.Fatal("an entry of an earlier term proves nothing")
	}
	b.told(region.Outcome{Term: 6, Index: 2})
	if len(b.back) != 1 || b.back[0] != u || b.ends[u] != 0 {
		t.Fatalf("proposals that came back: %d", len(b.back))
	}
}

func TestFramesOfAnEarlierTermMayStillBeApplied(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	u := b.put(10)
	b.step()
	b.stepDown()
	b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11}, region.Outcome{Term: 6, Index: 2})
	if len(b.back) != 0 || b.ends[u] != 1 || b.results[u].receipt.Position != 11 {
		t.Fatalf("came back %d, result %+v", len(b.back), b.results[u])
	}
}

func TestAFrameThatRaftDoesNotTakeLeavesNoGap(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	b.refuse = errors.New("transfer in progress")
	u := b.put(10)
	b.step()
	if len(b.back) != 1 {
		t.Fatal("the proposal did not come back")
	}
	b.refuse = nil
	if !b.enqueue(u) {
		t.Fatal("the pipeline is closed")
	}
	b.step()
	if f := b.frames(); len(f) != 1 || f[0].First != 11 {
		t.Fatalf("frames %+v", f)
	}
}

func TestNoFrameStandsBehindASeal(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	b.put(10)
	b.step()
	waiting := b.put(10)
	r := b.ask(99, true)
	b.steps()
	if len(b.back) != 1 || b.back[0] != waiting || b.reigns {
		t.Fatalf("came back %d, open %t", len(b.back), b.reigns)
	}
	b.evaluate()
	if b.reigns {
		t.Fatal("open while the seal is on its way")
	}
	b.writes = false
	b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11}, region.Outcome{Term: 5, Index: 2, Token: 99})
	if a := <-r.done; a.err != nil || a.outcome.Token != 99 || b.reigns {
		t.Fatalf("answered %+v, open %t", a, b.reigns)
	}
	b.writes, b.cursor = true, timeline.Cursor{Epoch: 3, Position: 11}
	b.evaluate()
	b.put(10)
	b.step()
	var f timeline.Frame
	if err := timeline.DecodeFrame(b.log[len(b.log)-1], &f); err != nil || f.First != 12 {
		t.Fatalf("first frame after the seal was lifted: %d, %v", f.First, err)
	}
}

// Frames of two terms never fly together: the log could not tell which of them were lost.
func TestANewTermWaitsForTheFramesOfTheOld(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	b.put(10)
	b.step()
	waiting := b.put(10)
	b.lead(6)
	b.check()
	if b.reigns || len(b.back) != 1 || b.back[0] != waiting {
		t.Fatalf("open %t, came back %d", b.reigns, len(b.back))
	}
	b.cursor = timeline.Cursor{Epoch: 3, Position: 11}
	b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11}, region.Outcome{Term: 6, Index: 2})
	b.evaluate()
	if b.check(); !b.reigns {
		t.Fatal("closed for good")
	}
}

// A control that ends nothing lets frames pass beside it.
func TestSlotsDoNotStopTheWrites(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	r := b.ask(99, false)
	b.put(10)
	b.steps()
	if len(b.log) != 2 || !b.reigns {
		t.Fatalf("%d payloads in the log, open %t", len(b.log), b.reigns)
	}
	b.told(region.Outcome{Term: 5, Index: 1, Token: 99})
	if a := <-r.done; a.err != nil {
		t.Fatal(a.err)
	}
}

// A node that proposed frames and then was given a state of another node cannot tell whether they are part of it:
// neither may they be proposed again, nor may their callers wait for ever. The same holds for controls.
func TestNothingIsRepeatedThatAGivenStateMayHold(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	u := b.put(10)
	b.step()
	r := b.ask(99, true)
	b.step()
	b.stepDown()
	b.check()
	b.overtaken()
	b.told(region.Outcome{Term: 6, Index: 9})
	if len(b.back) != 0 {
		t.Fatal("a proposal that may be applied came back")
	}
	if b.ends[u] != 1 || !errors.Is(b.results[u].err, contract.ErrUnknownOutcome) {
		t.Fatalf("ended %d times, with %v", b.ends[u], b.results[u].err)
	}
	if a := <-r.done; !errors.Is(a.err, contract.ErrUnknownOutcome) {
		t.Fatalf("control answered %v", a.err)
	}
	b.cursor = timeline.Cursor{Epoch: 3, Position: 40}
	b.lead(7)
	b.log = nil
	b.put(10)
	b.steps()
	if f := b.frames(); len(f) != 1 || f[0].First != 41 {
		t.Fatalf("first frame on the given state: %+v", f)
	}
}

// Requests of a leader that lost its term may still be decided by the log, as frames may. Those that it has not
// proposed are not.
func TestARequestOfALostTermIsAnsweredByTheLog(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	r := b.ask(99, true)
	b.step()
	later := b.ask(100, true)
	b.stepDown()
	b.check()
	if len(r.done) != 0 {
		t.Fatal("answered although the log may still hold it")
	}
	if a := <-later.done; !errors.Is(a.err, contract.ErrNotLeader) {
		t.Fatalf("what was never proposed was answered %v", a.err)
	}
	b.told(region.Outcome{Term: 5, Index: 1, Token: 99})
	if a := <-r.done; a.err != nil || a.outcome.Token != 99 {
		t.Fatalf("answered %+v", a)
	}
	if err := b.line(&request{}); !errors.Is(err, contract.ErrNotLeader) {
		t.Fatalf("a control in line at a follower: %v", err)
	}
}

// A later term proves a control lost.
func TestARequestThatALaterTermOvertookIsNotDone(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	r := b.ask(99, true)
	b.step()
	b.stepDown()
	b.told(region.Outcome{Term: 6, Index: 1})
	if a := <-r.done; !errors.Is(a.err, contract.ErrNotLeader) {
		t.Fatalf("answered %+v", a)
	}
	b.lead(7)
	if b.check(); !b.reigns {
		t.Fatal("closed for good by a control that was lost")
	}
}

// A control that raft refuses was not done, and the writes go on.
func TestARequestThatRaftRefusesLeavesThePipelineOpen(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	b.refuse = raftgroup.ErrBusy
	r := b.ask(99, true)
	b.steps()
	if a := <-r.done; !errors.Is(a.err, contract.ErrNotLeader) || !b.reigns {
		t.Fatalf("answered %+v, open %t", a, b.reigns)
	}
}

// What is handed to raft as it stops may have been taken; whoever waits for it learns that once, from abandon.
func TestWhatRaftMayHaveTakenDoesNotComeBack(t *testing.T) {
	for _, refuse := range []error{raftgroup.ErrStopped, raftgroup.ErrBusy} {
		b := newBench(t)
		b.lead(5)
		u := b.put(10)
		b.during, b.refuse = func() { b.abandon(contract.ErrClosed) }, refuse
		b.step()
		if len(b.back) != 0 || b.ends[u] != 1 {
			t.Errorf("%v: came back %d, ended %d times", refuse, len(b.back), b.ends[u])
		}
		b.lead(6)
		if err := b.line(&request{}); b.reigns || !errors.Is(err, contract.ErrClosed) {
			t.Errorf("%v: open %t, a control is answered %v after the end", refuse, b.reigns, err)
		}
		b.check()
	}
	b := newBench(t)
	b.lead(5)
	r := b.ask(99, true)
	b.refuse = raftgroup.ErrStopped
	b.steps()
	if len(r.done) != 0 {
		t.Fatal("a control that raft may have taken was answered")
	}
	b.abandon(contract.ErrStopped)
	if a := <-r.done; !errors.Is(a.err, contract.ErrStopped) {
		t.Fatalf("answered %v", a.err)
	}
	b.check()
}

// Only a proposal that asks for further regions reaches those who know of them.
func TestOneRegionPassesNobodyElse(t *testing.T) {
	b := newBench(t)
	b.lead(5)
	alone := b.put(10)
	two, three := b.propose(10), b.propose(10)
	now := time.Now()
	two.regions, two.deadline = 2, now.Add(10*time.Second)
	three.regions, three.deadline, three.from = 3, now.Add(10*time.Second), &answers{}
	b.enqueue(two)
	b.enqueue(three)
	b.steps()
	b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11})
	if b.ends[alone] != 1 || b.ends[two] != 0 || len(b.waits) != 2 {
		t.Fatalf("ended %d and %d times, %d wait", b.ends[alone], b.ends[two], len(b.waits))
	}
	w := b.waits[0]
	if left := w.deadline.Sub(now); w.k != 2 || w.receipt.Position != 12 || left <= 0 || left > 9500*time.Millisecond {
		t.Errorf("position %d waits for %d regions, for %v; the caller leaves after 10s", w.receipt.Position, w.k, left)
	}
	if !b.waits[1].deadline.Equal(three.deadline) {
		t.Error("what another node says has its margin already")
	}
	w.receipt.Regions = 2
	w.done(w.receipt, contract.ErrUnderReplicated)
	if r := b.results[two]; r.receipt.Regions != 2 || !errors.Is(r.err, contract.ErrUnderReplicated) {
		t.Errorf("result %+v", r)
	}
}

// Whatever happens in whatever order: the invariants hold, and no proposal ends twice.
func TestThePipelineStaysValid(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		term, index, at := uint64(1), uint64(0), b.cursor.Position
		var sent []region.Outcome // what raft took and nobody applied
		for range 60 {
			switch random.IntN(11) {
			case 9:
				u := b.propose(random.IntN(60) + 1)
				u.bound, u.tenure = true, b.tenureNow()
				if b.enqueue(u) && random.IntN(4) == 0 {
					u.withdraw()
				}
			case 10:
				b.ceiling = !b.ceiling
				b.evaluate()
			case 0:
				b.lead(term)
			case 1:
				b.stepDown()
				term++
			case 2, 3:
				b.enqueue(b.propose(random.IntN(60) + 1))
			case 4:
				_ = b.line(
					&request{token: random.Uint64() | 1, closes: random.IntN(2) == 0, done: make(chan answer, 1)})
			case 5:
				b.refuse = []error{nil, nil, raftgroup.ErrBusy}[random.IntN(3)]
			case 6, 7:
				flights, requests := len(b.flights), len(b.requests)
				b.step()
				if len(b.flights) > flights {
					f := b.flights[flights]
					sent = append(sent, region.Outcome{Term: f.term, Epoch: f.after.Epoch, First: f.first})
				} else if n := len(b.requests); b.refuse == nil && n == requests && n > 0 && b.requests[n-1].term != 0 {
					sent = append(sent, region.Outcome{Term: b.requests[n-1].term, Token: b.requests[n-1].token})
				}
			case 8:
				if random.IntN(8) == 0 { // a new leader: nothing of the terms before it follows
					b.stepDown()
					term++
					sent = []region.Outcome{{Term: term}}
				}
				for _, o := range sent {
					index++
					o.Index = index
					if o.First != 0 {
						at = o.First + 100
					}
					b.told(o)
				}
				sent, b.cursor.Position = nil, max(at, b.cursor.Position)
				b.writes = random.IntN(5) > 0
				b.evaluate()
			}
			b.check()
		}
		b.overtaken()
		b.check()
		b.abandon(contract.ErrClosed)
		b.check()
		for u, n := range b.ends {
			if n != 1 {
				t.Fatalf("seed %d: proposal of %d bytes ended %d times", seed, u.bytes, n)
			}
		}
	}
}

// TestALogThatGoesOnIsNotStalled, however long the frames wait that stand behind.
func TestALogThatGoesOnIsNotStalled(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.lead(5)
		for range 2 {
			b.put(60)
			b.step()
		}
		const longest = 1500 * time.Millisecond
		for _, want := range []bool{true, false, true} {
			if want {
				time.Sleep(2 * time.Second) // of virtual time
			} else {
				b.told(region.Outcome{Term: 5, Index: 1, Epoch: 3, First: 11})
			}
			if got := b.stalled(longest); got != want {
				t.Fatalf("stalled: %t, want %t", got, want)
			}
		}
	})
}

// TestALogThatTakesNoControlIsStalled: the control ended the right to write, so that no frame can tell.
func TestALogThatTakesNoControlIsStalled(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.lead(5)
		const longest = 1500 * time.Millisecond
		stalled := func(what string, want bool) {
			t.Helper()
			if got := b.stalled(longest); got != want {
				t.Fatalf("%s: stalled: %t, want %t", what, got, want)
			}
		}
		b.ask(7, true)
		time.Sleep(2 * time.Second)
		stalled("a control that was not proposed", false)
		b.steps()
		stalled("one that just was", false)
		time.Sleep(2 * time.Second)
		stalled("one that is not agreed on", true)
		b.told(region.Outcome{Term: 5, Token: 7})
		stalled("one that is", false)
		b.put(60)
		b.ask(8, false)
		b.steps()
		time.Sleep(2 * time.Second)
		stalled("a control and a frame", true)
		b.told(region.Outcome{Term: 5, Token: 8})
		stalled("a frame behind a control that is agreed on", false)
		time.Sleep(2 * time.Second)
		stalled("a frame that does not follow it", true)
	})
}
