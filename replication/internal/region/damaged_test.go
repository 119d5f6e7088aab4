package region

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

// TestADamagedCopyIsTakenFromAnotherNode: what was staged here and is not what came any more is not installed.
func TestADamagedCopyIsTakenFromAnotherNode(t *testing.T) {
	s, fs := newScript(t), memory()
	e := enginetest.Volatile()
	p := newPlace(t, "us", fs, e, e).load()
	p.apply(s.old...)
	s.sourceCopy(t, fs, "/staging/copy")
	s.ownCopy(t, fs, "/staging/own")
	p.staged["copy"], p.staged["own"] = "/staging/copy", "/staging/own"
	p.give = func(uint64) (string, error) { return "own", nil }
	f, err := fs.OpenReadWrite("/staging/copy/contents/stream")
	if err == nil {
		_, err = f.WriteAt([]byte{0xff}, 3)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.apply(s.install)
	if got := p.commands(); !slices.Equal(got, later) || len(p.asked) != 1 || len(p.staged) != 0 {
		t.Errorf("commands %q, asked for %v, left %v", got, p.asked, p.staged)
	}
}
