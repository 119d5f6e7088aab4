package server

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// KeyUse is which files of a data directory are under a key.
type KeyUse struct {
	Key    string `json:"key"`    // its ID, or plain
	Active bool   `json:"active"` // new files are under it
	Known  bool   `json:"known"`  // it is in the file of keys
	Files  int    `json:"files"`
	Tables int    `json:"tables"` // of the store, among the files
	Bytes  int64  `json:"bytes"`  // on the disk; a file with several names counts for each
}

// KeysInUse tells which keys a data directory needs. A node may be running there. Without a file of keys none is known.
func KeysInUse(dir, keyFile string) ([]KeyUse, error) {
	d := &disk{dir: dir}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	if keyFile != "" {
		keys, err := readKeys(keyFile)
		if err != nil {
			return nil, err
		}
		d.keys = keys
	}
	return d.use()
}

// use tells of every key that a file needs, and of the active one.
func (d *disk) use() ([]KeyUse, error) {
	uses := map[string]*KeyUse{}
	of := func(key string, known bool) *KeyUse {
		if uses[key] == nil {
			uses[key] = &KeyUse{Key: key, Known: known}
		}
		return uses[key]
	}
	known := d.known()
	of(d.active(), true).Active = true
	err := d.survey(func(f atrest.Found) error {
		u := of(plain, true)
		if f.Encrypted {
			u = of(f.Key.String(), known.Has(f.Key))
		}
		u.Files, u.Bytes = u.Files+1, u.Bytes+f.Bytes
		if atrest.Table(f.Path) {
			u.Tables++
		}
		return nil
	})
	if plainUse := uses[plain]; plainUse != nil && plainUse.Files == 0 {
		delete(uses, plain)
	}
	var all []KeyUse
	for _, key := range slices.Sorted(maps.Keys(uses)) {
		all = append(all, *uses[key])
	}
	return all, err
}

// RewriteAtRest puts all of a data directory in which no node or witness runs under the first key of the file, or makes
// it plain. It returns how many files it wrote anew, and how long they are.
func RewriteAtRest(dir, keyFile string, logger *slog.Logger) (files int, bytes int64, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, 0, err
	}
	keepPrivate()
	places := []string{dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries { // of a witness
		if strings.HasPrefix(e.Name(), fleetPrefix) {
			places = append(places, filepath.Join(dir, e.Name()))
		}
	}
	for _, one := range places {
		n, size, err := rewrite(one, keyFile, logger)
		if files, bytes = files+n, bytes+size; err != nil {
			return files, bytes, err
		}
	}
	return files, bytes, nil
}

func rewrite(dir, keyFile string, logger *slog.Logger) (files int, bytes int64, err error) {
	d := &disk{dir: dir, apart: true}
	held, err := d.open(keyFile, logger)
	if err != nil {
		return 0, 0, aNode.explained(dir, err)
	}
	if held == nil {
		return 0, 0, fmt.Errorf("%w: encryption-key-file is missing", ErrConfig)
	}
	defer func() { err = aNode.explained(dir, errors.Join(err, held.Close())) }()
	if files, bytes, err = d.renew(func(atrest.Found) bool { return true }); err != nil {
		return files, bytes, err
	}
	if _, active := d.known().Active(); active {
		return files, bytes, nil
	}
	return files, bytes, d.unmark()
}

// surveyEvery is how old the figures about keys may be: they are made of the headers of all files.
const surveyEvery = time.Minute

var filesOfKey = telemetry.Declare(telemetry.Gauge, "mimir_encryption_files",
	"Files of the data directory by the key that they need, plain for none; no older than a minute. A key that has "+
		"none may be taken away with a restart. Absent without encryption-key-file.", "key", "active")

// keyMetrics tells how many files need which key.
type keyMetrics struct {
	telemetry.Unchecked
	disk *disk

	mu   sync.Mutex
	made time.Time
	uses []KeyUse
}

// Collect implements prometheus.Collector.
func (m *keyMetrics) Collect(out chan<- prometheus.Metric) {
	if m.disk.fs == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.made) > surveyEvery {
		uses, err := m.disk.use()
		if err != nil {
			return // a file that is damaged shows where it is read
		}
		m.uses, m.made = uses, time.Now()
	}
	for _, u := range m.uses {
		filesOfKey.Set(out, float64(u.Files), u.Key, fmt.Sprint(u.Active))
	}
}
