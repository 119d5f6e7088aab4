package secondary

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestACopyOfWhoDiffersIsNotInstalled (F9): it was fine as far as anybody knew when it came. Who answers decides, and
// where nobody does it is installed.
func TestACopyOfWhoDiffersIsNotInstalled(t *testing.T) {
	for name, c := range map[string]struct {
		down, differs, asked []string
		gone                 bool
	}{
		"it differs":          {nil, []string{"eu-1"}, []string{"eu-1"}, true},
		"it does not":         {nil, []string{"eu-2"}, []string{"eu-1"}, false},
		"one does not answer": {[]string{"eu-1"}, []string{"eu-2"}, []string{"eu-1", "eu-2"}, true},
		"nobody answers":      {[]string{"eu-1", "eu-2", "eu-3"}, nil, []string{"eu-1", "eu-2", "eu-3"}, false},
	} {
		s := &shelf{regions: map[string]string{"eu-1": "eu"}}
		f := testFollower(s)
		e := succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu", Epoch: 4}
		fetched := f.Run(t.Context(), e)
		if fetched.Copy == nil {
			t.Fatalf("%s: %+v", name, fetched)
		}
		s.down, s.differs, s.asked = c.down, c.differs, nil
		e.Do, e.Copy = succession.Stage, fetched.Copy.ID
		got := f.Run(t.Context(), e)
		if got.Gone != c.gone || (got.Err != nil) != c.gone || !slices.Equal(s.asked, c.asked) {
			t.Errorf("%s: ended %+v, asked %v", name, got, s.asked)
		}
		if c.gone && (!errors.Is(got.Err, contract.ErrRejected) || !slices.Equal(s.gone, []string{e.Copy})) {
			t.Errorf("%s: %v; removed %v", name, got.Err, s.gone)
		}
	}
}

// The same holds of a copy that the region has since a leader before: another is fetched in its place.
func TestAHeldCopyOfWhoDiffersIsNotTaken(t *testing.T) {
	held := succession.Copy{ID: "held", Origin: timeline.Origin{Cursor: timeline.Cursor{Epoch: 4, Position: 9}}}
	for _, differs := range [][]string{nil, {"eu-1"}} {
		s := &shelf{regions: map[string]string{"eu-1": "eu"}, held: &held, differs: differs}
		e := succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu", Epoch: 4}
		got := testFollower(s).Run(t.Context(), e)
		if got.Copy == nil || (got.Copy.ID == "held") != (differs == nil) {
			t.Errorf("%v differs: ended %+v", differs, got)
		}
	}
}
