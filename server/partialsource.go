package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/server/partial"
)

// newPartialSource returns what has partial regions follow the node. The replicator of s is there before anybody does.
func newPartialSource(s *server) (*partial.Source, error) {
	regions, err := s.config.partialRegions(s.logger)
	if err != nil {
		return nil, err
	}
	r := &s.config.Replication
	return partial.NewSource(partial.SourceConfig{
		Store: s.store, Regions: regions, Fleet: r.FleetID, Region: r.RegionID, Node: r.NodeID,
		Barrier: func(ctx context.Context) error { return s.replicator.ReadBarrier(ctx, replication.Linearizable) },
		Fit:     func() error { return s.equality.fitToFollow(s.replicator.Health()) },
		Logger:  s.logger,
	}), nil
}

// fitToFollow says why no partial region may follow this node.
func (e *equality) fitToFollow(h *replication.HealthStatus) error {
	switch {
	case h.Role == replication.RoleDiverged:
		return errors.New("its region has what a failover cut off")
	case h.Late != nil:
		return errors.New("its region shows its history late, on purpose")
	case e.differs():
		return errors.New("it holds something else than its region")
	case e.rebuilds.Load():
		return errors.New("it is being rebuilt")
	}
	return nil
}

// fleetTime bounds how long it is found out whether a region has the name of a partial one.
const fleetTime = 2 * time.Second

// notPartial refuses what cannot be done with a partial region: it is no region of the fleet's succession. Of a region
// that somebody has given a partial one's name nothing is refused, least of all a failover.
func notPartial(s *server) func(region string) error {
	return func(region string) error {
		r, ok := s.partial.Regions.Named(region)
		if !ok {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), fleetTime)
		defer cancel()
		is := func(one replication.RegionStatus) bool { return one.Name == region }
		if !slices.ContainsFunc(s.replicator.Fleet(ctx).Regions, is) {
			return fmt.Errorf("%s is a partial region: it follows only %s, is never primary, votes for nobody, and is "+
				"nobody's source", region, r.Prefixes)
		}
		return nil
	}
}

func (c *Config) partialRegions(logger *slog.Logger) (*partial.Regions, error) {
	regions, err := partial.OpenRegions(c.PartialRegionsFile, logger)
	if err != nil {
		return nil, fmt.Errorf("%w: partial-regions-file: %w", ErrConfig, err)
	}
	return regions, nil
}

// checkPartialRegions says what is wrong with their file.
func (c *Config) checkPartialRegions(quiet *slog.Logger) error {
	_, err := c.partialRegions(quiet)
	return err
}

// notAPlace refuses a directory that a node of a partial region has.
func notAPlace(dir string) error {
	if !partial.IsPlace(durable.OS, dir) {
		return nil
	}
	return fmt.Errorf("%w: a node of a partial region has it: mimir partial serve", replication.ErrIdentity)
}
