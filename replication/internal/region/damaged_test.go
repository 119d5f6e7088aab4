package region

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
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
	p.spoil("/staging/copy")
	p.apply(s.install)
	if !slices.Equal(p.spoiled, []string{"copy"}) {
		t.Errorf("damaged copies %v", p.spoiled)
	}
	if got := p.commands(); !slices.Equal(got, later) || len(p.asked) != 1 || len(p.staged) != 0 {
		t.Errorf("commands %q, asked for %v, left %v", got, p.asked, p.staged)
	}
}

// spoil changes a byte of a copy on the disk.
func (p *place) spoil(dir string) {
	p.t.Helper()
	f, err := p.fs.OpenReadWrite(dir + "/contents/stream")
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{0xff}, 3)
	if err := errors.Join(err, f.Close()); err != nil {
		p.t.Fatal(err)
	}
}

// TestADamagedStateFromRaftIsNoDamageHere: whoever ends the node for it must not say that its own directory is damaged,
// and the node has what it had.
func TestADamagedStateFromRaftIsNoDamageHere(t *testing.T) {
	damages := map[string]func(p *place, dir string) error{
		"contents":    func(p *place, dir string) error { p.spoil(dir); return nil },
		"no contents": func(p *place, dir string) error { return p.fs.RemoveAll(dir + "/contents") },
		"no metadata": func(p *place, dir string) error { return p.fs.Remove(dir + "/METADATA") },
		"metadata": func(p *place, dir string) error {
			f, err := p.fs.Create(dir + "/METADATA")
			if err != nil {
				return err
			}
			return f.Close()
		},
	}
	for name, damage := range damages {
		s, fs := newScript(t), memory()
		e := enginetest.Volatile()
		p := newPlace(t, "us", fs, e, e).load()
		p.apply(s.old...)
		had := p.commands()
		s.ownCopy(t, fs, "/received")
		if err := damage(p, "/received"); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := p.Install("/received")
		none := []error{contract.ErrDamaged, contract.ErrMetadata, os.ErrNotExist}
		told := slices.ContainsFunc(none, func(e error) bool { return errors.Is(err, e) })
		if !errors.Is(err, raftgroup.ErrSpoiled) || told {
			t.Errorf("%s: %v", name, err)
		}
		if got := p.commands(); !slices.Equal(got, had) {
			t.Errorf("%s: commands %q, had %q", name, got, had)
		}
	}
}

// siblings has two nodes of the region give their state, the first of which is damaged.
func (p *place) siblings(s *script) {
	s.ownCopy(p.t, p.fs, "/staging/bad")
	s.ownCopy(p.t, p.fs, "/staging/good")
	p.spoil("/staging/bad")
	p.staged["bad"], p.staged["good"] = "/staging/bad", "/staging/good"
	p.give = func(uint64) (string, error) {
		if slices.Contains(p.spoiled, "bad") {
			return "good", nil
		}
		return "bad", nil
	}
}

// TestOneSiblingAfterTheOther: a damaged copy of a sibling ends neither an install nor a rebuild while another sibling
// has a good one.
func TestOneSiblingAfterTheOther(t *testing.T) {
	for name, replace := range map[string]func(p *place, s *script) error{
		"install": func(p *place, s *script) error {
			s.sourceCopy(t, p.fs, "/staging/copy")
			p.spoil("/staging/copy")
			p.staged["copy"] = "/staging/copy"
			return p.Apply(p.enter(1, s.install))
		},
		"rebuild": func(p *place, _ *script) error { return p.Rebuild(t.Context(), "/aside/1", mayBe) },
	} {
		s, fs := newScript(t), memory()
		e := enginetest.Volatile()
		p := newPlace(t, "us", fs, e, e).load()
		p.apply(s.old...)
		p.siblings(s)
		if err := replace(p, s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p.check()
		damaged := map[string][]string{"install": {"copy", "bad"}, "rebuild": {"bad"}}[name]
		if got := p.commands(); !slices.Equal(got, later) || !slices.Equal(p.spoiled, damaged) {
			t.Errorf("%s: commands %q, damaged %v", name, got, p.spoiled)
		}
		if len(p.staged) != 0 {
			t.Errorf("%s: copies left: %v", name, p.staged)
		}
	}
}
