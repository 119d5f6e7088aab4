package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// learnerEntries is how many entries of the log a learner may lack when it is promoted.
	learnerEntries = 5_000
	// describeEvery is how often a node looks whether its region knows it as it is.
	describeEvery = time.Second
)

// Questions that this room asks and answers. The names are on the wire.
const (
	// To the leader: this is how a member describes itself.
	askPublish = peer.Question[publication, peer.Nothing]("publish")
	// To the leader: change the region's membership.
	askMembers = peer.Question[change, peer.Nothing]("members")
	// To every other node: I am here.
	askPresent = peer.Question[Presence, Presented]("present")
)

// change is a change of a region's membership on its way to the leader.
type change struct {
	Do       string   `json:"do"` // add, expect, take, promote, remove, update
	ID       uint64   `json:"id,omitempty"`
	Name     string   `json:"name,omitempty"`
	PeerAddr string   `json:"peer,omitempty"`
	Clients  []string `json:"clients,omitempty"`
	Learner  bool     `json:"learner,omitempty"`
	place    uint64   // that the node takes
}

// publication is a node describing itself to its region.
type publication struct {
	Member timeline.Member `json:"member"`
}

// Group is the region's Raft group. It is safe for concurrent use.
type Group interface {
	Status() raftgroup.Status
	Glimpse() raftgroup.Status
	ChangeMembers(ctx context.Context, on raftgroup.Basis, c *raftpb.ConfChangeV2) error
	TransferLeader(ctx context.Context, to uint64) error
}

// Controls takes controls through the region's log.
type Controls interface {
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
}

// Life is how a region was formed. Its methods are as those of forming.Forming, and must not block.
type Life interface {
	Waits() bool
	Born() map[uint64]string
	Alike(formed map[uint64]string) bool
	Answered(member uint64, formed map[string]map[uint64]string)
}

// Config is what a Registrar needs.
type Config struct {
	Region     string
	Self       timeline.Member // ID, Name, PeerAddr, ClientURLs and Starts of this node
	Timeout    time.Duration   // of one question
	Clock      clock.Clock
	Applied    *region.Applied
	Leadership *region.Leadership
	Directory  *Directory
	Group      Group
	Controls   Controls
	Client     *peer.Client
	Logger     *slog.Logger
	// OnRemoved is told that another node says this one was removed, and which. It may be called often, and must not
	// block.
	OnRemoved func(error)
	// Disk and Boot are what this node says of its data directory and its process.
	Disk, Boot string
	// Seal returns the seal of saying that, with an index. May be nil: there is none.
	Seal func(index uint64) string
	// Admits reports whether what a member says of itself is taken. May be nil: all of it is.
	Admits func(id uint64) bool
	// Life is that of the region of which this node is. May be nil: there is none but one.
	Life Life
	// OnMet is told what is said in the name of a member by somebody who came, and OnAnswered what a member says of
	// itself where it was asked. They must not block. OnAnswered may be nil.
	OnMet      func(Presence)
	OnAnswered func(Presented)
}

// Registrar keeps the list of the region's nodes: it changes who they are, and describes this one. It is safe for
// concurrent use.
type Registrar struct {
	config Config
	wake   wake.Signal
	// Of Run: under which leader in which term this start was published, if nothing else was new.
	counted struct{ leader, term uint64 }
	come    chan timeline.Member // who came for a place; Run brings them there
	taking  chan struct{}        // full while a place is taken: several bring the same node
}

// NewRegistrar returns a Registrar that describes nobody before Run.
func NewRegistrar(c Config) *Registrar {
	return &Registrar{config: c, wake: wake.New(), come: make(chan timeline.Member, 1),
		taking: make(chan struct{}, 1)}
}

// Register registers what this room answers.
func (r *Registrar) Register(to *peer.Registry) {
	peer.Handle(to, askPublish, peer.RegionNode, func(ctx context.Context, p publication) (peer.Nothing, error) {
		if err := bySelf(ctx, p.Member.ID, p.Member.Name); err != nil {
			return peer.Nothing{}, err
		}
		return peer.Nothing{}, r.publish(ctx, p)
	})
	peer.Handle(to, askMembers, peer.RegionNode, func(ctx context.Context, c change) (peer.Nothing, error) {
		if err := peer.MaySpeak(ctx, r.config.Region); err != nil {
			return peer.Nothing{}, err
		}
		return peer.Nothing{}, r.apply(ctx, c)
	})
	peer.Handle(to, askPresent, peer.NamedRegion, func(ctx context.Context, p Presence) (Presented, error) {
		if err := bySelf(ctx, p.Member.ID, p.Member.Name); err != nil {
			return Presented{}, err
		}
		answer, err := r.meet(p)
		if err == nil && !answer.Removed && r.alike(p.Formed) {
			r.expects(p)
		}
		return answer, err
	})
}

// List returns the nodes of the region as its log says, by name. It waits for nothing.
func (r *Registrar) List() []contract.NodeStatus {
	status := r.config.Group.Glimpse()
	known := map[uint64]contract.NodeStatus{}
	learners := status.Conf.GetLearners()
	for _, id := range append(slices.Clone(status.Conf.GetVoters()), learners...) {
		known[id] = contract.NodeStatus{
			ID: id, Name: r.config.Directory.Name(id), Region: r.config.Region,
			PeerAddr: r.config.Directory.Said(id),
			Leader:   id == status.Leader, Learner: slices.Contains(learners, id),
		}
	}
	for _, m := range r.config.Applied.State().Members {
		if s, ok := known[m.ID]; ok {
			s.ClientURLs = m.ClientURLs
			s.PlaceID = m.Place
			s.Expected = s.Learner && r.isPlace(&m)
			s.WillVote = s.Expected && timeline.PlaceVotes(m.ID)
			known[m.ID] = s
		}
	}
	list := make([]contract.NodeStatus, 0, len(known))
	alone := onlyOnes(known)
	for id, s := range known {
		if !alone[s.PlaceID] {
			s.PlaceID = 0
		}
		p, tracked := status.Progress[id]
		s.Reachable = id == r.config.Self.ID || (tracked && p.Active)
		s.ReachableKnown = id == r.config.Self.ID || tracked
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b contract.NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Add adds a node to the region, as a voter or as a learner that receives everything and does not vote. Without a name
// its place is held until it comes. Any node takes the call.
func (r *Registrar) Add(ctx context.Context, name, peerAddr string, learner bool) (contract.NodeStatus, error) {
	if name == "" {
		return r.addPlace(ctx, peerAddr, learner)
	}
	id := RaftID(r.config.Region, name)
	err := r.bring(ctx, change{Do: "add", ID: id, Name: name, PeerAddr: peerAddr, Learner: learner})
	return contract.NodeStatus{ID: id, Name: name, Region: r.config.Region, PeerAddr: peerAddr, Learner: learner}, err
}

// Remove removes a node from the region. It can only come back under another name. If it is the leader, it hands the
// lead over before.
func (r *Registrar) Remove(ctx context.Context, id uint64) error {
	return r.bring(ctx, change{Do: "remove", ID: r.at(id)})
}

// Update says where a node is reached, until it says so itself at its next start.
func (r *Registrar) Update(ctx context.Context, id uint64, peerAddr string) error {
	return r.bring(ctx, change{Do: "update", ID: r.at(id), PeerAddr: peerAddr})
}

// Promote makes a learner a voter. ErrLearnerBehind if it has not caught up.
func (r *Registrar) Promote(ctx context.Context, id uint64) error {
	return r.bring(ctx, change{Do: "promote", ID: r.at(id)})
}

// Transfer makes the member with this Raft identity the leader of the region. Only the leader can: ErrNotLeader
// elsewhere; ErrMember if it is no voter, or did not take over in time; ErrStopped if the group ended meanwhile;
// ErrUnknownOutcome if ctx did: it may take over yet.
func (r *Registrar) Transfer(ctx context.Context, to uint64) error {
	err := r.config.Group.TransferLeader(ctx, to)
	if errors.Is(err, raftgroup.ErrTransfer) { // etcd's answer to its client has no place for the reason
		r.config.Logger.Warn("the lead was not handed over", "to", r.config.Directory.Name(to), "err", err)
	}
	switch {
	case errors.Is(err, raftgroup.ErrStopped):
		return fmt.Errorf("%w: %w", contract.ErrStopped, err)
	case err != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: hand leadership over: %w", contract.ErrUnknownOutcome, contract.Ended(ctx))
	}
	return asLeader(err)
}

func asLeader(err error) error {
	switch {
	case errors.Is(err, raftgroup.ErrNotLeader):
		return fmt.Errorf("%w: %w", contract.ErrNotLeader, err)
	case errors.Is(err, raftgroup.ErrTransfer):
		return fmt.Errorf("%w: %w", contract.ErrMember, err)
	default:
		return err
	}
}

// asChange says what an error of a change is to callers. One that waited in vain, or whose group ended, may still be
// made.
func asChange(err error) error {
	var kind error
	switch {
	case err == nil, errors.Is(err, raftgroup.ErrNotLeader):
		return asLeader(err)
	case errors.Is(err, raftgroup.ErrBusy), errors.Is(err, raftgroup.ErrOvertaken):
		kind = contract.ErrNotReady
	case errors.Is(err, raftgroup.ErrMembership):
		kind = contract.ErrMember
	default:
		kind = contract.ErrUnknownOutcome
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// bring brings a change to the leader.
func (r *Registrar) bring(ctx context.Context, c change) error {
	if r.config.Leadership.Leads() {
		return r.apply(ctx, c)
	}
	addr := r.config.Directory.LeaderAddr()
	if addr == "" {
		return fmt.Errorf("%w: region %s has no leader", contract.ErrNotReady, r.config.Region)
	}
	_, err := peer.Order(ctx, r.config.Client, addr, askMembers, c)
	return err
}

// apply makes a change on the leader, or decides against it (M8).
func (r *Registrar) apply(ctx context.Context, c change) error {
	attempt := r.attempt
	switch c.Do {
	case "expect":
		attempt = r.expect
	case "take":
		return r.take(ctx, c)
	}
	for {
		err := attempt(ctx, c)
		if !errors.Is(err, raftgroup.ErrOvertaken) || ctx.Err() != nil {
			return err
		}
		r.config.Logger.Info("a change of members is decided anew, since another one came first", "change", c.Do,
			"member", c.Name)
	}
}

// attempt makes a change on the members as they are, or decides against it. ErrOvertaken of raftgroup says that they
// became others meanwhile.
func (r *Registrar) attempt(ctx context.Context, c change) error {
	kind, on, err := r.permit(ctx, &c)
	switch {
	case err != nil:
		return err
	case c.place != 0 && !r.holds(c):
		return fmt.Errorf("%w: nobody is expected at %s any more", contract.ErrMember, c.PeerAddr)
	case c.Do == "add" && r.config.Directory.Removed(c.ID):
		return fmt.Errorf("%w: %s was removed from region %s, and a name is not used twice: add it under another",
			contract.ErrRemoved, c.Name, r.config.Region)
	case c.Do == "add" && r.listed(c.ID):
		return fmt.Errorf("%w: %s is on the list of region %s and no member: it is being added, or it was removed and "+
			"is taken off the list", contract.ErrNotReady, c.Name, r.config.Region)
	case c.Do == "update":
		return r.relocate(ctx, c)
	case c.Do == "remove" && c.ID == r.config.Self.ID:
		return r.leave(ctx, c)
	}
	if c.Do == "add" {
		return r.join(ctx, on, kind, timeline.Member{
			ID: c.ID, Name: c.Name, PeerAddr: c.PeerAddr, ClientURLs: c.Clients, Learner: c.Learner,
			Place: c.place,
		})
	}
	return r.alter(ctx, on, kind, c.ID)
}

// alter makes a change of one member that says nothing of it.
func (r *Registrar) alter(ctx context.Context, on raftgroup.Basis, kind raftpb.ConfChangeType, id uint64) error {
	cc := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &id}}}
	return asChange(r.config.Group.ChangeMembers(ctx, on, cc))
}

// listed reports whether who is no member is on the region's list: a change is being applied, or see expel.
func (r *Registrar) listed(id uint64) bool {
	_, listed := r.config.Directory.published(id)
	return listed
}

// relocate writes to the region's log where a node is, by the word of an operator. It is as new as the node's last own
// word, so that the node's next one takes its place.
func (r *Registrar) relocate(ctx context.Context, c change) error {
	m, known := r.config.Directory.published(c.ID)
	if !known {
		m = timeline.Member{ID: c.ID, Name: r.config.Directory.Name(c.ID)}
		m.Learner = slices.Contains(r.config.Group.Status().Conf.GetLearners(), c.ID)
	}
	m.Starts = max(m.Starts, r.config.Directory.heardStarts(c.ID))
	if c.ID == r.config.Self.ID {
		m.Starts = r.config.Self.Starts
	}
	m.PeerAddr, m.Since = c.PeerAddr, r.config.Clock.Now().UTC()
	_, err := r.config.Controls.Control(ctx, &timeline.Control{Op: timeline.OpMember, Member: &m})
	return err
}

// kindOf returns what a change is to Raft, or why it makes no sense for a region in this state. An update is none.
func kindOf(c *change, status raftgroup.Status) (raftpb.ConfChangeType, error) {
	conf, progress := status.Conf, status.Progress[c.ID]
	voter, learner := slices.Contains(conf.GetVoters(), c.ID), slices.Contains(conf.GetLearners(), c.ID)
	switch {
	case c.Do == "add" && (voter || learner):
		return 0, fmt.Errorf("%w: %s is a member already", contract.ErrMember, c.Name)
	case c.Do == "add" && (c.Name == "" || c.PeerAddr == ""):
		return 0, fmt.Errorf("%w: a name and a peer address are needed", contract.ErrMember)
	case c.Do == "add" && c.Learner:
		return raftpb.ConfChangeType_ConfChangeAddLearnerNode, nil
	case c.Do == "promote" && !learner:
		return 0, fmt.Errorf("%w: %d is not a learner", contract.ErrMember, c.ID)
	case c.Do == "promote" && (!progress.Active || progress.Match+learnerEntries < status.Commit ||
		progress.Match == 0):
		return 0, fmt.Errorf("%w: it has entries up to %d of %d", contract.ErrLearnerBehind, progress.Match,
			status.Commit)
	case (c.Do == "remove" || c.Do == "update") && !voter && !learner:
		return 0, fmt.Errorf("%w: %d is not a member", contract.ErrMember, c.ID)
	case c.Do == "update" && c.PeerAddr == "":
		return 0, fmt.Errorf("%w: a peer address is needed", contract.ErrMember)
	case c.Do == "remove" && voter && len(conf.GetVoters()) == 1:
		return 0, fmt.Errorf("%w: the last voter cannot be removed", contract.ErrMember)
	case c.Do == "remove":
		return raftpb.ConfChangeType_ConfChangeRemoveNode, nil
	case c.Do == "add", c.Do == "promote":
		return raftpb.ConfChangeType_ConfChangeAddNode, nil
	case c.Do == "update":
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: change %q", contract.ErrRejected, c.Do)
	}
}
