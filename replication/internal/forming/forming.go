package forming

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Config is what a Forming needs.
type Config struct {
	Fleet, Region string
	Self          timeline.Member
	Nodes         map[string]string   // with which the region is first formed, this one included: name to address
	Regions       map[string][]string // the others: name to addresses
	FleetExists   bool

	Blank bool        // the data directory is empty, or was sown and not used since
	Sown  string      // with what, "" if with nothing
	Born  recall.Part // how the region was formed, as the directory says
	Disk  recall.Disk
	Dir   string // the data directory, to be named

	Applied *region.Applied
	Client  *peer.Client
	Life    *life.Life
	Clock   clock.Clock
	Logger  *slog.Logger
	Timeout time.Duration // of one question
	// Note notes durably that the node takes part, in a region that was formed so.
	Note func(born recall.Part) error
	// TakeBack has the directory of a blank node hold no such note any more, for a process that comes; a power cut may
	// bring it back. An error says that it is still there, as it always is where the directory was sown.
	TakeBack func() error
}

// Forming is a node that may have to wait before it takes part in its region. Its methods are safe for concurrent use.
type Forming struct {
	config Config
	began  time.Time
	turn   sync.Mutex // held while the others are asked

	// failed is what ends the node, whoever asked: nothing can be noted, or another node says why it must not take
	// part. turn is held.
	failed error

	mu     sync.Mutex
	blank  bool
	born   recall.Part     // with which disks the region was formed, and without whom
	lacks  string          // for whom a blank node waits, in words
	proven map[uint64]bool // who of those without whom the region was formed said that it is of this region
	// heard is who answered last as a member, by where he was asked: whether he is of another life of the region.
	heard map[uint64]map[string]bool
}

// formingEvery is how often a node that waits asks the others.
const formingEvery = 200 * time.Millisecond

// New returns what a blank node waits for; one that is not takes part at once.
func New(c Config) *Forming {
	return &Forming{
		config: c, began: c.Clock.Now(), blank: c.Blank, born: c.Born, proven: map[uint64]bool{},
		heard: map[uint64]map[string]bool{},
	}
}

// Waits reports whether the node takes no part yet.
func (f *Forming) Waits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blank
}

// Joined says how the region was formed that this node joins, which it was told when it had an empty disk.
func (f *Forming) Joined(born recall.Part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.born = born
}

// Problem says for whom the node waits, "" if it does not.
func (f *Forming) Problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.blank {
		return ""
	}
	what := "is empty"
	if f.config.Sown != "" {
		what = "was restored"
	}
	return "the data directory " + what + ", and the node takes no part in its region before it knows that the " +
		"region has lost nothing by that: " + f.lacks
}

// Part is what others are told.
func (f *Forming) Part() recall.Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := recall.Part{Formed: f.born.Formed}
	if f.blank {
		p.Blank, p.Sown = f.config.Disk.ID, f.config.Sown
	}
	for _, id := range f.born.Left {
		if !f.joined(id) {
			p.Left = append(p.Left, id)
		}
	}
	return p
}

// Told is Part, for who asks, and notes what that one says of itself.
func (f *Forming) Told(q recall.Question) recall.Part {
	p := f.Part()
	if slices.Contains(p.Left, q.ID) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.proven[q.ID] = q.Part != nil && p.Of(q.ID, *q.Part)
	}
	return p
}

// Admits reports whether the node with this Raft identity is heard.
func (f *Forming) Admits(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.strange(id) && (!slices.Contains(f.born.Left, id) || f.proven[id] || f.joined(id))
}

// joined reports whether a node of the region has described itself.
func (f *Forming) joined(id uint64) bool {
	return slices.ContainsFunc(f.config.Applied.State().Members, func(m timeline.Member) bool { return m.ID == id })
}

// said is what another node of the region said.
type said struct {
	node   string
	id     uint64
	silent bool
	blank  string            // its disk, if that is empty or sown; "": it holds something
	sown   string            // with what that is sown
	formed map[uint64]string // with which disks it says that the region was formed
	left   []uint64          // and without whom
	ends   error             // why this node must not take part
}

// Run asks until the node may take part, and has it do so. Its error says why it never may.
func (f *Forming) Run(ctx context.Context, takePart func()) error {
	if !f.Waits() {
		return nil
	}
	logged := ""
	for began := f.config.Clock.Now(); ; {
		if err := f.Ask(ctx); err != nil {
			return err
		}
		why := f.Problem()
		if why == "" {
			f.tell()
			takePart()
			return nil
		}
		if f.config.Clock.Now().Sub(began) > f.config.Timeout && why != logged {
			f.config.Logger.Warn("takes no part in its region yet", "waits", why)
			logged = why
		}
		if f.config.Life.Pause(ctx, formingEvery) != nil {
			return nil
		}
	}
}

// Ask asks the other nodes once, and notes on disk that the node takes part, if it may. Its error says why it never
// may.
func (f *Forming) Ask(ctx context.Context) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	_, _, err := f.take(ctx, f.firstDay)
	return err
}

// take is Ask; notFirst says why it is not the first day of the fleet, "" if it is. lacks says why the node still does
// not take part. turn is held.
func (f *Forming) take(
	ctx context.Context, notFirst func(context.Context) string,
) (born recall.Part, lacks string, err error) {
	switch {
	case f.failed != nil:
		return born, "", f.failed
	case !f.Waits():
		return f.Part(), "", nil
	}
	born, lacks, err = f.decide(ctx, notFirst)
	if err == nil && lacks == "" && len(born.Left) > 0 { // who is left out may be known to be silent from before alone
		born, lacks, err = f.decide(peer.Anew(ctx), notFirst)
	}
	if err != nil {
		return recall.Part{}, "", err
	}
	_, ready := f.config.Life.Started()
	if lacks == "" && !ready {
		lacks = "the node starts" // it asks once more when it can be asked
	}
	if lacks == "" {
		if err := f.ended(ctx); err != nil { // while notFirst asked
			return recall.Part{}, "", err
		}
		lacks, err = f.note(born)
		f.failed = err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lacks = lacks; lacks == "" && err == nil {
		f.blank, f.born = false, born
	}
	return born, lacks, err
}

// decide asks the others, and is judge of what they say. Its error says why the node never may take part, or that it,
// or who asked, has ended: who was only not waited for is not silent.
func (f *Forming) decide(
	ctx context.Context, notFirst func(context.Context) string,
) (born recall.Part, lacks string, err error) {
	all := f.askAll(ctx)
	for _, t := range all {
		if t.ends != nil {
			f.failed = t.ends
			return born, "", t.ends
		}
	}
	if _, ready := f.config.Life.Started(); ready {
		if err := f.ended(ctx); err != nil {
			return born, "", err
		}
	}
	born, lacks = f.judge(all, func() string { return notFirst(ctx) })
	return born, lacks, nil
}

// note has it noted how the region was formed. lacks says that there is no room for that: then the next process must
// not go by it either, and what has its name already is taken back.
func (f *Forming) note(born recall.Part) (lacks string, err error) {
	err = f.config.Note(born)
	if errors.Is(err, durable.ErrUnsettled) {
		if back := f.config.TakeBack(); back != nil {
			return "", fmt.Errorf("%w; it cannot be taken back: %w", err, back)
		}
		err = takenBack{err}
	}
	if durable.Full(err) {
		return fmt.Sprintf("its disk has no room to note that it does: %v", err), nil
	}
	return "", err
}

// takenBack is an error of a note that is in its place no more.
type takenBack struct{ why error }

func (t takenBack) Error() string {
	why := strings.Replace(t.why.Error(), durable.ErrUnsettled.Error()+": ", "", 1) // which holds no more
	return "taken back, since it could not be made durable (a power cut may bring it back): " + why
}

// Is leaves out that the note is in its place.
func (t takenBack) Is(target error) bool {
	return target != durable.ErrUnsettled && errors.Is(t.why, target)
}

// askAll asks all other nodes of the region.
func (f *Forming) askAll(ctx context.Context) (all []said) {
	ctx, cancel := context.WithTimeout(ctx, f.config.Timeout)
	defer cancel()
	c := &f.config
	var mu sync.Mutex
	var asked sync.WaitGroup
	for name, addr := range c.Nodes {
		if name != c.Self.Name {
			asked.Go(func() {
				t := f.askOne(ctx, name, addr)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, t)
			})
		}
	}
	asked.Wait()
	slices.SortFunc(all, func(a, b said) int { return strings.Compare(a.node, b.node) })
	return all
}

// judge returns how the region was formed, nothing if nobody knows, or why this node must wait. notFirst is asked only
// where a majority is empty, and the others do not answer.
func (f *Forming) judge(all []said, notFirst func() string) (born recall.Part, lacks string) {
	own, blank := f.config.Disk.ID, map[uint64]string{f.config.Self.ID: f.config.Disk.ID}
	var empty, silent, holding []string
	var held []said
	var left []uint64
	for _, t := range all {
		switch {
		case t.silent:
			silent, left = append(silent, t.node), append(left, t.id)
		case t.formed[f.config.Self.ID] == own:
			return recall.Part{Formed: t.formed, Left: t.left}, ""
		case t.blank != "":
			blank[t.id] = t.blank
			empty = append(empty, t.node)
		default:
			holding, held = append(holding, t.node), append(held, t)
		}
	}
	nodes := len(all) + 1
	majority := nodes/2 + 1 // of which this one was a part, if it was there: the rest of it holds data
	unlike, few := f.judgeSown(all, holding, majority)
	switch {
	case unlike != "":
		return recall.Part{}, unlike
	case len(empty) == len(all) && few != "":
		return recall.Part{}, few
	case len(empty) == len(all):
		return recall.Part{Formed: blank}, ""
	}
	born, of, torn := f.lifeOf(held)
	switch {
	case of > nodes-majority:
		return born, ""
	case torn != "" && len(silent) == 0:
		return recall.Part{}, torn + "; " + wayOut
	case len(silent) == 0: // some hold data, and they are too few to be sure
		return recall.Part{}, fmt.Sprintf(
			"%s are empty, and what the others hold is less than a majority of the region: %s",
			strings.Join(append(empty, f.config.Self.Name), ", "), wayOut)
	}
	lacks = fmt.Sprintf("waits for %s, which may hold what the region acknowledged, and does not answer: start it; "+
		"if it never was, or is lost for good, start a new node in its place, with an empty data directory",
		strings.Join(silent, ", "))
	switch {
	case torn != "":
		return recall.Part{}, lacks + "; " + torn
	case len(holding) > 0:
		return recall.Part{}, fmt.Sprintf("%s; %s holds data, so that nobody forms the region anew", lacks,
			strings.Join(holding, ", "))
	case len(blank) < majority:
		return recall.Part{}, fmt.Sprintf("%s; %d of %d nodes are up, and empty, less than a majority", lacks,
			len(blank), nodes)
	case few != "":
		return recall.Part{}, lacks + "; " + few
	}
	if why := notFirst(); why != "" {
		return recall.Part{}, lacks + why + vouch
	}
	return recall.Part{Formed: blank, Left: left}, ""
}

// judgeSown returns why this node must wait because of what it, or another empty one, is sown with: unlike, whatever
// those say that do not answer yet; few, if there are no others. "" if it need not.
func (f *Forming) judgeSown(all []said, holding []string, majority int) (unlike, few string) {
	own := said{node: f.config.Self.Name, blank: f.config.Disk.ID, sown: f.config.Sown}
	alike := map[string][]string{} // the nodes that are sown, by with what
	for _, t := range append([]said{own}, all...) {
		if t.blank != "" && t.sown != "" {
			alike[t.sown] = append(alike[t.sown], t.node)
		}
	}
	switch {
	case f.config.Sown != "" && len(holding) > 0:
		return fmt.Sprintf("this region lives already, and %s holds its data: empty this data directory, and start "+
			"the node with nothing in it", strings.Join(holding, ", ")), ""
	case len(holding) > 0:
		return "", ""
	case len(alike) > 1:
		var groups []string
		for _, nodes := range alike {
			groups = append(groups, strings.Join(nodes, ", "))
		}
		slices.Sort(groups)
		return fmt.Sprintf("the nodes of this region were restored of different things (%s): empty the data "+
			"directories of those that are wrong, and restore all alike", strings.Join(groups, " / ")), ""
	}
	for _, nodes := range alike {
		if len(nodes) < majority {
			few = fmt.Sprintf("of the nodes that are up, %d of %d were restored (%s), less than a majority: restore "+
				"%d alike, and start all", len(nodes), len(all)+1, strings.Join(nodes, ", "), majority)
		}
	}
	return "", few
}

// vouch is the order that forms a region by a majority of its nodes.
const vouch = "; or, if nothing that was acknowledged there is needed any more, form the region without it, by " +
	"order: mimir fleet init --primary REGION, with its own region, sent to this node"

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(o uint64) bool { return o == id })
}

// wayOut is what to do where an empty node is known with data.
const wayOut = "where a majority of the region's nodes has lost its disks: fail over to another region, empty the " +
	"data directories of all nodes of this one, and start them"

// askOne asks another node of the region, at addr.
func (f *Forming) askOne(ctx context.Context, name, addr string) said {
	c := &f.config
	t := said{node: name, id: members.RaftID(c.Region, name)}
	if members.Known(ctx, c.Client, addr, c.Region, c.Self) {
		t.ends = fmt.Errorf("%w, says node %s; a name is not used twice: add it under another", contract.ErrRemoved,
			name)
		return t
	}
	r, err := f.report(ctx, addr)
	if err != nil {
		t.silent = true
		return t
	}
	if slices.ContainsFunc(r.Members, func(m timeline.Member) bool { return m.ID == c.Self.ID }) {
		t.ends = f.known(name)
		return t
	}
	a, spoke, err := recall.Ask(ctx, c.Client, addr,
		recall.Question{ID: c.Self.ID, Disk: c.Disk.ID, Boot: c.Disk.Boot, Part: new(f.Part())})
	switch {
	case err != nil && spoke:
		t.silent = true
	case a.Part != nil:
		t.blank, t.sown = a.Part.Blank, a.Part.Sown
		t.formed, t.left = maps.Clone(a.Part.Formed), a.Part.Left
		if with, ok := t.formed[c.Self.ID]; ok && with != c.Disk.ID {
			t.ends = f.known(name)
		}
	case r.Index == 0 && r.LeaderID == 0 && len(r.Members) == 0: // of a version that does not say: it has heard nobody
		t.blank = r.Disk
	}
	return t
}

// report asks the node at addr how it is.
func (f *Forming) report(ctx context.Context, addr string) (fleet.Report, error) {
	return overview.Ask(ctx, f.config.Client, addr, overview.Asker{Region: f.config.Region, Member: f.config.Self})
}

// known says that another node knows this one with data.
func (f *Forming) known(by string) error {
	c := &f.config
	what := "is empty"
	if f.config.Sown != "" {
		what = "was restored, and this region lives already"
	}
	return fmt.Errorf("%w: node %s knows %s as a member with data, but %s %s; remove the member and add it "+
		"again under a new name, with an empty data directory; %s", contract.ErrDiskLost, by, c.Self.Name, c.Dir,
		what, wayOut)
}
