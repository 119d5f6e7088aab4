package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/contract"
)

var (
	copiedMiB  = flag.Int("bootstrap", 48, "MiB of values of the region that is copied in TestBootstrapUnderFaults")
	copiedRate = flag.Int("bootstrap-rate", 8, "MiB a second at which it is copied at most; 0: no bound")
)

// Values of the state that is copied: random, so that nothing makes less of them.
const (
	copiedValueBytes = 128 << 10
	copiedWriters    = 8
)

// copied is a region of one node that takes a copy of the whole state of another one, over a link, under load.
type copied struct {
	*run
	giver, taker *localfleet.Node
	limit        time.Duration // of the copy
	resident     map[string]int64
}

// A region takes a copy of the other's whole state while that is written, the link is cut three times, and the nodes of
// both sides are killed: it goes on where it was, and does not begin again. In the end both are equal, and have all
// that was acknowledged (invariants 1, 4, 5 and 13).
func TestBootstrapUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for half a minute")
	}
	dir := t.TempDir()
	o := Options{
		Binary: built(t), Dir: dir, Delay: 5 * time.Millisecond, Pause: 50 * time.Millisecond, Out: testWriter{t},
	}
	if err := runCopied(t.Context(), o); err != nil {
		showLogs(t, dir)
		t.Fatal(err)
	}
}

func runCopied(ctx context.Context, o Options) error {
	f, err := localfleet.New(localfleet.Options{
		Dir: o.Dir, Command: []string{o.Binary, "serve"}, Regions: regionNames, Nodes: 1, Delay: o.Delay,
	})
	if err != nil {
		return err
	}
	defer f.Close()
	c := &copied{
		run:   &run{Options: o, fleet: f, report: report{out: o.Out, start: time.Now()}},
		giver: f.Regions[0].Nodes[0], taker: f.Regions[1].Nodes[0], limit: patience, resident: map[string]int64{},
	}
	for _, n := range f.Nodes() {
		n.Config.RetainBytes = n.Config.SegmentBytes
		if *copiedRate > 0 {
			n.Config.RegionRate = &localfleet.RegionRate{Copy: []string{fmt.Sprintf("*=%dMiB", *copiedRate)}}
			c.limit += time.Duration(*copiedMiB / *copiedRate) * 3 * time.Second
		} else {
			c.limit += time.Duration(*copiedMiB/4) * time.Second
		}
		if err := n.Save(); err != nil {
			return err
		}
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	return c.copy(ctx)
}

// begin has the giver hold what is to be copied, and no log that reaches back to its beginning.
func (c *copied) begin(ctx context.Context) error {
	if err := localfleet.Start(c.fleet.Nodes()); err != nil { // a fleet begins when all regions have been asked
		return err
	}
	if err := c.awaitServing(ctx); err != nil {
		return err
	}
	c.taker.Kill()
	if err := os.RemoveAll(c.taker.Config.DataDir); err != nil {
		return err
	}
	began := time.Now()
	if err := c.fill(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	if err := c.outgrow(ctx, c.fleet.Regions[0]); err != nil {
		return err
	}
	size, err := bytesUnder(filepath.Join(c.giver.Config.DataDir, "kv"))
	c.line("%s holds %d MiB of values, written at %.0f MiB a second, in %d MiB of files, and retains %s of log",
		c.giver.Config.Name, *copiedMiB, float64(*copiedMiB)/took.Seconds(), size>>20, c.giver.Config.RetainBytes)
	return err
}

// fill puts what is to be copied.
func (c *copied) fill(ctx context.Context) error {
	client, err := connect(c.giver.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, copiedWriters)
	count := int64(*copiedMiB) << 20 / copiedValueBytes
	for i := range copiedWriters {
		all.Go(func() {
			value := make([]byte, copiedValueBytes)
			for n := next.Add(1); n <= count && errs[i] == nil; n = next.Add(1) {
				rand.Read(value) //nolint:errcheck // it never fails
				putting, cancel := context.WithTimeout(ctx, writeTimeout)
				_, errs[i] = client.Put(putting, fmt.Sprintf("/copied/%08d", n), string(value))
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// troubles are what happens on the way, each when a part of the copy is there.
var troubles = []struct {
	at   float64
	what string
	make func(*copied) error
}{
	{0.1, "the link is cut", (*copied).cut},
	{0.25, "the giver is killed", func(c *copied) error { c.giver.Kill(); return c.giver.Start() }},
	{0.4, "the link is cut", (*copied).cut},
	{0.55, "the taker is killed", func(c *copied) error { c.taker.Kill(); return c.taker.Start() }},
	{0.7, "the link is cut", (*copied).cut},
}

// cut is for as long as nobody takes it for a pause.
func (c *copied) cut() error {
	a, b := c.giver.Config.Region, c.taker.Config.Region
	c.fleet.Cut(a, b)
	time.Sleep(3 * time.Second)
	c.fleet.Lose(a, b)
	c.fleet.Heal(a, b)
	return nil
}

// copy has the taker come with an empty disk.
func (c *copied) copy(ctx context.Context) error {
	clients, closeAll, err := connectTimes(4, []string{c.giver.Config.ListenClient})
	if err != nil {
		return err
	}
	defer closeAll()
	w := startWriters(ctx, clients, "/meanwhile/", c.Pause)
	defer w.stop()
	began, before := time.Now(), c.fleet.Answered()
	if err := c.taker.Start(); err != nil {
		return err
	}
	for _, trouble := range troubles {
		if err := c.until(ctx, trouble.at, began); err != nil {
			return fmt.Errorf("until %s: %w", trouble.what, err)
		}
		c.remember()
		if err := trouble.make(c); err != nil {
			return err
		}
		c.line("%s, %s", trouble.what, c.far(ctx))
	}
	if err := c.until(ctx, 1, began); err != nil {
		return err
	}
	took, crossed := time.Since(began), c.fleet.Answered()-before
	c.remember()
	c.line("copied in %s; %d MiB crossed, %.1f MiB a second; %.0f writes a second meanwhile, longest pause %s",
		short(took), crossed>>20, float64(crossed>>20)/took.Seconds(), w.rate(), c.pause(w))
	return c.conclude(ctx, w.stop(), crossed)
}

func (c *copied) pause(w *writers) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause, _ := longestPause(w.writes)
	return short(pause)
}

// conclude wants both regions equal, and that what crossed is one copy and what was written meanwhile.
func (c *copied) conclude(ctx context.Context, writes []write, crossed int64) error {
	end, err := c.awaitEqual(ctx)
	if err != nil {
		return err
	}
	held, err := sameContents(ctx, c.fleet.Regions[0], c.fleet.Regions[1], "/meanwhile/", end)
	if err != nil {
		return err
	}
	acked, err := checkAcknowledged(writes, held, nothingMissing)
	if err != nil {
		return err
	}
	if installed, err := installs(c.fleet.Regions[1]); err != nil || installed == 0 {
		return errors.Join(errors.New("no copy was installed: the log was retained, and nothing was tested"), err)
	}
	size, err := bytesUnder(filepath.Join(c.giver.Config.DataDir, "kv"))
	if err != nil {
		return err
	}
	if most := size + size/4 + 16<<20; crossed > most {
		return fmt.Errorf("%d MiB crossed of a state of %d MiB: what was there came again", crossed>>20, size>>20)
	}
	c.line("%d writes that were acknowledged meanwhile are in both regions; most memory: %s", acked, c.memory())
	return verified(ctx, c.run, c.limit)
}

// far is how far the copy is, as the taker's region says; "" if it takes none.
func (c *copied) far(ctx context.Context) string {
	b, err := c.bootstrap(ctx)
	switch {
	case err != nil:
		return err.Error()
	case b == nil:
		return "no copy is taken"
	case b.DoneBytes == nil || b.TotalBytes == nil:
		return string(b.Phase) + ", bytes unknown"
	}
	return fmt.Sprintf("%s, %d of %d MiB", b.Phase, *b.DoneBytes>>20, *b.TotalBytes>>20)
}

// bootstrap is nil if the taker's region takes no copy.
func (c *copied) bootstrap(ctx context.Context) (*replication.Bootstrap, error) {
	status, err := fleetOf(ctx, c.taker)
	if err != nil {
		return nil, err
	}
	for i := range status.Regions {
		if status.Regions[i].Name == c.taker.Config.Region {
			return status.Regions[i].Bootstrap, nil
		}
	}
	return nil, nil
}

// until waits until a part of the copy is there, 1 for the whole, and installed.
func (c *copied) until(ctx context.Context, part float64, began time.Time) error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		b, err := c.bootstrap(ctx)
		counted := err == nil && b != nil && b.DoneBytes != nil && b.TotalBytes != nil
		fetching := counted && b.Phase == contract.BootstrapFetching
		if fetching && part < 1 && float64(*b.DoneBytes) >= part*float64(*b.TotalBytes) {
			return nil
		}
		if installed, err := installs(c.fleet.Regions[1]); err == nil && installed > 0 {
			if part == 1 {
				return nil
			}
			return errors.New("the copy was there before")
		}
		if time.Since(began) > c.limit {
			return fmt.Errorf("not within %s: %s", c.limit, c.far(ctx))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}

// remember notes how much memory the nodes have had at most.
func (c *copied) remember() {
	for _, n := range c.fleet.Nodes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "VmHWM:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, _ := strconv.ParseInt(fields[0], 10, 64)
			c.resident[n.Config.Name] = max(c.resident[n.Config.Name], kib>>10)
		}
	}
}

func (c *copied) memory() string {
	if len(c.resident) == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%v MiB", c.resident)
}

// bytesUnder is the size of all files in a directory.
func bytesUnder(dir string) (size int64, err error) {
	return size, filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it was removed meanwhile
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
}
