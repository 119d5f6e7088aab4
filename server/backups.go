package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// Backup says where backups go by themselves, and who takes them.
type Backup struct {
	To, Region              string // To is a place of package store; empty: nobody takes any
	Every, KeepFor          time.Duration
	Keep                    int
	CredentialsFile, CAFile string
}

// place opens where backups go.
func (b *Backup) place() (store.Store, error) { return b.open("backup.to", b.To) }

// open opens the place that a key of the settings names, with what backup says of credentials.
func (b *Backup) open(key, where string) (store.Store, error) {
	place, err := store.Open(where, store.Options{CredentialsFile: b.CredentialsFile, CAFile: b.CAFile})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, key, err)
	}
	return place, nil
}

func (c *Config) validateBackup(f *faults) {
	b := &c.Backup
	if b.To == "" {
		if b.Region != "" {
			f.add("backup.region %q: there is no backup.to", b.Region)
		}
		return
	}
	if b.CAFile == "" { // the file is read as the node starts
		_, err := b.place()
		f.addError(err)
	}
	_, other := c.Replication.Regions[b.Region]
	switch {
	case b.Region == "":
		f.add("backup.region is missing: name the one region, the same on all nodes, whose leader takes the backups")
	case !other && b.Region != c.Replication.RegionID:
		f.add("backup.region %q is neither the region of this node nor one of regions", b.Region)
	}
}

// newKeeper makes the keeper of a configuration; nil if it names no place.
func (s *server) newKeeper(c *Config) (*schedule.Keeper, error) {
	b := c.Backup
	if b.To == "" {
		return nil, nil
	}
	place, err := b.place()
	if err != nil {
		return nil, err
	}
	prune, err := pruning(s, c, place)
	if err != nil {
		return nil, err
	}
	r := &s.config.Replication
	return schedule.New(schedule.Config{
		Plan:  schedule.Plan{Every: b.Every, Keep: b.Keep, KeepFor: b.KeepFor},
		Store: place, Fleet: r.FleetID, Region: b.Region, Node: r.NodeID,
		Mine: func() bool { return r.RegionID == b.Region && s.replicator.IsLeader() },
		Here: func() schedule.Place {
			o, _ := originIn(s.store)
			return placeOf(s, o)
		},
		Content: func(ctx context.Context, returns []schedule.Return) (io.ReadCloser, error) {
			return s.content(ctx, b.Every, returns)
		},
		Differs: func(node string) bool {
			return kv.Raised(s.store, command.AlarmDiffers, replication.MemberID(b.Region, node))
		},
		Clock: clock.Real, Logger: s.logger, Kept: prune, Former: s.keeping.before(),
		Check: func(r io.Reader, bytes int64) error {
			_, err := backup.Verify(r, bytes)
			return err
		},
	}), nil
}

// sharedUpTo returns up to which position more than half of all regions, this one among them, are known to have the
// history to which own belongs: what is further may be given up, where the others go on without it. One of an earlier
// epoch counts for nothing, as may one that is well and still takes its first copy. It is 0 as long as this region
// holds what the fleet's history does not have, or as a region is further in epochs, or two take themselves for the
// primary: those who are well share the other history then; and where own is of another epoch than the region is by
// now.
func sharedUpTo(h *replication.HealthStatus, own timeline.Cursor) timeline.Position {
	if h.Role == replication.RoleDiverged || h.Role == replication.RolePrimary && h.Primary != h.Region ||
		own.Epoch != h.Epoch {
		return 0
	}
	primaries := 0
	if h.Role == replication.RolePrimary {
		primaries++
	}
	reached := []timeline.Position{own.Position}
	for i := range h.Peers {
		p := &h.Peers[i]
		if p.Epoch > h.Epoch {
			return 0
		}
		if p.Role == replication.RolePrimary {
			primaries++
		}
		if p.Healthy && p.Epoch == h.Epoch {
			reached = append(reached, min(p.Position, own.Position))
		}
	}
	most := (1+len(h.Peers))/2 + 1
	if primaries > 1 || len(reached) < most {
		return 0
	}
	slices.Sort(reached)
	return reached[len(reached)-most]
}

// shareTime is how long others are waited for, at most, that are to have what a backup has: they are behind a moment,
// and what they have is heard of a moment later.
const shareTime, shareTurn = 10 * time.Second, 100 * time.Millisecond

// placeOfMost returns a place, as it is told over and over, once more than half of all have what is there, if they have
// any of it, or shareTime is over.
func placeOfMost(ctx context.Context, place func() schedule.Place) schedule.Place {
	until := time.Now().Add(shareTime)
	timer := time.NewTimer(shareTurn)
	defer timer.Stop()
	for {
		p := place()
		if p.Shared == 0 || p.Shared >= p.Position || !time.Now().Before(until) {
			return p
		}
		timer.Reset(shareTurn)
		select {
		case <-ctx.Done():
			return p
		case <-timer.C:
		}
	}
}

// placeOf returns where in the history an origin of this node is, for backups, and how much of it others have now.
func placeOf(s *server, o timeline.Origin) schedule.Place {
	p := schedule.PlaceOf(o)
	p.Shared = sharedUpTo(s.replicator.Health(), o.Cursor)
	return p
}

// historyIn tells the history that a store has from those of other beginnings; "" if there is none, or it is not known.
func historyIn(s *kv.Store) string {
	o, _ := originIn(s)
	return schedule.PlaceOf(o).History
}

// originIn returns where in the history a store is; the zero origin if it is nowhere yet, or that is not known.
func originIn(s *kv.Store) (timeline.Origin, error) {
	_, m, err := kv.PlaceOf(s)
	if err != nil || m == nil {
		return timeline.Origin{}, err
	}
	at := timeline.Cursor{Epoch: m.Epoch, Position: m.Position, Chain: m.Chain}
	state, err := timeline.DecodeRecord(m.Record, at)
	if err != nil {
		return timeline.Origin{}, fmt.Errorf("where in the history the store is: %w", err)
	}
	return timeline.Origin{Cursor: at, Reigns: state.Reigns}, nil
}

// replaceBackups has other settings of backups hold.
func replaceBackups(s *server, c *Config) {
	keeper, err := s.newKeeper(c)
	if err != nil {
		s.logger.Error("backups go on as before", "err", err)
		return
	}
	s.keeping.next(keeper)
}

// backupReport is what the node's page says of them, nil if nobody takes any.
func (s *server) backupReport() *schedule.Report {
	keeper := s.keeping.now()
	if keeper == nil {
		return nil
	}
	r := keeper.Report()
	r.Stuck = s.keeping.stuck()
	return &r
}

// contentTimeout bounds how long a node that has just started may take until it shows nothing older than before.
const contentTimeout = time.Minute

// content returns a snapshot of this node, as it is now, if that is at most so old: a region that is cut off, or was
// given up, has nothing that is worth a backup of today. Its note says where in the history it is, and has returns. It
// lies nowhere but in the data directory, encrypted if that is, and takes room there only for what is written anew
// meanwhile.
func (s *server) content(
	ctx context.Context, within time.Duration, returns []schedule.Return,
) (io.ReadCloser, error) {
	if s.equality.differs() {
		return nil, errUnsound
	}
	bounded, cancel := context.WithTimeout(ctx, contentTimeout)
	defer cancel()
	if s.config.Replication.ApplyDelay > 0 { // it is old on purpose
		if err := s.replicator.ReadBarrier(bounded, replication.Serializable); err != nil {
			return nil, err
		}
	} else if err := s.replicator.ReadWithin(bounded, within); err != nil {
		return nil, fmt.Errorf("what this region has may be older than %v, for which a backup stands: %w", within, err)
	}
	before, err := originIn(s.store)
	if err != nil {
		return nil, err
	}
	whole, err := kv.CopyOf(s.store, nil)
	if err != nil {
		return nil, err
	}
	behind, err := originIn(s.store)
	if err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	relation, _ := timeline.Compare(before.Reigns, behind.Reigns, before.Cursor.Position, behind.Cursor.Position)
	if relation != timeline.Prefix { // it may be of either
		return nil, errors.Join(errExchanged, whole.Close())
	}
	at := placeOfMost(ctx, func() schedule.Place { return placeOf(s, behind) })
	at.Returns = returns
	whole.Note(noteOf(s, before.Cursor.Position, at.Encode()))
	out := backup.NewRewind(ctx, func(w io.Writer) error { return backup.Write(w, whole) })
	return &content{out, whole, s.equality.differs}, nil
}

// errUnsound says that a node takes no backup of what it holds.
var errUnsound = errors.New(
	"this node holds something else than its region, and takes no backup of it: see mimir status")

// errExchanged says that a node gave up a tail, or took another state, while it was copied.
var errExchanged = errors.New("what this node holds was exchanged for something else while it was copied")

// content is a snapshot as it goes out.
type content struct {
	*backup.Rewind
	whole   *snapshot.Copy
	differs func() bool // this node from its region
}

// Read implements io.Reader. What turned out meanwhile to be another content than the region's has no end.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.Rewind.Read(p)
	if errors.Is(err, io.EOF) && c.differs() {
		err = errUnsound
	}
	return n, err
}

func (c *content) Close() error { return errors.Join(c.Rewind.Close(), c.whole.Close()) }

// backupMetrics are the figures of the backups, read when they are scraped.
type backupMetrics struct {
	telemetry.Unchecked
	report func() *schedule.Report
}

var (
	backupMine = telemetry.Declare(telemetry.Gauge, "mimir_backup_mine",
		"1 on the node that takes the backups, 0 on the others with backup.to; absent without.")
	backupAge = telemetry.Declare(telemetry.Gauge, "mimir_backup_age_seconds",
		"How old the newest whole backup is, on the node that takes them; absent while it knows of none.")
	backupsThere = telemetry.Declare(telemetry.Gauge, "mimir_backups",
		"Whole backups of this fleet, on the node that takes them, when it last read the place.")
	backupTries = telemetry.Declare(telemetry.Counter, "mimir_backup_tries_total",
		"What came of the tries of this node to take a backup: done; failed, also to read the place, or to delete "+
			"what is kept no more.", "outcome")
	backupFailing = telemetry.Declare(telemetry.Gauge, "mimir_backup_failing",
		"1 while the last such try failed, on the node that takes them; else 0.")
	backupsHeld = telemetry.Declare(telemetry.Gauge, "mimir_backups_held",
		"Backups older than backup.keep-for that stay, on the node that takes them, since fewer newer ones were taken "+
			"than that time has: some were missed, or a clock is ahead.")
	backupBytes = telemetry.Declare(telemetry.Gauge, "mimir_backup_last_bytes",
		"Size of the last backup that this process took.")
	backupSeconds = telemetry.Declare(telemetry.Gauge, "mimir_backup_last_duration_seconds",
		"How long that took, until it was read back.")
)

// Collect implements prometheus.Collector.
func (m backupMetrics) Collect(out chan<- prometheus.Metric) {
	r := m.report()
	if r == nil {
		return
	}
	backupMine.SetTruth(out, r.Mine)
	if age, known := r.Age(time.Now()); known {
		backupAge.Set(out, age.Seconds())
	}
	if !r.Looked.IsZero() {
		backupsThere.Set(out, float64(r.Count))
		backupsHeld.Set(out, float64(r.Held))
	}
	if r.Mine {
		backupFailing.SetTruth(out, r.Failure != "")
	}
	backupTries.Set(out, float64(r.Done), "done")
	backupTries.Set(out, float64(r.Failed), "failed")
	if r.LastTook > 0 {
		backupBytes.Set(out, float64(r.LastBytes))
		backupSeconds.Set(out, r.LastTook.Seconds())
	}
}
