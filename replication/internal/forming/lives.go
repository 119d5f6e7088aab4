package forming

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

// Born returns with which disks the region was formed, nil if this node does not know.
func (f *Forming) Born() map[uint64]string { return f.Part().Formed }

// Alike reports whether who says that the region was formed with these disks is of the same life of it as this node, as
// far as both know. Of another life is whoever formed a region of this name anew, without asking those who are of this
// one: what it votes and holds is of that one.
func (f *Forming) Alike(formed map[uint64]string) bool {
	return !f.Part().Strange(recall.Part{Formed: formed})
}

// Answered notes with which disks the region was formed by the word of those who answered as a member, at each of the
// addresses that he may have and at which somebody answered; if nobody did, what was said before stands. The member is
// not heard if all of them are of another life of the region: where one is of this one, that is he, and another took
// the place that he had before.
func (f *Forming) Answered(id uint64, formed map[string]map[uint64]string) {
	if len(formed) == 0 {
		return
	}
	heard, strange := map[string]bool{}, false
	for addr, disks := range formed {
		heard[addr] = !f.Alike(disks)
		strange = strange || heard[addr]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.strangeAt(id)
	f.heard[id] = heard
	if strange && !before {
		f.config.Logger.Error("a member is of another life of this region, which it formed without those who are of "+
			"this one, and is not heard: stop it, put the same nodes into its file as into theirs, and replace it",
			"member", f.nameOf(id))
	}
}

// Apart reports whether who answers at an address as the node with this Raft identity said that he is of another life
// of the region; where nobody has said it yet, whether the node is not heard because of that.
func (f *Forming) Apart(id uint64, addr string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strange, known := f.heard[id][addr]; known {
		return strange
	}
	return f.strange(id)
}

// strange reports whether the node with this Raft identity is of another life of the region, as far as is known. The
// caller holds mu.
func (f *Forming) strange(id uint64) bool {
	for _, strange := range f.heard[id] {
		if !strange {
			return false
		}
	}
	return len(f.heard[id]) > 0
}

// strangeAt reports whether somebody of another life answers as this node, anywhere. The caller holds mu.
func (f *Forming) strangeAt(id uint64) bool {
	return slices.Contains(slices.Collect(maps.Values(f.heard[id])), true)
}

// nameOf returns the name of a node of the region, or its Raft identity if nobody said its name.
func (f *Forming) nameOf(id uint64) string {
	for _, m := range f.config.Applied.State().Members {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	for name := range f.config.Nodes {
		if members.RaftID(f.config.Region, name) == id {
			return name
		}
	}
	return fmt.Sprintf("%x", id)
}

// lifeOf returns how the region was formed by those who hold data, and how many of them are of that life of it: of
// which most say that they are, and who does not say it too, unless there are several. Then torn names those of each.
// What one of another life does not know is nothing: its disk is not the one with which the region was formed.
func (f *Forming) lifeOf(holding []said) (born recall.Part, nodes int, torn string) {
	var lives [][]said
	mute := 0
	for _, t := range holding {
		at := slices.IndexFunc(lives, func(l []said) bool {
			return !recall.Part{Formed: l[0].formed}.Strange(recall.Part{Formed: t.formed})
		})
		switch {
		case len(t.formed) == 0:
			mute++
		case at < 0:
			lives = append(lives, []said{t})
		default:
			lives[at] = append(lives[at], t)
		}
	}
	var most []said
	var groups []string
	for _, l := range lives {
		if len(l) > len(most) {
			most = l
		}
		var names []string
		for _, t := range l {
			names = append(names, t.node)
		}
		groups = append(groups, strings.Join(names, ", "))
	}
	if nodes = len(most); len(lives) < 2 {
		nodes += mute
	} else {
		torn = fmt.Sprintf("those that hold data are of different lives of the region (%s), which one of them formed "+
			"anew by itself: stop the one whose file does not name the others", strings.Join(groups, " / "))
	}
	if len(most) > 0 {
		born = recall.Part{Formed: most[0].formed, Left: without(most[0].left, f.config.Self.ID)}
	}
	return born, nodes, torn
}
