package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// bootstrapValueBytes is the size of the values that push a secondary out of the retained log: as large as a request
// may be, about.
const bootstrapValueBytes = 1 << 20

// bootstrap is the phase of that name.
func (r *run) bootstrap(ctx context.Context) error {
	primary, secondary, err := r.primary(ctx)
	if err != nil {
		return err
	}
	if err := r.retainLittle(ctx, primary); err != nil {
		return err
	}
	before, err := installs(secondary)
	if err != nil {
		return err
	}
	localfleet.Kill(secondary.Nodes)
	r.line("killed all of %s", secondary.Name)
	if err := r.outgrow(ctx, primary); err != nil {
		return err
	}
	if err := localfleet.Start(secondary.Nodes); err != nil {
		return err
	}
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	if _, err := sameContents(ctx, primary, secondary, "/", end); err != nil {
		return err
	}
	after, err := installs(secondary)
	if err != nil {
		return err
	}
	if after == before {
		return errors.New("nobody installed a copy: the log was retained, and the test tested nothing")
	}
	r.line("%s is back and equal at revision %d; %d of its nodes installed a copy", secondary.Name, end, after-before)
	return r.checkHashes(ctx, end)
}

// retainLittle restarts the nodes of a region in good order, one after the other, with a log that holds little for
// absent regions.
func (r *run) retainLittle(ctx context.Context, region *localfleet.Region) error {
	for _, n := range region.Nodes {
		n.Config.RetainBytes = n.Config.SegmentBytes
		if err := n.Save(); err != nil {
			return err
		}
		if status := n.Stop(); status != 0 {
			return fmt.Errorf("%s was asked to stop and ended with status %d", n.Config.Name, status)
		}
		if err := n.Start(); err != nil {
			return err
		}
		if err := r.awaitServing(ctx); err != nil {
			return err
		}
	}
	r.line("restarted %s node by node, in good order, with retain-bytes %s", region.Name,
		region.Nodes[0].Config.RetainBytes)
	return nil
}

// A secondary that stays away is given up between two batches of so many values, and before so many were written. A
// node looks every 64 MiB for log to release, and keeps as much for its own region.
const (
	outgrowBatch = 16
	outgrowMost  = 1024
)

// outgrow writes until no node of the primary region has all the log that was written here.
func (r *run) outgrow(ctx context.Context, primary *localfleet.Region) error {
	client, err := connect(localfleet.Clients(primary.Nodes)...)
	if err != nil {
		return err
	}
	defer client.Close()
	value := strings.Repeat("0123456789abcdef", bootstrapValueBytes/16)
	for written := 1; written <= outgrowMost; written++ {
		putting, cancel := context.WithTimeout(ctx, writeTimeout)
		_, err := client.Put(putting, fmt.Sprintf("%s%06d", r.prefix("bootstrap"), written), value)
		cancel()
		if err != nil {
			return fmt.Errorf("write while the secondary is away: %w", err)
		}
		if written%outgrowBatch != 0 {
			continue
		}
		held, err := mostLog(ctx, primary)
		if err != nil {
			return err
		}
		if held < int64(written-outgrowBatch)*bootstrapValueBytes {
			r.line("wrote %d MiB meanwhile, of which the nodes keep at most %d MiB of log",
				written*bootstrapValueBytes>>20, held>>20)
			return nil
		}
	}
	return fmt.Errorf("%s keeps all log, though %d MiB were written while a secondary was away", primary.Name,
		outgrowMost*bootstrapValueBytes>>20)
}

// mostLog returns how much log the node of a region has that has most.
func mostLog(ctx context.Context, region *localfleet.Region) (most int64, err error) {
	for _, n := range region.Nodes {
		node, err := ask(ctx, n)
		if err != nil {
			return 0, err
		}
		most = max(most, node.LogBytes)
	}
	return most, nil
}

// installs counts how often nodes of a region installed a copy of another region's state.
func installs(region *localfleet.Region) (count int, err error) {
	for _, n := range region.Nodes {
		text, err := os.ReadFile(n.LogPath())
		if err != nil {
			return 0, err
		}
		count += strings.Count(string(text), "installed the state of the source")
	}
	return count, nil
}
