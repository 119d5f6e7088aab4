package telemetry

import (
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Of the disk.
var (
	logSync = Declare(Histogram, "mimir_log_sync_seconds",
		"Time of a sync of the log: every write that is acknowledged waited for one.")
	walSync = Declare(Histogram, "etcd_disk_wal_fsync_duration_seconds",
		"As mimir_log_sync_seconds, in etcd's buckets, which begin at a millisecond.")
	commit = Declare(Histogram, "etcd_disk_backend_commit_duration_seconds",
		"Time of a commit of the store. It is no sync, unlike etcd's: what was acknowledged is in the log, and a "+
			"commit that takes long waits for memory to be flushed or tables to be compacted.")
)

// diskBuckets are etcd's.
var diskBuckets = prometheus.ExponentialBuckets(0.001, 2, 14)

// Disk times what the disk is asked for. It is safe for concurrent use.
type Disk struct {
	Unchecked
	sync, walSync, commit prometheus.Histogram
}

// NewDisk returns one that has seen nothing.
func NewDisk() *Disk {
	return &Disk{
		sync:    logSync.histogram(requestBuckets),
		walSync: walSync.histogram(diskBuckets), commit: commit.histogram(diskBuckets),
	}
}

// Commit notes a commit of the store.
func (d *Disk) Commit(took time.Duration) { d.commit.Observe(took.Seconds()) }

// Log returns fs, the machine's if it is nil, with the syncs in the directory dir timed.
func (d *Disk) Log(fs durable.FS, dir string) durable.FS {
	if fs == nil {
		fs = durable.OS
	}
	return &timedFS{fs, dir, d}
}

// Collect implements prometheus.Collector.
func (d *Disk) Collect(out chan<- prometheus.Metric) {
	for _, h := range []prometheus.Histogram{d.sync, d.walSync, d.commit} {
		h.Collect(out)
	}
}

// timedFS is a filesystem of which one directory is timed.
type timedFS struct {
	durable.FS
	dir  string
	disk *Disk
}

// Create implements durable.FS.
func (t *timedFS) Create(name string) (durable.File, error) { return t.timed(name)(t.FS.Create(name)) }

// OpenReadWrite implements durable.FS.
func (t *timedFS) OpenReadWrite(name string) (durable.File, error) {
	return t.timed(name)(t.FS.OpenReadWrite(name))
}

func (t *timedFS) timed(name string) func(durable.File, error) (durable.File, error) {
	return func(f durable.File, err error) (durable.File, error) {
		if err != nil || filepath.Dir(name) != t.dir {
			return f, err
		}
		return timedFile{f, t.disk}, nil
	}
}

// timedFile is a file whose syncs are timed.
type timedFile struct {
	durable.File
	disk *Disk
}

// SyncData implements durable.File.
func (f timedFile) SyncData() error {
	began := time.Now()
	err := f.File.SyncData()
	seconds := time.Since(began).Seconds()
	f.disk.sync.Observe(seconds)
	f.disk.walSync.Observe(seconds)
	return err
}
