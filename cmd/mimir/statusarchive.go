package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/plain"
)

// archiveReport is how a node archives the log.
type archiveReport struct {
	Region string `json:"region"`
	Node   string `json:"node"`
	// Known says that it is known how far the archive came, to Position.
	Known    bool                 `json:"known"`
	Position replication.Position `json:"position"`
	// Behind is how many commands the archive lacks; negative: it is not known.
	Behind int64 `json:"behind"`
	// LagSeconds is an upper bound; negative: it is not known.
	LagSeconds float64 `json:"lagSeconds"`
}

// tellArchive tells who archives the log, and warns where that does not go well.
func (f *fleetReport) tellArchive() {
	newest := f.newestBackup()
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.archive == nil || !n.archive.Active {
				continue
			}
			s := n.archive
			known := s.Known || s.Position > 0 // a node of the version before does not say that it is
			lag := -1.0
			if s.Lag >= 0 {
				lag = s.Lag.Seconds()
			}
			f.Archive = append(f.Archive, archiveReport{r.Name, n.name, known, s.Position, s.Behind, lag})
			f.Warnings = append(f.Warnings, archiveWarnings(n.name, s, newest)...)
		}
	}
	f.Warnings = append(f.Warnings, f.archiveSettings()...)
}

// newestBackup returns when the newest backup was begun that the nodes which answered know of.
func (f *fleetReport) newestBackup() (at time.Time) {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.backup != nil && n.backup.Newest != nil && n.backup.Newest.At.After(at) {
				at = n.backup.Newest.At
			}
		}
	}
	return at
}

// archiveSettings warns where the log is to be archived and is not, or will not be by some nodes: of a region all
// would do it, or none.
func (f *fleetReport) archiveSettings() (texts []string) {
	some, active := false, false
	for _, r := range f.Regions {
		with, without := "", ""
		for _, n := range r.nodes {
			switch {
			case n.archive != nil && n.archive.Elsewhere != "":
				some = true
				texts = append(texts, f.nowhere(n.name, n.archive.Elsewhere)...)
			case n.archive != nil:
				with, active = n.name, active || n.archive.Active
			case n.tellsPlaces:
				without = n.name
			}
		}
		some = some || with != ""
		if with != "" && without != "" {
			texts = append(texts, fmt.Sprintf("%s does not archive the log when it leads region %s, and %s does: set "+
				"archive.to and archive.region alike on all nodes", without, r.Name, with))
		}
	}
	if some && !active {
		texts = append(texts, "nobody that answered archives the log, and settings name a place for it: it is the "+
			"leader of the primary region, or of archive.region, that does, if archive.to is set there")
	}
	return texts
}

// nowhere warns of a node that leaves the archive to a region which the fleet does not have.
func (f *fleetReport) nowhere(node, region string) []string {
	if slices.ContainsFunc(f.Regions, func(r regionReport) bool { return r.Name == region }) {
		return nil
	}
	return []string{fmt.Sprintf("the archive.region of %s is %s, and the fleet has no region of that name: name one "+
		"that it has, the same on all nodes, or none for the primary", node, region)}
}

// archiveWarnings says what is wrong with the archive. A gap is of the past once a backup was taken behind it.
func archiveWarnings(node string, s *archive.Status, newest time.Time) (texts []string) {
	if s.Problem != "" {
		texts = append(texts, fmt.Sprintf("%s does not get the log archived, and tries again: %s", node,
			plain.Words(s.Problem)))
	}
	if s.Stuck > 0 {
		texts = append(texts, fmt.Sprintf("%s still waits for a former archive.to, which does not answer, and "+
			"archives to the one of now beside that: what waits goes once it answers, or with a restart", node))
	}
	if g := s.Gap; g != nil && !newest.After(g.At) {
		from, when := fmt.Sprintf("position %d", g.From), ""
		if g.From == 0 {
			from = "where it ended, which is not known,"
		}
		if !g.At.IsZero() {
			when = ", found at " + clockText(g.At)
		}
		texts = append(texts, fmt.Sprintf("the archive of the log has a gap from %s to position %d%s: what comes "+
			"behind it can be restored only from a snapshot that was taken since; take one, if none was", from,
			g.To, when))
	}
	return texts
}

func (f *fleetReport) printArchive(w io.Writer) {
	for _, a := range f.Archive {
		lag := "for how long at most it is behind is not known yet"
		if a.LagSeconds >= 0 {
			lag = fmt.Sprintf("at most %v behind", time.Duration(a.LagSeconds*float64(time.Second)).Round(time.Second))
		}
		far := "does not know yet how far the log is archived"
		if a.Known {
			far = fmt.Sprintf("has archived the log up to position %d", a.Position)
		}
		fmt.Fprintf(w, "archive: %s of %s %s, %s\n", a.Node, a.Region, far, lag)
	}
}
