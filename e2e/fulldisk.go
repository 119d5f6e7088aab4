package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// A disk of diskSize holds a reserve that is given back when the disk was full.
const (
	diskSize     = "size=64m"
	reserveBytes = 32 << 20
	littleBytes  = 8 << 20 // of it are given back first: the ballast, and what must be free beside it
	valueBytes   = 64 << 10
)

// fullDisk fills the disk of a node and wants it to refuse writes while it serves reads and deletes. Then it takes the
// last of the space, as another program would, also of what the node gave up to start, and wants the node to start on
// what it kept for that, to delete, to keep something again as soon as there is a little space, and to take writes once
// there is enough and the alarm is disarmed.
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
	if !errors.Is(refused, rpctypes.ErrNoSpace) || !n.Running() {
		return fmt.Errorf("a full disk: after %d writes: %w; last words: %s", acked, refused, n.LastWords())
	}
	r.line("a full disk: after %d writes, refused with: %s", acked, refused)
	if err := r.useNearlyFull(ctx, n); err != nil {
		return fmt.Errorf("on a nearly full disk: %w", err)
	}
	if err := r.fillAgainAndAgain(ctx, n, dir, reserve); err != nil {
		return err
	}
	r.line("on a disk that another program filled the node started, read and deleted, %d times", fillings)
	if err := r.fillWhileItRuns(ctx, n, dir); err != nil {
		return fmt.Errorf("with a full disk below its log: %w", err)
	}
	r.line("on a disk without room for its log the node read, and deleted again as soon as there was some")
	if err := errors.Join(os.Remove(reserve), r.disarm(ctx, n)); err != nil {
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

// fillings is how often the disk is filled; nothing becomes free before the last.
const fillings = 6

// fillWhileItRuns takes the disk from a node that runs until its log has no room either, and gives it back.
func (r misuse) fillWhileItRuns(ctx context.Context, n *localfleet.Node, dir string) error {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	rest := filepath.Join(dir, "last")
	for err == nil {
		takeRest(rest)
		ctx, cancel := context.WithTimeout(ctx, shortOfRoom)
		_, err = client.Delete(ctx, "/none/"+strings.Repeat("n", 4*valueBytes))
		cancel()
	}
	if got, err := client.Get(ctx, diskKey(0), clientv3.WithSerializable()); err != nil || len(got.Kvs) != 1 {
		return fmt.Errorf("get: %w", err)
	}
	if !n.Running() {
		return fmt.Errorf("it has stopped itself: %s", n.LastWords())
	}
	if err := os.Remove(rest); err != nil {
		return err
	}
	return r.await(ctx, "it deletes again", func(ctx context.Context) string {
		if _, err := client.Delete(ctx, "/none"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// shortOfRoom is how long a delete takes at least that waits for room.
const shortOfRoom = 2 * time.Second

// fillAgainAndAgain has another program take all the disk has before each start.
func (r misuse) fillAgainAndAgain(ctx context.Context, n *localfleet.Node, dir, reserve string) error {
	whole := ballast(n)
	for round := range fillings {
		n.Kill()
		rest := filepath.Join(dir, fmt.Sprint("rest", round))
		takeRest(rest)
		if err := errors.Join(n.Start(), r.awaitHealthy(ctx, n)); err != nil {
			return fmt.Errorf("on a disk that was filled %d times: %w; last words: %s", round+1, err, n.LastWords())
		}
		if err := r.useNearlyFull(ctx, n); err != nil {
			return fmt.Errorf("after a start on a disk that was filled %d times: %w", round+1, err)
		}
		if round == fillings-2 { // much of what was kept is gone
			if err := r.awaitBallast(ctx, n, whole, reserve); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitBallast gives a little of the space back, and wants the node to keep that for the next time.
func (r misuse) awaitBallast(ctx context.Context, n *localfleet.Node, whole int64, reserve string) error {
	if err := os.Truncate(reserve, reserveBytes-littleBytes); err != nil {
		return err
	}
	return r.await(ctx, "the ballast is made again", func(context.Context) string {
		if bytes := ballast(n); bytes < whole {
			return fmt.Sprintf("it has %d bytes of %d", bytes, whole)
		}
		return ""
	})
}

// ballast returns how large that of a node is.
func ballast(n *localfleet.Node) int64 {
	info, err := os.Stat(filepath.Join(n.Config.DataDir, "ballast"))
	if err != nil {
		return 0
	}
	return info.Size()
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
	value := make([]byte, valueBytes)
	for ; acked < 10*reserveBytes/valueBytes; acked++ {
		rand.Read(value) // what can be compressed would fill the disk only as fast as the log behind it is not cut
		if _, err := client.Put(ctx, diskKey(acked), string(value)); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

// useNearlyFull reads and deletes.
func (r misuse) useNearlyFull(ctx context.Context, n *localfleet.Node) error {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if got, err := client.Get(ctx, diskKey(0)); err != nil || len(got.Kvs) != 1 {
		return fmt.Errorf("get: %w", err)
	}
	deleted, err := client.Delete(ctx, "/none", clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := client.Put(ctx, "/more", ""); !errors.Is(err, rpctypes.ErrNoSpace) {
		return fmt.Errorf("put, with the alarm raised: %w", err)
	}
	_, err = client.Compact(ctx, deleted.Header.Revision)
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

// disarm disarms the alarm until a write is taken.
func (r misuse) disarm(ctx context.Context, n *localfleet.Node) error {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	return r.await(ctx, "writes are taken again", func(ctx context.Context) string {
		if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
			return err.Error()
		}
		if _, err := client.Put(ctx, "/more", ""); err != nil {
			return err.Error()
		}
		return ""
	})
}

// takeRest fills the disk to the last byte.
func takeRest(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	for bytes := make([]byte, valueBytes); len(bytes) > 0; {
		if _, err := f.Write(bytes); err != nil {
			bytes = bytes[:len(bytes)/2]
		}
	}
}
