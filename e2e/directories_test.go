package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
const roomOnDisk = 64 << 20

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
	mount := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size+roomOnDisk),
		"mimir-e2e", s.mount())
	if text, err := mount.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mount: %w: %s", err, text)
	}
	c.mounted = s.mount()
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
	c.mounted = ""
	if err := errors.Join(s.n.Start(), c.awaitNode(ctx, s.n)); err != nil {
		return err
	}
	return misuse{c.run}.disarm(ctx, s.n)
}
