package raftgroup

import (
	"context"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// Account is what a member answers when it is asked, at the address that is known of it.
type Account struct {
	// Match is the last entry that the asking node acknowledged to it, zero if it does not lead.
	Match uint64
	// Whole says that it knows what follows; former versions do not.
	Whole bool
	// Leads is the term that it leads, zero if none.
	Leads uint64
	// Ends is where its log ends, and Term that of the entry which it was asked for, zero if that is not in its log.
	Ends, Term uint64
	// Last is the last entry of its log, with its term; zero if it does not say.
	Last, LastTerm uint64
	// Committed is up to where it knows that the members agreed, and CommittedTerm the term of that entry, zero if its
	// log is not known to have it yet.
	Committed, CommittedTerm uint64
	// Ahead is an entry that the asking node has committed, by what it told, and that was beyond the end of this log
	// then; zero if there was none while it leads this term.
	Ahead uint64
}

// Account returns what this node answers a member that asks about itself, and about the entry at.
func (g *Group) Account(member, at uint64) Account {
	s := g.Status()
	a := Account{Whole: true, Committed: s.Commit}
	a.Ends = max(g.config.Log.LastIndex(), s.Commit) // others may have it on their disks first
	if s.IsLeader {
		p := s.Progress[member]
		a.Match, a.Ahead, a.Leads = p.Match, p.Ahead, s.Term
	}
	a.Last = g.config.Log.LastIndex()
	if a.LastTerm, _ = g.config.Log.Term(a.Last); a.LastTerm == 0 {
		a.Last = 0
	}
	a.Term, _ = g.config.Log.Term(at)                                     // an error says that it is not there
	if s.Commit <= max(s.Applied, g.config.Log.HardState().GetCommit()) { // before, the log may still have another one
		a.CommittedTerm, _ = g.config.Log.Term(s.Commit)
	}
	return a
}

// word is what a message says that would stop this node, and how one sees that its sender stands by it.
type word struct {
	by     uint64 // the member in whose name it came
	err    error  // with which the node stops
	at     uint64 // the entry that it is about
	stands func(Account) bool
}

// doubts are words that would stop this node for good. Anybody who gets at a stream can say them; so the member in
// whose name they came is asked, by this node, where it is known to be. Until it has answered nothing of the message is
// taken: a leader says it again.
//
// Meanwhile the node takes no part in elections: if the word is true it has lost votes too. Only for one question
// though, if nobody answers it: who names a member that is gone keeps no node away from the election of another.
//
// Its fields and methods are the loop's.
type doubts struct {
	ask    func(ctx context.Context, member, at uint64) (Account, error) // nil: every word is believed
	life   peers.Lifetime
	mail   *mailbox
	now    func() time.Time
	log    *slog.Logger
	names  peers.Directory
	asking bool
	asked  time.Time // when somebody was asked last
	silent bool      // the last question had no answer
}

// askAgain is how long a word is not asked about after the last one: it may be said as often as somebody likes.
const askAgain = time.Second

// newDoubts returns what asks by c.Ask.
func newDoubts(c *Config, life peers.Lifetime, mail *mailbox) doubts {
	return doubts{ask: c.Ask, life: life, mail: mail, now: c.Clock.Now, log: c.Logger, names: c.Directory}
}

// keepAway reports whether this node is to take no part in elections.
func (d *doubts) keepAway() bool { return d.asking && !d.silent }

// raise has the sender of a word asked whether he stands by it. If so the node stops.
func (d *doubts) raise(l *loop, w *word) {
	if d.ask == nil {
		l.broken = w.err
		return
	}
	now := d.now()
	if d.asking || !d.asked.IsZero() && now.Sub(d.asked) < askAgain {
		return
	}
	d.asking, d.asked = true, now
	if !d.life.Spawn(func() {
		account, err := d.ask(d.life.Context(), w.by, w.at)
		d.mail.call(func(l *loop) { l.doubts.settle(l, w, account, err) })
	}) {
		d.asking = false
	}
}

// settle takes the answer.
func (d *doubts) settle(l *loop, w *word, account Account, err error) {
	d.asking, d.silent = false, err != nil
	switch name := peers.NameIn(d.names, w.by); {
	case err != nil:
		d.log.Warn("a member was not reached that is said to have said what would stop this node; it is asked again "+
			"if that is said again", "member", name, "said", w.err, "err", err)
	case w.stands(account):
		l.broken = w.err
	default:
		d.log.Error("somebody speaks in the name of a member: what would have stopped this node was not taken, since "+
			"that member, asked, says otherwise", "member", name, "said", w.err)
	}
}
