package raftgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// A leader gives raft no acknowledgement of entries that it never had, and tells its sender where its log ends.
func TestLoopMemberThatIsAhead(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	term := r.elect()
	last := r.log.LastIndex()
	acknowledge := func(index uint64) {
		r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(index)})
	}
	acknowledge(last + 40)
	p := r.propose(term, "only here")
	r.turn(false)
	r.settle()
	<-p.reply
	acknowledge(last + 40)
	acknowledge(last + 1)
	if r.loop.commit > last {
		t.Errorf("entry %d is committed with the help of a member that has another", r.loop.commit)
	}
	if members := r.loop.progress(); !members[2].Lost || members[3].Lost || members[2].Match > last ||
		members[2].Ahead != last+40 || members[3].Ahead != 0 {
		t.Errorf("knows %+v", members)
	}
	r.sent = nil
	r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term)})
	n, m := r.appendsTo(2)
	if n != 1 || len(m.GetContext()) != endContextBytes ||
		binary.LittleEndian.Uint64(m.GetContext()[8:]) != r.log.LastIndex() {
		t.Errorf("%d appends after a heartbeat, the last says %x", n, m.GetContext())
	}
}

// Whoever acknowledges in the name of a member what its leader never had takes nothing from that member but the time of
// one question, and what it acknowledges itself counts again.
func TestNobodyIsMutedByAForgedAcknowledgement(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.close()
		var reached atomic.Bool
		c.tune = func(config *Config) {
			id := config.ID
			config.Ask = func(_ context.Context, member, at uint64) (Account, error) {
				if time.Sleep(50 * time.Millisecond); !reached.Load() {
					return Account{}, errors.New("nobody is there")
				}
				return c.members[member].group.Account(id, at), nil
			}
		}
		c.startAll()
		c.write("before")
		c.converge()
		l := c.leader()
		term := l.group.Status().Term
		forge := func(beyond uint64) {
			for id := range c.members {
				if id != l.id {
					l.group.mail.Receive([]*raftpb.Message{{
						Type: raftpb.MsgAppResp.Enum(), Term: new(term), From: new(id), To: new(l.id),
						Index: new(l.log.LastIndex() + beyond),
					}}, 1)
				}
			}
		}
		for i, beyond := range []uint64{1, 40} {
			reached.Store(i == 0)
			forge(beyond)
			time.AfterFunc(time.Second, func() { reached.Store(true) })
			c.write(fmt.Sprint("behind a forged acknowledgement ", i))
			c.converge()
		}
		for id, p := range l.group.Status().Progress {
			if p.Lost || p.Ahead != 0 || p.Match < l.log.LastIndex() {
				t.Errorf("knows of %d %+v", id, p)
			}
		}
		if s := c.leader().group.Status(); s.Term != term {
			t.Errorf("term %d after %d", s.Term, term)
		}
	})
}

// A member that has committed what its leader has not stops, and says what happened.
func TestLoopLeaderThatIsBehind(t *testing.T) {
	for ends, stops := range map[uint64]bool{genesisIndex - 1: true, genesisIndex: false, genesisIndex + 9: false} {
		r := newRig(t, 1, 2, 3)
		context := binary.LittleEndian.AppendUint64(make([]byte, 8), ends)
		r.from(2, &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Term: new(uint64(4)), Index: new(max(ends, genesisIndex)),
			LogTerm: new(uint64(genesisTerm)), Context: context,
		})
		err := r.loop.broken
		if errors.Is(err, ErrRegionLost) != stops {
			t.Errorf("the leader ends at %d: %v", ends, err)
		}
		if stops && (!strings.Contains(err.Error(), "n2 ends at entry") || !strings.Contains(err.Error(), "keep")) {
			t.Errorf("says %q", err)
		}
	}
}

// A leader that is asked stands by a word of where its log ends: if it ends there, or ended there when the member told
// it of more; not by one that somebody else said, when the log goes on.
func TestWordsOfALeaderThatIsBehindAreAskedBack(t *testing.T) {
	const has = genesisIndex
	for name, test := range map[string]struct {
		account Account
		stops   bool
	}{
		"ends there":      {Account{Whole: true, Leads: 4, Ends: has - 1}, true},
		"has as much":     {Account{Whole: true, Leads: 4, Ends: has, Term: genesisTerm}, false},
		"went on":         {Account{Whole: true, Leads: 4, Ends: has + 9, Term: genesisTerm, Ahead: has}, true},
		"of another":      {Account{Whole: true, Leads: 4, Ends: has + 9, Term: genesisTerm, Ahead: has + 1}, false},
		"leads no more":   {Account{Whole: true, Ends: has - 1, Ahead: has}, false},
		"another history": {Account{Whole: true, Leads: 4, Ends: has + 9, Term: 3}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 2, 3)
			r.denying()
			r.loop.doubts.ask = func(context.Context, uint64, uint64) (Account, error) { return test.account, nil }
			r.from(2, &raftpb.Message{
				Type: raftpb.MsgApp.Enum(), Term: new(uint64(4)),
				Index: new(uint64(has)), LogTerm: new(uint64(genesisTerm)),
				Context: binary.LittleEndian.AppendUint64(make([]byte, 8), has-1),
			})
			r.turn(false)
			if errors.Is(r.loop.broken, ErrRegionLost) != test.stops {
				t.Errorf("stops: %v", r.loop.broken)
			}
		})
	}
}

// A leader's own disk may be the last that has what it has committed: its log ends no earlier than that. It tells a
// member that it said to be ahead so, however far it is by then.
func TestAccountOfALeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, fill := fullDisks(t)
		defer c.close()
		c.write("before")
		c.converge()
		l := c.leader()
		other, ends := l.id%3+1, l.log.LastIndex()
		fill(l.id, true)
		if _, err := l.group.Propose(t.Context(), l.group.Status().Term, [][]byte{[]byte("x")}); err != nil {
			t.Fatal(err)
		}
		c.await("the others to commit", func() bool { return l.group.Status().Commit > ends })
		a, committed := l.group.Account(other, ends), l.group.Status().Commit
		if a.Ends < committed || l.log.LastIndex() > ends || a.Ahead != 0 {
			t.Errorf("%+v, and has committed %d", a, committed)
		}
		l.group.mail.Receive([]*raftpb.Message{{
			Type: raftpb.MsgAppResp.Enum(), Term: new(l.group.Status().Term), From: new(other), To: new(l.id),
			Index: new(ends + 40),
		}}, 1)
		c.await("the leader to say so", func() bool { return l.group.Account(other, ends).Ahead == ends+40 })
		fill(l.id, false)
	})
}

// A member stops whose leader has another entry where this one has a committed one.
func TestLoopLeaderWithAnotherEntry(t *testing.T) {
	for term, stops := range map[uint64]bool{2: false, 3: true} {
		r := newRig(t, 1, 2, 3)
		entry := &raftpb.Entry{Term: new(uint64(2)), Index: new(uint64(genesisIndex + 1))}
		r.from(2, &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Term: new(uint64(4)), Index: new(uint64(genesisIndex)),
			LogTerm: new(uint64(genesisTerm)), Entries: []*raftpb.Entry{entry}, Commit: new(uint64(genesisIndex + 1)),
		})
		r.loop.view.applied.Store(genesisIndex + 1)
		r.from(2, &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Term: new(uint64(4)), Index: new(uint64(genesisIndex + 1)), LogTerm: new(term),
		})
		if err := r.loop.broken; errors.Is(err, ErrRegionLost) != stops {
			t.Errorf("the leader's is of term %d: %v", term, err)
		}
	}
}

// Two of three disks go back, and the third comes when the two have gone on: it is not part of their history, whether
// they repeat its term or not.
func TestRegionThatWentBack(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.write("all have it")
		c.converge()
		keeper := c.leader().id
		old := map[uint64]*vfs.MemFS{}
		for id, m := range c.members {
			old[id] = m.disk.CrashClone(vfs.CrashCloneCfg{})
		}
		for i := range 20 {
			c.write(fmt.Sprint(i))
		}
		c.converge()
		for id := range c.members {
			c.crash(id)
		}
		c.history = newHistory()
		for id, m := range c.members {
			if id != keeper {
				m.disk = old[id]
				c.start(id)
			}
		}
		c.write("another history")
		another := c.history
		c.history = newHistory()
		c.start(keeper)
		c.history = another
		m := c.members[keeper]
		select {
		case err := <-m.fatal:
			if !errors.Is(err, ErrRegionLost) {
				t.Errorf("stopped because of %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("goes on")
		}
		c.end(m)
		c.write("without it")
	})
}

// TestAMemberThatWasNotReachedIsAskedAgain: it is sent no entries before it has answered, so it acknowledges none, and
// nothing but what it is not sent asks again.
func TestAMemberThatWasNotReachedIsAskedAgain(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	term := r.elect()
	r.denying()
	last, asked := r.log.LastIndex(), 0
	r.loop.doubts.ask = func(context.Context, uint64, uint64) (Account, error) {
		if asked++; asked == 1 {
			return Account{}, errors.New("nobody is there")
		}
		return Account{Whole: true, Ends: genesisIndex}, nil
	}
	r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last + 40)})
	heartbeat := func() (appends int) {
		r.sent = nil
		r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term)})
		r.turn(false)
		for _, m := range r.sent {
			if m.GetType() == raftpb.MsgApp && m.GetTo() == 2 && len(m.GetEntries()) > 0 {
				appends++
			}
		}
		return appends
	}
	if n := heartbeat(); n != 0 || asked != 1 {
		t.Errorf("just after it was not reached: %d appends, asked %d times", n, asked)
	}
	r.loop.ahead[2].asked = r.loop.ahead[2].asked.Add(-askAgain)
	heartbeat()
	if n := heartbeat(); n == 0 || asked != 2 {
		t.Errorf("later: %d appends, asked %d times", n, asked)
	}
	r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last)})
	if p := r.loop.progress()[2]; p.Match != last || p.Ahead != 0 {
		t.Errorf("knows %+v", p)
	}
}
