package members

import (
	"context"
	"fmt"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// presentTurns is how many turns apart a node presents itself while it knows a leader; without one it does so at every
// turn.
const presentTurns = 5

// Presence is a node presenting itself to another one of its region.
type Presence struct {
	Region string          `json:"region"`
	Member timeline.Member `json:"member"`
	// Index is an entry of the region's log after which the node is a member, by what it has applied; zero if it is
	// none.
	Index uint64 `json:"index,omitempty"`
	// Disk and Boot are the node's data directory and its process (recall); "" from a version that does not tell them.
	Disk string `json:"disk,omitempty"`
	Boot string `json:"boot,omitempty"`
	// Seal shows the node itself that it said Disk, Boot, Index and how often it was started (recall).
	Seal string `json:"seal,omitempty"`
	// Formed are the disks with which the region was formed; nil if the node does not know, or does not say.
	Formed map[uint64]string `json:"formed,omitempty"`
}

// Presented is what the other one answers.
type Presented struct {
	Removed bool              `json:"removed,omitempty"` // the region has removed the node
	Self    timeline.Member   `json:"self"`
	Members []timeline.Member `json:"members,omitempty"` // by what is applied there
	// Index, Disk, Boot, Seal and Formed are of the node that answers, as in Presence; left out by a version before.
	Index uint64 `json:"index,omitempty"`
	Disk  string `json:"disk,omitempty"`
	Boot  string `json:"boot,omitempty"`
	Seal  string `json:"seal,omitempty"`

	Formed map[uint64]string `json:"formed,omitempty"`
}

// Present presents a node to the one at addr.
func Present(ctx context.Context, c *peer.Client, addr string, p Presence) (Presented, error) {
	return peer.Ask(ctx, c, addr, askPresent, p)
}

// meet answers a node that presents itself (M5). Who was a member after an entry that is applied here, and is none now,
// was removed, whether or not the region remembers it; but not who is of another life of it.
func (r *Registrar) meet(p Presence) (Presented, error) {
	if p.Region != r.config.Region {
		return Presented{}, fmt.Errorf("%w: %s of region %s, this is region %s", contract.ErrRejected, p.Member.Name,
			p.Region, r.config.Region)
	}
	if !r.alike(p.Formed) {
		own := r.presence(0)
		return Presented{Self: own.Member, Disk: own.Disk, Boot: own.Boot, Formed: own.Formed}, nil
	}
	applied := r.config.Group.Status().Applied // before the members: these may be newer
	conf := r.config.Group.Status().Conf
	member := peers.IsMember(conf, p.Member.ID)
	removed := r.config.Directory.Removed(p.Member.ID) || p.Index > 0 && p.Index <= applied && !member
	removed = removed && !r.config.Directory.Removed(r.config.Self.ID) // the others may need both until they know
	if member {
		r.config.OnMet(p)
	}
	if member || len(conf.GetVoters()) == 0 { // who joins knows nobody before it has the state, and those who bring it
		r.config.Directory.Tell(p.Member)
	}
	own := r.presence(0)
	if peers.IsMember(conf, own.Member.ID) {
		own = r.presence(applied)
	}
	return Presented{
		Removed: removed, Self: own.Member, Members: r.config.Applied.State().Members,
		Index: own.Index, Disk: own.Disk, Boot: own.Boot, Seal: own.Seal, Formed: own.Formed,
	}, nil
}

// alike reports whether who says that the region was formed with these disks is of the same life of it as this node.
func (r *Registrar) alike(formed map[uint64]string) bool {
	return r.config.Life == nil || r.config.Life.Alike(formed)
}

// presence is this node presenting itself, after that entry; zero: as one that is no member.
func (r *Registrar) presence(index uint64) Presence {
	p := Presence{
		Region: r.config.Region, Member: r.config.Self, Index: index, Disk: r.config.Disk, Boot: r.config.Boot,
	}
	if r.config.Seal != nil {
		p.Seal = r.config.Seal(index)
	}
	if r.config.Life != nil {
		p.Formed = r.config.Life.Born()
	}
	return p
}

// present presents this node to the others, at every address that they may have. Where they are comes back, and so does
// that this node was removed.
func (r *Registrar) present(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	p := r.presence(0)
	takesPart := r.config.Life == nil || !r.config.Life.Waits()
	if takesPart && peers.IsMember(r.config.Group.Status().Conf, p.Member.ID) {
		p = r.presence(r.config.Group.Status().Applied) // after the members: it may be newer
	}
	var wg sync.WaitGroup
	for _, id := range r.config.Directory.others() {
		wg.Go(func() { r.presentTo(ctx, id, p) })
	}
	wg.Wait()
}

// presentTo presents this node at every address that a member may have. Somebody else who has one of them now says
// nothing of the member.
func (r *Registrar) presentTo(ctx context.Context, id uint64, p Presence) {
	addrs := r.config.Directory.Addresses(id)
	answers := make([]Presented, len(addrs))
	answered := make([]bool, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			var err error // tried again at a later turn; a version that does not know the question has nothing to say
			answers[i], err = Present(ctx, r.config.Client, addr, p)
			answered[i] = err == nil
			if answered[i] && r.alike(answers[i].Formed) {
				r.answered(addr, answers[i])
			}
		})
	}
	wg.Wait()
	formed := map[string]map[uint64]string{}
	for i, addr := range addrs {
		if answered[i] && answers[i].Self.ID == id {
			formed[addr] = answers[i].Formed
		}
	}
	if r.config.Life != nil {
		r.config.Life.Answered(id, formed)
	}
}

// answered takes what a node of this life of the region answered at an address.
func (r *Registrar) answered(addr string, answer Presented) {
	if answer.Removed {
		r.config.OnRemoved(fmt.Errorf("so says the node at %s", addr))
		return
	}
	if peers.IsMember(r.config.Group.Status().Conf, answer.Self.ID) && r.config.OnAnswered != nil {
		r.config.OnAnswered(answer)
	}
	r.config.Directory.Tell(answer.Self)
	for _, m := range answer.Members {
		r.config.Directory.Pass(m)
	}
}

// Known asks the node at addr whether the region has removed a node of which there is nothing here yet.
func Known(ctx context.Context, c *peer.Client, addr, region string, m timeline.Member) (removed bool) {
	answer, err := Present(ctx, c, addr, Presence{Region: region, Member: m})
	return err == nil && answer.Removed
}
