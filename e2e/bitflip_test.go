package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

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
		return fmt.Errorf("%s serves with the hash %08x at revision %d, and a sibling has %08x", n.Config.Name,
			hashes[1], revision, hashes[0])
	}
	return nil
}
