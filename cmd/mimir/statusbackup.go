package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/backup/schedule"
)

// backupReport is what the nodes that answered know of backups.
type backupReport struct {
	*schedule.Report          // of the node By, which takes them; of any if By is empty
	By               string   `json:"by,omitempty"`
	Text             string   `json:"text"`
	Wrong            []string `json:"wrong,omitempty"`
}

// tellBackups tells it. Only the node that takes them knows what there is.
func (f *fleetReport) tellBackups(now time.Time) {
	var b backupReport
	without := ""
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			switch {
			case n.backup == nil && n.tellsPlaces:
				without = n.name
			case n.backup == nil: // or too old to tell
			case b.Report == nil:
				b.Report = n.backup
			case n.backup.To != b.To || n.backup.Region != b.Region:
				b.wrong("%s has other settings of backups than other nodes: set backup.to and backup.region alike",
					n.name)
			}
			if n.backup != nil && n.backup.Stuck > 0 {
				b.wrong("%s still waits for a former backup.to, which does not answer, and goes by the settings of "+
					"now beside that: what waits goes once it answers, or with a restart", n.name)
			}
			if n.backup != nil && n.backup.Mine && r.Name == n.backup.Region {
				b.Report, b.By = n.backup, n.name
			}
		}
	}
	if b.Report == nil {
		return
	}
	if without != "" {
		b.wrong("%s has no settings of backups, and others have: set them alike", without)
	}
	if b.By == "" {
		b.wrong("nobody who answered takes backups: the leader of region %s, which is to take them, did not answer, "+
			"or there is none", b.Region)
	}
	if b.Failure != "" {
		again := "tried again at " + clockText(b.Again)
		if !b.Since.IsZero() {
			again = "tried again now"
		}
		b.wrong("backups failed on %s at %s, and are %s: %s", b.By, clockText(b.FailedAt), again, b.Failure)
	}
	if b.Doubt {
		b.wrong("%d backups are older than backup.keep-for by the clock of %s, and stay, since so few newer ones were "+
			"taken: some were missed, or that clock is ahead", b.Held, b.By)
	}
	if b.Spared > 0 {
		b.wrong("%d backups of before %s stay, beside those that were taken since: not more than half of all regions "+
			"are known to %s to have what those are of, and it may be given up", b.Spared, clockText(b.Apart), b.By)
	}
	b.Text = b.text(now)
	f.Backups = &b
}

func (b *backupReport) wrong(format string, a ...any) {
	b.Wrong = append(b.Wrong, fmt.Sprintf(format, a...))
}

func (b *backupReport) text(now time.Time) string {
	var parts []string
	say := func(format string, a ...any) { parts = append(parts, fmt.Sprintf(format, a...)) }
	switch age, known := b.Age(now); {
	case b.By == "":
		say("backups: what there is in %s is not known: the leader of region %s, which is to take them, did not "+
			"answer, or there is none", b.To, b.Region)
	case b.Looked.IsZero():
		say("backups: what there is in %s is not known to %s yet, which takes them", b.To, b.By)
	case !known:
		say("backups: none yet in %s, as %s saw it at %s", b.To, b.By, clockText(b.Looked))
	default:
		say("backups: %d in %s, the newest of %s, %s old, as %s saw it at %s", b.Count, b.To, clockText(b.Newest.At),
			age.Round(time.Second), b.By, clockText(b.Looked))
	}
	if b.Others > 0 {
		say("%d of other regions, which nobody lets go", b.Others)
	}
	if b.OtherHistory > 0 {
		say("%d of another history, of before the region was formed anew or of a node that did that by itself, which "+
			"nobody lets go", b.OtherHistory)
	}
	if b.Astray > 0 {
		say("%d of what was given up, or is not of the history for another reason, which nobody lets go", b.Astray)
	}
	if b.Doubted > 0 {
		say("%d of nodes that were found to differ, which nobody lets go", b.Doubted)
	}
	if !b.Since.IsZero() {
		say("one is under way since %s", clockText(b.Since))
	} else if !b.Due.IsZero() {
		say("the next is due %s", clockText(b.Due))
	}
	return strings.Join(parts, "; ")
}

func clockText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
