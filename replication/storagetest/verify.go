package storagetest

import (
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// A storage that can tell passes what is well, and not what is damaged, unless that does not matter. It looks beside
// everything else, and changes nothing.
func verify(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	c, dirs := checkpointerOf(r)
	v, ok := c.(contract.Verifier)
	if !ok {
		t.Skip("the storage is no Verifier")
	}
	half := len(h.events) / 2
	r.apply(half, 7)
	dir := r.checkpoint(c, dirs)
	whole, list := filesOf(t, dirs.FS(), dir), damages(t, dirs, dir)
	applied := r.goesOn()
	if err := looked(v, dir, whole); err != nil {
		t.Errorf("of a checkpoint with which nothing is wrong: %v", err)
	}
	var passed []damage
	for _, d := range list {
		switch err := looked(v, d.dir, d.files); {
		case err == nil:
			passed = append(passed, d)
		case !errors.Is(err, contract.ErrDamaged):
			t.Errorf("of a checkpoint of which %s: %v, which does not wrap ErrDamaged", d.what, err)
		}
	}
	applied()
	r.check("after a look at checkpoints")
	if what := changed(whole, filesOf(t, dirs.FS(), dir)); what != "" {
		t.Errorf("a look at a checkpoint changes it: %s", what)
	}
	for _, d := range passed {
		after := adopt(t, h, r.Crashed(t), 0)
		after.spoiled = true
		after.install(d.dir, half, "what VerifyFile and Verify pass, a checkpoint of which "+d.what)
	}
}

// looked returns what a storage says of the checkpoint in dir that has these files.
func looked(v contract.Verifier, dir string, files []file) (err error) {
	for _, f := range files {
		err = errors.Join(err, v.VerifyFile(dir, f.name))
	}
	return errors.Join(err, v.Verify(dir))
}
