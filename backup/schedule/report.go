package schedule

import (
	"slices"
	"sync/atomic"
	"time"
)

// Report is what a node knows of the backups. Of a node that does not take them it says only where they go.
type Report struct {
	To     string `json:"to"`
	Region string `json:"region"` // whose leader takes them
	Mine   bool   `json:"mine"`   // this node is the one

	Looked time.Time `json:"looked,omitzero"`  // when the place was read; zero: not since this node takes them
	Count  int       `json:"count"`            // of this region, then
	Others int       `json:"others,omitempty"` // of other regions, then, which neither count nor go
	// OtherHistory is how many this region took, then, of another history than it has: of before it was formed anew, or
	// of who did that by himself. They neither count nor go.
	OtherHistory int `json:"otherHistory,omitempty"`
	// Astray is how many this region took, then, of a history that was given up, or of one that comes from where this
	// one began or was, and is not it. They neither count nor go.
	Astray int `json:"astray,omitempty"`
	// Doubted is how many are, then, of nodes that were found to hold something else than this region. They neither
	// count nor go.
	Doubted int `json:"doubted,omitempty"`

	Newest *Backup   `json:"newest,omitempty"`
	Due    time.Time `json:"due,omitzero"`
	Since  time.Time `json:"since,omitzero"` // a backup is under way since then

	// Held is how many stayed, when some were last let go, though they are older than they are to be kept: so few newer
	// ones were taken since that slots were missed, or a clock is ahead. Doubt says that they are so many that it may
	// be the clock of this node.
	Held  int  `json:"held,omitempty"`
	Doubt bool `json:"doubt,omitempty"`

	// Spared is how many stayed, when some were last let go, since those that were taken from Apart on are not known to
	// be of what more than half of all regions have: that may be given up, and pushes out none of before. Zero if there
	// is none.
	Spared int       `json:"spared,omitempty"`
	Apart  time.Time `json:"apart,omitzero"`

	// Failure says why the last try failed, at FailedAt, and it is tried Again; empty if the last one did not.
	Failure  string    `json:"failure,omitempty"`
	FailedAt time.Time `json:"failedAt,omitzero"`
	Again    time.Time `json:"again,omitzero"`

	// Stuck is how many that took backups by former settings of this node are ended, and come back from their place no
	// more: it hangs. What a [Keeper] reports has none.
	Stuck int `json:"stuck,omitempty"`

	Done   uint64 `json:"done"`   // of this process
	Failed uint64 `json:"failed"` // likewise
	// LastBytes and LastTook are of the last one that this process saved.
	LastBytes int64         `json:"lastBytes,omitempty"`
	LastTook  time.Duration `json:"lastTook,omitempty"` // nanoseconds
}

// totals are of all keepers of a node, one after the other.
type totals struct{ done, failed atomic.Uint64 }

// Report returns what is known now. It may be called at any time.
func (k *Keeper) Report() Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.report
	r.Done, r.Failed = k.totals.done.Load(), k.totals.failed.Load()
	return r
}

// Age returns how old the newest backup is; false if none is known.
func (r *Report) Age(now time.Time) (time.Duration, bool) {
	if r.Newest == nil {
		return 0, false
	}
	return max(now.Sub(r.Newest.At), 0), true
}

func (r *Report) see(taken []Backup, now, due time.Time) {
	r.Looked, r.Count, r.Due, r.Newest = now, len(taken), due, nil
	if newest, found := Newest(taken, now); found {
		r.Newest = &newest
	}
}

func (k *Keeper) holds(held int) {
	doubt := k.Doubts(held)
	if doubt {
		k.Logger.Warn("backups are older than they are to be kept, by the clock of this node, and stay until as many "+
			"newer ones were taken as that time has: some were missed, or the clock is ahead: compare it with others",
			"backups", held, "keepFor", k.KeepFor)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Held, k.report.Doubt = held, doubt
}

// spares notes how many stay for the reason that what was taken last may be given up.
func (k *Keeper) spares(spared int, ranked []Ranked) {
	apart := time.Time{}
	if spared > 0 {
		if alone := only(ranked, Alone); len(alone) > 0 {
			apart = alone[0].At
		}
		k.Logger.Warn("backups stay which are of what other regions have too: those taken since may be of a history "+
			"that is given up, and push out none of before", "backups", spared,
			"since", apart.UTC().Format(time.RFC3339))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Spared, k.report.Apart = spared, apart
}

func (k *Keeper) begun(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Since = now
}

func (k *Keeper) done(name string, bytes int64, took time.Duration) {
	k.Logger.Info("backup saved", "name", name, "bytes", bytes, "took", took.Round(time.Millisecond))
	k.totals.done.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.letGo = true
	k.put, k.tried = "", nil
	k.reads(name)
	r := &k.report
	r.Since = time.Time{}
	r.LastBytes, r.LastTook = bytes, took
}

// well is when all that was to be done has been.
func (k *Keeper) well() {
	k.failures, k.again = 0, time.Time{}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.report.Failure, k.report.FailedAt, k.report.Again = "", time.Time{}, time.Time{}
}

func (k *Keeper) failed(err error) {
	k.failures++
	now := k.Clock.Now()
	k.again = now.Add(k.Retry(k.failures))
	k.Logger.Error("backup failed", "err", err, "again", k.again.UTC().Format(time.RFC3339))
	k.totals.failed.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &k.report
	r.Since, r.Failure, r.FailedAt, r.Again = time.Time{}, err.Error(), now, k.again
}

// deleted notes that a backup went.
func (k *Keeper) deleted(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	k.taken = slices.DeleteFunc(k.taken, func(b Backup) bool { return b.Name == name })
	k.report.Count--
}

// pruned notes that all went which was to go, and was told.
func (k *Keeper) pruned() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.letGo, k.gone = false, false
}
