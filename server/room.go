package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/space"
)

const (
	// reserveShare bounds the reserve that nobody has set: no more than so much of the disk.
	reserveShare = 4
	// ballastShare is how much of the reserve a step of the ballast is beside it, up to mostBallast.
	ballastShare = 4
	mostBallast  = 64 << 20
)

// room is what this node knows of its disk.
type room struct {
	dir     string
	reserve int64
	ballast space.Ballast
}

// newRoom measures the disk, and gives the ballast up if there is nearly nothing left on it. A disk that cannot be
// measured is told of once the node runs.
func (s *server) newRoom() error {
	r, free, err := roomOf(s.config)
	s.room = r
	if _, there := os.Stat(r.dir); err != nil || there != nil {
		return nil
	}
	return r.ballast.Start(free, s.logger)
}

// roomOf returns what a node with this configuration knows of its disk, and how much is free there now. If the disk
// cannot be measured the rest holds.
func roomOf(c *Config) (r *room, free int64, err error) {
	r = &room{dir: c.Replication.DataDir, reserve: c.DiskReserveBytes}
	total, left, err := measure(r.dir)
	if r.reserve == 0 {
		// As much as the store and the log may write before they can give anything back.
		r.reserve = 2 * (int64(c.Store.MemTableBytes) + c.Replication.SegmentBytes)
		if err == nil {
			r.reserve = min(r.reserve, int64(total/reserveShare))
		}
	}
	r.ballast = space.Ballast{Dir: r.dir, Bytes: min(r.reserve/ballastShare, mostBallast)}
	return r, int64(left), err
}

// watchRoom raises the alarm when there is too little room, until ctx ends.
func (s *server) watchRoom(ctx context.Context) {
	space.New(space.Config{
		QuotaBytes: s.settled.quota.Load, ReserveBytes: s.room.reserve, Ballast: &s.room.ballast,
		Used: func() int64 { _, inUse := s.store.SizeBytes(); return inUse }, Free: s.freeBytes,
		Files:   func() (total, free uint64, err error) { return space.Files(s.room.dir) },
		Lacks:   s.lacks,
		Reclaim: func(ctx context.Context) error { return kv.Reclaim(ctx, s.store) },
		Raised:  s.api.NoSpaceRaised, Raise: s.api.RaiseNoSpace, Clock: clock.Real, Logger: s.logger,
	}).Run(ctx)
}

// lacks says what this node cannot do because its disk has no room.
func (s *server) lacks() error {
	if s.replicator.Health().DiskFull > 0 {
		return errors.New("the log finds no room on the disk")
	}
	if err := kv.Lacking(s.store); err != nil {
		return fmt.Errorf("the store finds no room on the disk: %w", err)
	}
	return nil
}

func (s *server) freeBytes() (uint64, error) {
	_, free, err := space.Disk(s.room.dir)
	return free, err
}
