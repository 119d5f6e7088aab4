package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// A disk of diskSize holds a reserve that is given back when the disk was full.
const (
	diskSize     = "size=64m"
	reserveBytes = 32 << 20
	valueBytes   = 64 << 10
)

// fullDisk fills the disk of a node and wants it to say so, and to have everything that it acknowledged when there is
// space again.
func (r misuse) fullDisk(ctx context.Context) error {
	dir := filepath.Join(r.Dir, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	mount := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", diskSize, "mimir-e2e", dir)
	if text, err := mount.CombinedOutput(); err != nil {
		r.line("a full disk: skipped, because a small file system cannot be mounted here: %s",
			strings.TrimSpace(string(text)))
		return nil
	}
	defer exec.Command("umount", dir).Run()
	reserve := filepath.Join(dir, "reserve")
	if err := os.WriteFile(reserve, make([]byte, reserveBytes), 0o644); err != nil {
		return err
	}
	solo, err := r.startSolo(ctx, "full", filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer solo.Close()
	n := solo.Nodes()[0]
	acked, refused := r.fill(ctx, n)
	if refused == nil {
		return errors.New("the disk never got full")
	}
	if err := r.reportFull(ctx, n, acked, refused); err != nil {
		return err
	}
	if err := os.Remove(reserve); err != nil {
		return err
	}
	n.Kill()
	if err := errors.Join(n.Start(), r.awaitHealthy(ctx, n)); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	end, err := now(ctx, n)
	if err != nil {
		return err
	}
	held, err := contents(ctx, n, "/disk/", end)
	if err != nil {
		return err
	}
	for i := range acked {
		if kv := held[diskKey(i)]; kv == nil || len(kv.Value) != valueBytes {
			return fmt.Errorf("%s was acknowledged before the disk was full, and is {%s}", diskKey(i), describe(kv))
		}
	}
	r.line("with space again the node has all %d acknowledged writes", acked)
	return nil
}

func diskKey(i int) string { return fmt.Sprintf("/disk/%06d", i) }

// fill writes until a write fails, and returns how many were acknowledged.
func (r misuse) fill(ctx context.Context, n *localfleet.Node) (acked int, refused error) {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	value := strings.Repeat("0123456789abcdef", valueBytes/16)
	for ; acked < 10*reserveBytes/valueBytes; acked++ {
		if _, err := client.Put(ctx, diskKey(acked), value); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

// reportFull wants a node with a full disk either to have ended with status 1 and a line that says why, or to refuse
// with an error that does.
func (r misuse) reportFull(ctx context.Context, n *localfleet.Node, acked int, refused error) error {
	const reason = "no space left on device"
	select {
	case <-n.Ended():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		if strings.Contains(refused.Error(), reason) {
			r.line("a full disk: after %d writes, refused with: %s", acked, refused)
			return nil
		}
		return fmt.Errorf("the node runs on a full disk, and writes fail with: %w", refused)
	}
	last := n.LastWords()
	if n.ExitStatus() != statusFailed || !strings.HasPrefix(last, "mimir: ") || !strings.Contains(last, reason) {
		return fmt.Errorf("the node ended with status %d and the last words %q", n.ExitStatus(), last)
	}
	r.line("a full disk: after %d writes the node ended with status %d, %s", acked, n.ExitStatus(),
		strings.ReplaceAll(last, r.Dir, "DIR"))
	return nil
}
