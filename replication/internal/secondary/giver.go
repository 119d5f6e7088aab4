package secondary

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

const (
	// giverTimeout bounds the question to one node whether who gave a copy holds what its region does.
	giverTimeout = 2 * time.Second
	// giverTries is how many nodes are asked: a region that is gone holds up nobody.
	giverTries = 3
)

// checkGiver returns an error, and removes the copy, if who gave it is known by now to hold something else than the
// region of which it is (F9). Its leader is asked first. Where nobody answers the copy stays: it may be all that is
// left.
func checkGiver(ctx context.Context, f *Follower, region, id string) error {
	addresses := f.config.Fleet.Addresses(region)
	for _, addr := range addresses[:min(giverTries, len(addresses))] {
		asking, cancel := context.WithTimeout(ctx, giverTimeout)
		differs, err := f.config.Copies.Differs(asking, addr, id)
		cancel()
		if err != nil {
			f.config.Logger.Debug("cannot tell whether who gave a copy holds what its region does", "addr", addr,
				"copy", id, "err", err)
			continue
		}
		if differs {
			f.config.Copies.Discard(id)
			return fmt.Errorf("%w: copy %s is of a node that is known by now to hold something else than region %s",
				contract.ErrRejected, id, region)
		}
		return nil
	}
	return nil
}
