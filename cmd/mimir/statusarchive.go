package main

import (
	"fmt"
	"io"
	"time"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
)

// archiveReport is how a node archives the log.
type archiveReport struct {
	Region   string               `json:"region"`
	Node     string               `json:"node"`
	Position replication.Position `json:"position"`
	Behind   uint64               `json:"behind"`
	// LagSeconds is an upper bound; negative: it is not known.
	LagSeconds float64 `json:"lagSeconds"`
}

// tellArchive tells who archives the log, and warns where that does not go well.
func (f *fleetReport) tellArchive() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.archive == nil || !n.archive.Active {
				continue
			}
			s := n.archive
			lag := -1.0
			if s.Lag >= 0 {
				lag = s.Lag.Seconds()
			}
			f.Archive = append(f.Archive, archiveReport{r.Name, n.name, s.Position, s.Behind, lag})
			f.Warnings = append(f.Warnings, archiveWarnings(n.name, s)...)
		}
	}
	f.Warnings = append(f.Warnings, f.archiveSettings()...)
}

// archiveSettings warns where the log is to be archived and is not, or will not be by some nodes: of a region all
// would do it, or none.
func (f *fleetReport) archiveSettings() (texts []string) {
	some, active := false, false
	for _, r := range f.Regions {
		with, without := "", ""
		for _, n := range r.nodes {
			switch {
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

func archiveWarnings(node string, s *archive.Status) (texts []string) {
	if s.Problem != "" {
		texts = append(texts, fmt.Sprintf("%s does not get the log archived, and tries again: %s", node, s.Problem))
	}
	if g := s.Gap; g != nil {
		texts = append(texts, fmt.Sprintf("the archive of the log has a gap from position %d to %d: what comes behind "+
			"it can be restored only from a snapshot that is taken since; take one", g.From, g.To))
	}
	return texts
}

func (f *fleetReport) printArchive(w io.Writer) {
	for _, a := range f.Archive {
		lag := "for how long at most it is behind is not known yet"
		if a.LagSeconds >= 0 {
			lag = fmt.Sprintf("at most %v behind", time.Duration(a.LagSeconds*float64(time.Second)).Round(time.Second))
		}
		fmt.Fprintf(w, "archive: %s of %s has archived the log up to position %d, %s\n", a.Node, a.Region, a.Position,
			lag)
	}
}
