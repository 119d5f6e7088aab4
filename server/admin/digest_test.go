package admin

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/server/verify"
)

func TestDigest(t *testing.T) {
	c := serve(t, &fake{fails: 5, whole: -1})
	q := &verify.Question{Revision: 9, Compact: 5, Ranges: []verify.Range{{From: []byte("a"), To: []byte{0xff}}}}
	a, err := c.Sums().Digest(t.Context(), q)
	if err != nil || len(a.Parts) != 1 || a.Node != "us-1" ||
		string(a.Parts[0].From) != "a" || a.Parts[0].To[0] != 0xff ||
		a.Parts[0].Keys != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	q.Compact = 4
	if _, err := c.Sums().Digest(t.Context(), q); !errors.Is(err, verify.ErrCompacted) {
		t.Errorf("what is compacted: %v", err)
	}
	q.Ranges = nil
	var refused *Error
	_, err = c.Sums().Digest(t.Context(), q)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "ranges") {
		t.Errorf("no ranges: %v", err)
	}
}
