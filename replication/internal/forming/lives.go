package forming

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/internal/recall"
)

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
