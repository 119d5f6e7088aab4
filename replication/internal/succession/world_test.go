package succession

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

var testLimits = Limits{
	CatchUp: 30 * time.Second, Settle: time.Second, Handover: 10 * time.Second, Abort: 2 * time.Second,
	Ask: 2 * time.Second, Again: 100 * time.Millisecond, Retry: time.Second, Poll: time.Second, Close: 10, Near: 3,
	Rewind: 5 * time.Second,
}

// world is a small fleet: each region a real state machine with its log, led by a Machine while somebody leads it, and
// the messages between them. Nothing happens in it but what is asked for, and everything that happens is told in
// words.
type world struct {
	t       *testing.T
	now     Instant
	regions []*place
	exists  bool // no region forms a fleet by itself; else the first one does
	net     []*message
	number  int    // of the last message
	calls   uint64 // the last one
	nonce   byte
	acked   []acknowledged
	broken  []string // properties that were violated
	tale    strings.Builder
}

// place is one region.
type place struct {
	name      string
	machine   *timeline.Machine
	history   []any             // what it has applied: frames and reigns
	trimmed   timeline.Position // its log begins behind
	leader    *Machine
	down      bool // the leader was deposed and lives on: it sees no term, until it leads again
	term      uint64
	log       []entry // proposed and not committed
	heard     map[string]news
	calls     map[uint64]*message // questions that wait for this leader's answer; nil for those of an operator
	operator  uint64              // the last call of an operator
	questions []*message          // of this leader that wait for an answer
	late      []Decided           // that it was not told yet
	running   *Effect
	stopping  bool
	copies    map[string]copyOf
	saved     []timeline.Frame   // tails
	rewinds   bool               // its nodes may have checkpoints of their own
	marks     string             // what keeps them from going back: "none" leads to a fork, they are "away" or "hang"
	spoiled   bool               // a disk changed the copy that it fetched
	stubborn  bool               // its log makes nothing of anything
	refused   map[string]Instant // what the log made nothing of, and when
}

type entry struct {
	id      uint64
	control *timeline.Control
	reign   *timeline.Reign
	// streamed is a frame or a reign that a stream brought; nobody waits for what becomes of it.
	streamed any
}

type news struct {
	sight Sight
	claim timeline.Reign
}

type copyOf struct {
	origin  timeline.Origin
	history []any
}

// message is a question, or the answer to one.
type message struct {
	number   int
	from, to string
	effect   Effect // the question
	answer   *Answered
}

type acknowledged struct {
	reign timeline.Reign
	last  timeline.Position
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t}
	for _, name := range names {
		w.regions = append(w.regions, &place{
			name: name, machine: timeline.NewMachine(&timeline.State{Region: name}), heard: map[string]news{},
			copies: map[string]copyOf{}, refused: map[string]Instant{},
		})
	}
	return w
}

func (w *world) at(name string) *place {
	for _, p := range w.regions {
		if p.name == name {
			return p
		}
	}
	w.t.Fatalf("no region %q", name)
	return nil
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.tale, format+"\n", args...) }

// told returns what happened since the last call.
func (w *world) told() string {
	defer w.tale.Reset()
	return w.tale.String()
}

func (p *place) state() *timeline.State {
	s := p.machine.State()
	return &s
}

func (p *place) leads() bool { return p.leader != nil && !p.down }

// leads makes somebody lead the region, with everything applied that is in its log: the node that was deposed, if it
// is still there.
func (w *world) leads(p *place) {
	p.term++
	if !p.down {
		p.leader = New(p.name, !w.exists && p == w.regions[0], testLimits)
		p.calls, p.questions = map[uint64]*message{}, nil
	}
	p.down = false
	clear(p.copies) // they are kept for a term
	w.step(p, nil)
}

// stepsDown deposes the leader, whose node lives on. What it had proposed is lost, which it may be told late, or is
// committed by the next one.
func (w *world) stepsDown(p *place, losing bool) {
	p.down = true
	w.step(p, nil)
	for len(p.log) > 0 {
		if e := p.log[0]; losing {
			p.log = p.log[1:]
			p.late = append(p.late, Decided{ID: e.id, Err: contract.ErrNotLeader})
		} else {
			w.commit(p)
		}
	}
}

// dies ends the leader. Its region comes back from what is on its disks; what the leader had proposed is lost, or was
// committed before.
func (w *world) dies(p *place, losing bool) {
	if !losing {
		for len(p.log) > 0 {
			w.commit(p)
		}
	}
	p.leader, p.log, p.running, p.stopping, p.calls, p.questions = nil, nil, nil, false, nil, nil
	p.down, p.late = false, nil
	record, err := p.state().EncodeRecord()
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := timeline.DecodeRecord(record, p.state().Cursor)
	if err != nil {
		w.t.Fatal(err)
	}
	p.machine = timeline.NewMachine(s)
}

func (w *world) view(p *place) View {
	v := View{Term: p.term, State: p.state().Clone(), Rewinds: p.rewinds, Fleet: Fleet{Leaders: map[string]Sight{},
		Silent: map[string]string{}}}
	for _, o := range w.regions {
		if _, known := p.heard[o.name]; !known && o != p {
			v.Fleet.Silent[o.name] = "does not answer"
		}
	}
	if p.down {
		v.Term = 0
	}
	for name, n := range p.heard {
		v.Fleet.Leaders[name] = n.sight
		if timeline.Supersedes(n.claim, v.Fleet.Claim) {
			v.Fleet.Claim = n.claim
		}
	}
	return v
}

// hears is p's question to another region's leader how it is.
func (w *world) hears(p, other *place) {
	if !other.leads() {
		delete(p.heard, other.name)
	} else {
		s := other.state().Clone()
		p.heard[other.name] = news{Sight{Role: s.Role(), Cursor: s.Cursor, Reigns: s.Reigns, Sealed: s.Seal,
			Forming: Forming(other.leader), Asked: w.now}, s.HighestClaim()}
	}
	w.step(p, nil)
}

func (w *world) step(p *place, in Input) {
	if p.leader == nil {
		return
	}
	for _, e := range p.leader.Step(w.now, w.view(p), in) {
		w.perform(p, e)
	}
}

func (w *world) perform(p *place, e Effect) {
	switch e.Do {
	case Refresh:
	case Propose:
		w.say("%s: proposes %s", p.name, describeControl(e.Control))
		w.inVain(p, describeControl(e.Control))
		p.log = append(p.log, entry{id: e.ID, control: e.Control})
	case Begin:
		w.nonce++
		r, c := e.Reign, p.state().Cursor
		r.First, r.Previous, r.Nonce[0] = c.Position+1, c.Chain, w.nonce
		w.say("%s: proposes to begin %s", p.name, describeReign(r))
		w.inVain(p, "begin "+describeReign(r))
		p.log = append(p.log, entry{id: e.ID, reign: &r})
	case AskBegin, AskRefuse:
		q := &message{from: p.name, to: e.Handover.To, effect: e}
		p.questions = append(p.questions, q)
		w.send(q)
	case Answer:
		w.reply(p, e)
	case Stop:
		p.stopping = true
		w.say("%s: stops to %s", p.name, p.running.Do)
	default:
		if p.running != nil {
			w.broken = append(w.broken, fmt.Sprintf("%s runs two things at once: %s and %s", p.name, p.running.Do,
				e.Do))
		}
		p.running, p.stopping = &e, false
		w.say("%s: begins to %s from %s", p.name, e.Do, e.Source)
	}
}

func (w *world) send(m *message) {
	w.number++
	m.number = w.number
	w.net = append(w.net, m)
	w.say("%s", m)
}

func (m *message) String() string {
	if m.answer == nil {
		h := m.effect.Handover
		return fmt.Sprintf("#%d %s -> %s: %s, handoff %d of epoch %d at %d", m.number, m.from, m.to, m.effect.Do,
			h.Handoff, h.Epoch, h.End.Position)
	}
	return fmt.Sprintf("#%d %s -> %s: %s", m.number, m.from, m.to, describeAnswer(*m.answer))
}

func (w *world) reply(p *place, e Effect) {
	q := p.calls[e.Call]
	delete(p.calls, e.Call)
	if q == nil {
		w.say("%s tells the operator: %s", p.name, describeReply(e.Reply))
		return
	}
	a := &Answered{ID: q.effect.ID, Handover: q.effect.Handover, Begun: e.Reply.Reign, Refused: e.Reply.Refused,
		Err: e.Reply.Err}
	a.Again = errors.Is(a.Err, contract.ErrNotLeader) || errors.Is(a.Err, contract.ErrNotReady)
	w.send(&message{from: p.name, to: q.from, effect: q.effect, answer: a})
}

// deliver brings a message to its end; with again, it stays on the way as well.
func (w *world) deliver(m *message, again bool) {
	if !again {
		w.lose(m)
	}
	p := w.at(m.to)
	switch {
	case m.answer != nil:
		p.questions = slices.DeleteFunc(p.questions, func(q *message) bool { return q.effect.ID == m.effect.ID })
		w.step(p, *m.answer)
	case p.leader == nil:
		w.send(&message{from: p.name, to: m.from, effect: m.effect, answer: &Answered{
			ID: m.effect.ID, Handover: m.effect.Handover, Err: errors.New("nobody leads"), Again: true,
		}})
	default:
		w.calls++
		p.calls[w.calls] = m
		if m.effect.Do == AskBegin {
			w.step(p, BeginAsked{w.calls, m.effect.Handover})
		} else {
			w.step(p, RefuseAsked{w.calls, m.effect.Handover})
		}
	}
}

func (w *world) lose(m *message) {
	w.net = slices.DeleteFunc(w.net, func(o *message) bool { return o == m })
}

// commit applies the oldest entry of the region's log, and tells its leader.
func (w *world) commit(p *place) {
	e := p.log[0]
	p.log = p.log[1:]
	if e.streamed != nil {
		outcome, why := w.streamed(p, e.streamed)
		w.say("%s: %s: %s", p.name, describeStreamed(e.streamed), strings.TrimSuffix(outcome.String()+", "+why, ", "))
		w.check()
		w.step(p, nil)
		return
	}
	var outcome timeline.Outcome
	var why string
	var err error
	what := ""
	if e.reign != nil {
		what = "begin " + describeReign(*e.reign)
	} else {
		what = describeControl(e.control)
	}
	if p.stubborn {
		outcome, why = timeline.Refused, "of stubbornness"
	} else if e.reign != nil {
		outcome, why, err = p.machine.Reign(*e.reign)
		if outcome == timeline.Applied && err == nil {
			p.history = append(p.history, *e.reign)
		}
	} else {
		outcome, why, err = p.machine.Control(e.control)
		if outcome == timeline.Applied && e.control.Op == timeline.OpDiverge {
			p.saved = append(p.saved, framesOf(p.history, e.control.Fork)...)
		}
		if outcome == timeline.Applied && e.control.Op == timeline.OpCut {
			last := e.control.Origin.Cursor.Position
			p.saved = append(p.saved, framesOf(p.history, last)...)
			p.history = upTo(p.history, last)
			p.trimmed = last
		}
		if outcome == timeline.Applied && e.control.Op == timeline.OpInstall {
			c, kept := p.copies[e.control.Checkpoint]
			if !kept {
				w.breaks("%s installs a copy that is gone", p.name)
			}
			w.keepsAll(p, c.history)
			p.history = slices.Clone(c.history)
			p.trimmed = p.state().Cursor.Position
		}
	}
	if err != nil {
		w.t.Fatalf("%s: %s: %v", p.name, what, err)
	}
	if why != "" {
		why = ", " + why
	}
	w.say("%s: %s: %s%s", p.name, what, outcome, why)
	if outcome != timeline.Applied {
		p.refused[what] = w.now
	}
	w.check()
	w.step(p, Decided{ID: e.id, Outcome: outcome, Why: strings.TrimPrefix(why, ", ")})
}

// operator returns a new call of an operator to p's leader.
func (w *world) operator(p *place) uint64 {
	w.calls++
	p.operator = w.calls
	return p.operator
}

// writes takes n commands of clients, if the region takes writes.
func (w *world) writes(p *place, n int) {
	s := p.state()
	f := timeline.Frame{Epoch: s.Cursor.Epoch, First: s.Cursor.Position + 1, Previous: s.Cursor.Chain}
	for i := range n {
		data := fmt.Appendf(nil, "%s-%d-%d-%x", p.name, f.First, i, s.Cursor.Chain)
		f.Commands = append(f.Commands, timeline.Command{Data: data})
	}
	outcome, why := timeline.Refused, "nobody leads, or not primary"
	if p.leads() && s.Writable() {
		outcome, why, _ = p.machine.Frame(&f)
	}
	if outcome != timeline.Applied {
		w.say("%s: takes no writes: %s", p.name, why)
		return
	}
	p.history = append(p.history, f)
	w.acked = append(w.acked, acknowledged{timeline.Latest(s.Reigns), f.Last()})
	w.say("%s: acknowledges %d to %d in epoch %d", p.name, f.First, f.Last(), f.Epoch)
	w.check()
	w.step(p, nil)
}

// wait lets time pass; questions whose time is over come back without an answer.
func (w *world) wait(d time.Duration) {
	w.now += d
	for _, p := range w.regions {
		for _, q := range slices.Clone(p.questions) {
			if q.effect.Until <= w.now {
				p.questions = slices.DeleteFunc(p.questions, func(o *message) bool { return o == q })
				w.say("%s: has no answer to #%d", p.name, q.number)
				w.step(p, Answered{ID: q.effect.ID, Handover: q.effect.Handover, Err: errors.New("no answer in time")})
			}
		}
		w.step(p, nil)
	}
}

// settle lets everything that is alive do its work and everybody hear of everybody, until nothing changes any more.
func (w *world) settle() bool {
	for range 60 {
		before := w.tale.Len()
		for len(w.net) > 0 {
			w.deliver(w.net[0], false)
		}
		for _, p := range w.regions {
			for len(p.log) > 0 {
				w.commit(p)
			}
			w.works(p)
			for _, o := range w.regions {
				if o != p && p.leads() {
					w.hears(p, o)
				}
			}
		}
		if w.tale.Len() == before {
			if w.quiet() {
				return true
			}
			w.now += testLimits.Retry
		}
		w.wait(testLimits.Again)
	}
	return false
}

// quiet reports whether nothing is left that time alone would bring about.
func (w *world) quiet() bool {
	for _, p := range w.regions {
		forms := p.leads() && Forming(p.leader) && len(p.heard) == len(w.regions)-1
		if p.leads() && (p.state().Seal != nil || p.leader.rests() || p.leader.move != nil ||
			len(p.questions) > 0 || p.running != nil && p.running.Do == Rewind || forms) {
			return false
		}
	}
	return true
}

// forget takes all disks of a region: it comes back knowing nothing.
func (w *world) forget(p *place) {
	w.dies(p, true)
	p.machine, p.history, p.trimmed = timeline.NewMachine(&timeline.State{Region: p.name}), nil, 0
	p.saved = nil
	clear(p.refused)
	p.heard = map[string]news{}
	w.acked = slices.DeleteFunc(w.acked, func(a acknowledged) bool { return a.reign.Primary == p.name })
}
