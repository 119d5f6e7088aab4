package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// Archive says where the log of the fleet is archived, and by whom. It is reached as Backup says.
type Archive struct {
	// To is a place of package store; empty for none.
	To string
	// Region is the one of which the leader archives; empty for the one that is primary.
	Region string
	// Every is for how long a segment gathers.
	Every time.Duration
	// Prune has whoever takes the backups let go of what none of them needs.
	Prune bool
}

// archivePlace opens where the log is archived.
func (c *Config) archivePlace() (store.Store, error) {
	return c.Backup.open("archive.to", c.Archive.To)
}

func (c *Config) validateArchive(f *faults) {
	a := &c.Archive
	if a.To == "" {
		if a.Region != "" {
			f.add("archive.region %q: there is no archive.to", a.Region)
		}
		if a.Prune {
			f.add("archive.prune: there is no archive.to")
		}
		return
	}
	if a.Prune && c.Backup.To == "" {
		f.add("archive.prune: there is no backup.to, and what is archived is let go by the backups that are kept")
	}
	if c.Backup.CAFile == "" { // the file is read as the node starts
		_, err := c.archivePlace()
		f.addError(err)
	}
	own := c.Replication.RegionID
	if _, other := c.Replication.Regions[a.Region]; a.Region != "" && a.Region != own && !other {
		f.add("archive.region %q is neither the region of this node nor one of regions", a.Region)
	}
	if c.Replication.ApplyDelay > 0 && a.Region == own {
		f.add("archive.region %q: a region with apply-delay shows its history late, and is no place to archive it",
			a.Region)
	}
}

// newArchiver makes what archives the log if this node is the one to do it; nil on nodes of regions that never are.
func (s *server) newArchiver(c *Config) (*archive.Archiver, error) {
	to := c.Archive
	if to.To == "" || to.Region != "" && to.Region != c.Replication.RegionID {
		return nil, nil
	}
	place, err := c.archivePlace()
	if err != nil {
		return nil, err
	}
	history := replication.HistoryOf(s.replicator)
	return archive.New(archive.Config{
		Store: archive.Of(place, c.Replication.FleetID), History: history, Place: archive.PlaceIn(s.store),
		Leads: func() bool {
			return history.Leads() && (to.Region != "" || s.replicator.IsPrimaryRegion())
		},
		Fleet: c.Replication.FleetID, Region: c.Replication.RegionID, Node: c.Replication.NodeID,
		Interval: to.Every, Clock: clock.Real, Logger: s.logger, Former: s.archiving.before(),
	}), nil
}

// replaceArchiver has other settings of the archive hold.
func replaceArchiver(s *server, c *Config) {
	archiver, err := s.newArchiver(c)
	if err != nil {
		s.logger.Error("the log is archived as before", "err", err)
		return
	}
	former := s.archiving.before()
	s.archiving.next(archiver)
	if archiver == nil && former != nil {
		former.Release()
	}
}

// archiveStatus is what the node says of its archive, nil if its settings have none.
func (s *server) archiveStatus() *archive.Status {
	archiver := s.archiving.now()
	if archiver == nil {
		running := s.settled.now()
		return elsewhere(&running)
	}
	status := archiver.Status()
	status.Stuck = s.archiving.stuck()
	behindPrimary(&status, s.replicator.Health())
	return &status
}

// elsewhere is what a node says of an archive that another region is to keep: where no region has that name, or none of
// its nodes an archive.to, nobody else would tell of it.
func elsewhere(c *Config) *archive.Status {
	to := c.Archive
	if to.To == "" || to.Region == "" || to.Region == c.Replication.RegionID {
		return nil
	}
	return &archive.Status{Elsewhere: to.Region, Behind: -1, Lag: -1}
}

// behindPrimary adds to how far an archive is behind what is applied in its region how far that is behind the primary,
// as the leader of the region knows it. What is not known there is not known of the archive.
func behindPrimary(s *archive.Status, h *replication.HealthStatus) {
	switch {
	case h.Role == replication.RolePrimary || !s.Active:
	case h.Lag.Seconds < 0 || h.Lag.AtLeast:
		s.Lag, s.Behind = -1, -1
	default:
		if s.Behind >= 0 {
			s.Behind += int64(h.Lag.Commands)
		}
		if s.Lag >= 0 {
			s.Lag += time.Duration(h.Lag.Seconds * float64(time.Second))
		}
	}
}

// archiveMetrics are the figures of the archive, read when they are scraped.
type archiveMetrics struct {
	telemetry.Unchecked
	status func() *archive.Status
}

var (
	archiveActive = telemetry.Declare(telemetry.Gauge, "mimir_archive_active",
		"1 on the node that archives the log, 0 on the others with archive.to; absent without.")
	archivePosition = telemetry.Declare(telemetry.Gauge, "mimir_archive_position",
		"Position up to which the log is archived, on the node that does it; absent until it knows how far that is.")
	archiveCommands = telemetry.Declare(telemetry.Gauge, "mimir_archive_lag_commands",
		"Commands that the archive lacks of what the primary has applied, as far as the region of the node knows "+
			"that, likewise.")
	archiveSeconds = telemetry.Declare(telemetry.Gauge, "mimir_archive_lag_seconds",
		"Upper bound of the seconds that the archive is behind the primary, likewise; absent if unknown.")
	archiveSegments = telemetry.Declare(telemetry.Counter, "mimir_archive_segments_total",
		"Segments of the log that this node archived.")
	archiveBytes = telemetry.Declare(telemetry.Counter, "mimir_archive_bytes_total",
		"Bytes of them, as they are kept.")
	archiveFailures = telemetry.Declare(telemetry.Counter, "mimir_archive_failures_total",
		"Tries to read or write the archive that failed on this node.")
	archiveGapAge = telemetry.Declare(telemetry.Gauge, "mimir_archive_gap_age_seconds",
		"How long ago the node that archives the log found the gap behind which it archives; absent where it knows of "+
			"none. A backup that was begun since ends what it is to be told for.")
	archiveGaps = telemetry.Declare(telemetry.Counter, "mimir_archive_gaps_total",
		"Gaps that this node had to leave in the archive, since the log did not reach back to its end any more, or "+
			"nothing was in the place and it did not begin with the history: what comes then needs a new snapshot.")
)

// Collect implements prometheus.Collector.
func (m archiveMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.status()
	if s == nil {
		return
	}
	archiveActive.SetTruth(out, s.Active)
	if s.Elsewhere != "" {
		return
	}
	archiveSegments.Set(out, float64(s.Segments))
	archiveBytes.Set(out, float64(s.Bytes))
	archiveFailures.Set(out, float64(s.Failures))
	archiveGaps.Set(out, float64(s.Gaps))
	if !s.Active {
		return
	}
	if g := s.Gap; g != nil && !g.At.IsZero() {
		archiveGapAge.Set(out, max(time.Since(g.At).Seconds(), 0))
	}
	if s.Known {
		archivePosition.Set(out, float64(s.Position))
	}
	if s.Behind >= 0 {
		archiveCommands.Set(out, float64(s.Behind))
	}
	if s.Lag >= 0 {
		archiveSeconds.Set(out, s.Lag.Seconds())
	}
}
