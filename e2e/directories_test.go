package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// copyTree copies a directory that may be in use: what vanishes meanwhile is left out.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, os.WriteFile(target, text, 0o600))
	})
}

// sizeOf is how many bytes the files of a directory have.
func sizeOf(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// disk is the data directory of a node, in whose place another may be put.
type disk struct{ target }

func (d *disk) aside() string { return filepath.Join(d.n.Dir, "aside") }

// putAside makes room for another directory in the place of the right one.
func (d *disk) putAside() error { return os.Rename(d.n.Config.DataDir, d.aside()) }

// putBack puts the right directory in its place again.
func (d *disk) putBack() error {
	return errors.Join(os.RemoveAll(d.n.Config.DataDir), os.Rename(d.aside(), d.n.Config.DataDir))
}

// refused starts the node, which must end with a line that says some words.
func (d *disk) refused(ctx context.Context, c *campaign, status int, words string) error {
	if err := d.n.Start(); err != nil {
		return err
	}
	return d.ended(ctx, c, status, words)
}

// ended waits for the node to end by itself, with a line that says some words.
func (d *disk) ended(ctx context.Context, c *campaign, status int, words string) error {
	err := c.await(ctx, d.String()+" ends", func(context.Context) string {
		if d.n.Running() {
			return "it runs"
		}
		return ""
	})
	if err != nil {
		return err
	}
	last := d.n.LastWords()
	if d.n.ExitStatus() != status || !strings.HasPrefix(last, "mimir: ") || !strings.Contains(last, words) {
		return fmt.Errorf("%v ended with %s and %q; wanted status %d and one line that says %q", d, d.n.Exit(), last,
			status, words)
	}
	return nil
}

// rolledBack starts a node on a copy of its directory from before it acknowledged more.
type rolledBack struct{ disk }

func (b *rolledBack) strike(ctx context.Context, c *campaign) (string, error) {
	if err := b.draw(ctx, c); err != nil {
		return "", err
	}
	older := filepath.Join(b.n.Dir, "older")
	b.n.Kill()
	if err := errors.Join(copyTree(older, b.n.Config.DataDir), b.n.Start(), c.awaitNode(ctx, b.n)); err != nil {
		return "", err
	}
	if err := c.traffic.more(ctx, c.run, settledAcks); err != nil {
		return "", err
	}
	b.n.Kill()
	if err := errors.Join(b.putAside(), os.Rename(older, b.n.Config.DataDir)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v refused an older copy of its directory", b),
		b.refused(ctx, c, statusFailed, "this member has lost its data")
}

func (b *rolledBack) mend(context.Context, *campaign) error {
	return errors.Join(b.putBack(), b.n.Start())
}

// foreign starts a node on a copy of the directory of another one of its region.
type foreign struct{ disk }

func (f *foreign) strike(ctx context.Context, c *campaign) (string, error) {
	if err := f.draw(ctx, c); err != nil {
		return "", err
	}
	at := slices.Index(c.region.Nodes, f.n)
	other := c.region.Nodes[(at+1)%len(c.region.Nodes)]
	f.n.Kill()
	if err := errors.Join(f.putAside(), copyTree(f.n.Config.DataDir, other.Config.DataDir)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v refused the directory of %s", f, other.Config.Name),
		f.refused(ctx, c, statusFailed, "belongs to node "+other.Config.Name)
}

func (f *foreign) mend(context.Context, *campaign) error {
	return errors.Join(f.putBack(), f.n.Start())
}

// roomOnDisk is what a small disk has free before it is filled.
const roomOnDisk = 192 << 20

// smallDisk moves the data of a node to a small disk, which another program fills to the last byte.
type smallDisk struct {
	disk
	right string
}

func (s *smallDisk) cannot(c *campaign) string {
	dir, err := os.MkdirTemp(c.Dir, "mount")
	if err != nil {
		return err.Error()
	}
	text, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "mimir-e2e", dir).CombinedOutput()
	if err != nil {
		return "a small file system cannot be mounted here: " + strings.TrimSpace(string(text))
	}
	if text, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		return "a small file system cannot be unmounted here: " + strings.TrimSpace(string(text))
	}
	return ""
}

func (s *smallDisk) mount() string { return filepath.Join(s.n.Dir, "small") }

func (s *smallDisk) strike(ctx context.Context, c *campaign) (string, error) {
	if err := s.draw(ctx, c); err != nil {
		return "", err
	}
	s.n.Kill()
	s.right = s.n.Config.DataDir
	size, err := sizeOf(s.right)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(s.mount(), 0o755); err != nil {
		return "", err
	}
	mount := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size+roomOnDisk), "mimir-e2e",
		s.mount())
	if text, err := mount.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mount: %w: %s", err, text)
	}
	s.n.Config.DataDir = filepath.Join(s.mount(), "data")
	if err := errors.Join(copyTree(s.n.Config.DataDir, s.right), s.n.Save(), s.n.Start()); err != nil {
		return "", err
	}
	if err := c.awaitNode(ctx, s.n); err != nil {
		return "", err
	}
	takeRest(filepath.Join(s.mount(), "rest"))
	return fmt.Sprintf("the disk of %v was full", s), nil
}

// mend moves the data back. Whether the node went on or stopped itself depends on who came first to the last bytes.
func (s *smallDisk) mend(ctx context.Context, c *campaign) error {
	if !s.n.Running() {
		if err := s.ended(ctx, c, statusFailed, "no space left on device"); err != nil {
			return err
		}
	}
	s.n.Kill()
	small := s.n.Config.DataDir
	s.n.Config.DataDir = s.right
	if err := errors.Join(os.RemoveAll(s.right), copyTree(s.right, small), s.n.Save()); err != nil {
		return err
	}
	if text, err := exec.Command("umount", s.mount()).CombinedOutput(); err != nil {
		return fmt.Errorf("umount: %w: %s", err, text)
	}
	if err := errors.Join(s.n.Start(), c.awaitNode(ctx, s.n)); err != nil {
		return err
	}
	return misuse{c.run}.disarm(ctx, s.n)
}

// removal takes a node out of its region and starts it again, which it must refuse. A new one comes in its place.
type removal struct{ disk }

func (m *removal) strike(ctx context.Context, c *campaign) (string, error) {
	if err := m.draw(ctx, c); err != nil {
		return "", err
	}
	if err := c.remove(ctx, m.n); err != nil {
		return "", err
	}
	const words = "removed from the region"
	err := m.ended(ctx, c, statusRemoved, words)
	return fmt.Sprintf("%v was removed, and replaced", m), errors.Join(err, m.refused(ctx, c, statusRemoved, words))
}

func (m *removal) mend(ctx context.Context, c *campaign) error { return c.admit(ctx, m.n) }

// statusRemoved is that of a node that is no member any more.
const statusRemoved = 3

// sibling returns another node of the region of n.
func (c *campaign) sibling(n *localfleet.Node) *localfleet.Node {
	nodes := c.fleet.Region(n.Config.Region).Nodes
	return nodes[(slices.Index(nodes, n)+1)%len(nodes)]
}

// memberID returns the id of a member of the region of a node, 0 if there is none of that name.
func memberID(ctx context.Context, at *localfleet.Node, name string) (uint64, error) {
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	list, err := client.MemberList(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range list.Members {
		if m.Name == name {
			return m.ID, nil
		}
	}
	return 0, nil
}

// remove takes a node out of its region, if it is in it.
func (c *campaign) remove(ctx context.Context, n *localfleet.Node) error {
	at := c.sibling(n)
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.await(ctx, n.Config.Name+" is no member", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil && id != 0 {
			_, err = client.MemberRemove(ctx, id)
			if err == nil {
				id = 0
			}
		}
		if err != nil {
			return err.Error()
		}
		if id != 0 {
			return "it is"
		}
		return ""
	})
}

// admit lets a new node join in the place of one that was removed, and makes it a voter.
func (c *campaign) admit(ctx context.Context, old *localfleet.Node) error {
	at := c.sibling(old)
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := c.fleet.Replace(old)
	if err != nil {
		return err
	}
	c.former = append(c.former, old)
	peer := "http://" + n.Config.Name + "@" + n.Config.ListenPeer
	err = c.await(ctx, n.Config.Name+" is added", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil && id == 0 {
			_, err = client.MemberAddAsLearner(ctx, []string{peer})
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	err = c.await(ctx, n.Config.Name+" is promoted", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil {
			_, err = client.MemberPromote(ctx, id)
		}
		if err != nil && !strings.Contains(err.Error(), "not a learner") {
			return err.Error()
		}
		return ""
	})
	n.Config.Join = false
	return errors.Join(err, c.fleet.Region(n.Config.Region).Save())
}

// bitFlip starts a node with one wrong bit in a file. It ends with one clear line, or serves what the others do; then
// nobody knows what is on its disk, and it is replaced.
type bitFlip struct {
	disk
	file   string
	served bool
}

func (b *bitFlip) strike(ctx context.Context, c *campaign) (string, error) {
	if err := b.draw(ctx, c); err != nil {
		return "", err
	}
	b.n.Kill()
	if err := errors.Join(b.putAside(), copyTree(b.n.Config.DataDir, b.aside()), b.flip(c)); err != nil {
		return "", err
	}
	if err := b.n.Start(); err != nil {
		return "", err
	}
	var err error
	b.served, err = b.servesOrEnds(ctx, c)
	what := fmt.Sprintf("%v had a wrong bit in %s", b, b.file)
	if b.served {
		return what + " and served", err
	}
	return what + " and said so", err
}

func (d *disk) servesOrEnds(ctx context.Context, c *campaign) (serves bool, err error) {
	err = c.await(ctx, d.String()+" serves or ends", func(ctx context.Context) string {
		node, err := ask(ctx, d.n)
		if serves = err == nil && node.Healthy; serves || !d.n.Running() {
			return ""
		}
		return "it does not"
	})
	return serves, err
}

// flip changes one bit of one file.
func (b *bitFlip) flip(c *campaign) error {
	var files []string
	err := filepath.WalkDir(b.n.Config.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() != "ballast" && entry.Name() != "LOCK" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for {
		path := files[c.rng.IntN(len(files))]
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		used := len(bytes.TrimRight(text, "\x00")) // the rest is room that nothing was written to
		if used == 0 {
			continue
		}
		at := c.rng.IntN(used)
		text[at] ^= 1 << c.rng.IntN(8)
		b.file, _ = filepath.Rel(b.n.Config.DataDir, path)
		b.file += fmt.Sprintf(" at byte %d of %d", at, len(text))
		return os.WriteFile(path, text, 0o600)
	}
}

func (b *bitFlip) mend(ctx context.Context, c *campaign) error {
	if b.served && b.n.Running() {
		if err := c.honest(ctx, b.n); err != nil {
			return fmt.Errorf("%s: %w", b.file, err)
		}
	}
	if !b.n.Running() {
		if err := b.ended(ctx, c, statusFailed, b.n.Config.DataDir); err != nil {
			return fmt.Errorf("%s: %w", b.file, err)
		}
		c.line("%s: %s", b.file, strings.ReplaceAll(b.n.LastWords(), c.Dir, "DIR"))
	}
	b.n.Kill()
	if err := b.putBack(); err != nil {
		return err
	}
	if !b.served {
		if err := b.n.Start(); err != nil {
			return err
		}
		if serves, err := b.servesOrEnds(ctx, c); serves || err != nil {
			return err
		}
		b.n.Kill() // it took part before it ended: the right directory is an older copy
	}
	return errors.Join(c.remove(ctx, b.n), c.admit(ctx, b.n))
}

// honest wants of a node the same hash that a sibling has, or that it finds the damage meanwhile.
func (c *campaign) honest(ctx context.Context, n *localfleet.Node) error {
	revision, err := now(ctx, c.sibling(n))
	if err != nil {
		return err
	}
	var hashes []uint32
	for _, one := range []*localfleet.Node{c.sibling(n), n} {
		client, err := connect(one.Config.ListenClient)
		if err != nil {
			return err
		}
		err = c.await(ctx, one.Config.Name+" tells its hash", func(ctx context.Context) string {
			answer, err := client.HashKV(ctx, one.Config.ListenClient, revision)
			if err == nil {
				hashes = append(hashes, answer.Hash)
			} else if one.Running() {
				return err.Error()
			}
			return ""
		})
		client.Close()
		if err != nil {
			return err
		}
	}
	if len(hashes) == 2 && hashes[0] != hashes[1] {
		return fmt.Errorf("%s serves with the hash %08x at revision %d, and a sibling has %08x", n.Config.Name, hashes[1],
			revision, hashes[0])
	}
	return nil
}
