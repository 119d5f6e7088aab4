package transfer

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestACopyThatBringsNothingGoes, whole or in part, without an election: it may be as large as all that the node has.
func TestACopyThatBringsNothingGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a")
		id, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.staging.Keep(id, 99)
		eu.put(strings.Repeat("x", 3<<20))
		broken := halfWay(net, "us-1", "eu-1")
		_, _, err = us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", MinIndex: 3}, broken)
		if part := us.staging.Partial(); err == nil || part == "" || part == id {
			t.Fatalf("a part of %q is there: %v", part, err)
		}
		tidy := func() {
			for range 2 * uselessFor {
				us.staging.Tidy(1, false)
			}
		}
		if tidy(); us.staging.Partial() == "" || !slices.Contains(us.staged(), id) {
			t.Fatal("gone while it is what this region lacks")
		}
		us.begin("us")
		if tidy(); us.staging.Partial() != "" || len(us.staged()) != 0 {
			t.Errorf("this region leads, and there is still a part of %q, and %v", us.staging.Partial(), us.staged())
		}
	})
}

// While the disk is full a part keeps no room, though the rest of it would bring something: this node comes no further
// meanwhile, and it would stay for good. A whole copy stays, and so does what the node waits for, if that has room.
func TestAPartGoesWhileTheDiskIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a")
		id, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.staging.Keep(id, 99)
		eu.put(strings.Repeat("x", 3<<20))
		part := func() {
			t.Helper()
			broken := halfWay(net, "us-1", "eu-1")
			_, _, err := us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", MinIndex: 3}, broken)
			if err == nil || us.staging.Partial() == "" {
				t.Fatalf("no part is there: %v", err)
			}
		}
		part()
		if us.staging.Tidy(1, false); us.staging.Partial() == "" {
			t.Error("gone while there is room, and the rest may come")
		}
		us.staging.own.Begin("eu-1", us.staging.config.Clock.Now())
		if us.staging.Tidy(1, true); us.staging.Partial() == "" {
			t.Error("gone while it is what this node waits for")
		}
		disk := us.staging.config.FS
		us.staging.config.FS = crowded{disk}
		_, _, err = us.staging.Fetch(t.Context(), "eu-1", Request{Region: "us", MinIndex: 3}, nil)
		if !errors.Is(err, checkpoint.ErrNoSpace) {
			t.Fatal(err)
		}
		us.staging.config.FS = disk
		if _, _, err = us.staging.Fetch(t.Context(), "eu-2", Request{Region: "us"}, nil); err == nil {
			t.Fatal("a node answered that is not there")
		}
		if us.staging.Tidy(1, true); us.staging.Partial() != "" {
			t.Error("there is no room for the rest, and the part is there still")
		}
		part()
		if us.staging.Tidy(1, true); us.staging.Partial() == "" {
			t.Error("gone because another one had no room")
		}
		us.staging.own.End()
		if us.staging.Tidy(1, true); us.staging.Partial() != "" || !slices.Contains(us.staged(), id) {
			t.Errorf("there is no room, and there is a part of %q; whole are %v", us.staging.Partial(), us.staged())
		}
	})
}

// crowded is a disk on which there is no room.
type crowded struct{ durable.FS }

func (crowded) FreeBytes(string) (uint64, error) { return 1, nil }

// clinging is a disk on which of a directory all goes but what is in one file, as long as it fails.
type clinging struct {
	durable.FS
	dir   string
	fails int
}

func (c *clinging) RemoveAll(name string) error {
	if name != c.dir || c.fails == 0 {
		return c.FS.RemoveAll(name)
	}
	c.fails--
	if err := c.FS.RemoveAll(name); err != nil {
		return err
	}
	if err := durable.MakeDir(c.FS, filepath.Join(name, "rest")); err != nil {
		return err
	}
	return syscall.EIO
}

// TestThePartOfWhichSomeWasRemovedGoes, also if it was another process that began to remove it.
func TestThePartOfWhichSomeWasRemovedGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put(strings.Repeat("x", 3<<20))
		s := us.staging
		disk := &clinging{FS: s.config.FS, dir: s.incoming()}
		s.config.FS = disk
		for _, restarts := range []bool{false, true} {
			broken := halfWay(net, "us-1", "eu-1")
			_, _, err := s.Fetch(t.Context(), "eu-1", Request{Region: "us", MinIndex: 2}, broken)
			if err == nil || s.Partial() == "" {
				t.Fatalf("no part is there: %v", err)
			}
			disk.fails = 1
			s.Tidy(1, true)
			if _, err := disk.Stat(s.incoming()); err != nil || s.Partial() != "" {
				t.Fatalf("there is a part of %q, and of the place is known: %v", s.Partial(), err)
			}
			if restarts {
				s.stuck = false
			}
			s.Tidy(1, false)
			if names := us.staged(); len(names) > 0 {
				t.Errorf("restarts %t: left is %q", restarts, names)
			}
		}
	})
}

// TestAWholeCopyThatWasSpoiledGoes: it had not got its name when a process that ended removed some of it.
func TestAWholeCopyThatWasSpoiledGoes(t *testing.T) {
	spoils := map[string]func(disk durable.FS, dir string, m *checkpoint.Manifest) error{
		"a file is gone": func(disk durable.FS, dir string, m *checkpoint.Manifest) error {
			return disk.Remove(filepath.Join(dir, m.Files[0].Name))
		},
		"the manifest is empty": func(disk durable.FS, dir string, _ *checkpoint.Manifest) error {
			f, err := disk.Create(filepath.Join(dir, "CHECKPOINT-MANIFEST"))
			if err != nil {
				return err
			}
			return f.Close()
		},
	}
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		eu.begin("eu")
		eu.put("a")
		s := us.staging
		for what, spoil := range spoils {
			id, _, err := s.Fetch(t.Context(), "eu-1", Request{Region: "us"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, err := checkpoint.Load(s.config.FS, s.dir(id))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.config.FS.Rename(s.dir(id), s.incoming()); err != nil {
				t.Fatal(err)
			}
			if s.Tidy(1, false); s.Partial() != id {
				t.Fatalf("a whole copy is gone; there is %q", s.Partial())
			}
			if err := spoil(s.config.FS, s.incoming(), m); err != nil {
				t.Fatal(err)
			}
			if s.Tidy(1, false); len(us.staged()) > 0 {
				t.Errorf("%s: left is %q", what, us.staged())
			}
		}
	})
}
