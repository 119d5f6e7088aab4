package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/contract"
)

// barCells is how long a bar is.
const barCells = 24

// bootstrapText says how far the copy is that a region takes. What is not known it calls so.
func bootstrapText(b *replication.Bootstrap) string {
	text := "bootstrap from " + b.Source + ": " + phaseText(b)
	if b.QuietSeconds >= contract.QuietBootstrap.Seconds() {
		quiet := time.Duration(b.QuietSeconds * float64(time.Second))
		text += "; nothing came for " + quiet.Truncate(time.Second).String()
	}
	return text
}

func phaseText(b *replication.Bootstrap) string {
	switch b.Phase {
	case contract.BootstrapLooking:
		return "looks for a copy that the region has"
	case contract.BootstrapAsking:
		return "waits for a copy of " + b.From
	case contract.BootstrapMaking:
		return fmt.Sprintf("%s makes a copy and sums it, %s", b.From, transferText(&b.Transfer))
	case contract.BootstrapChecking:
		return fmt.Sprintf("looks through what is here of a copy, before it asks %s for the rest, %s", b.From,
			transferText(&b.Transfer))
	case contract.BootstrapFetching:
		return fmt.Sprintf("fetches a copy from %s, %s", b.From, transferText(&b.Transfer))
	case contract.BootstrapStaging:
		return fmt.Sprintf("the copy is on %d of %d nodes that have to have it, the next: %s", b.Have, b.Needed,
			transferText(&b.Transfer))
	case contract.BootstrapInstalling:
		return "the region installs the copy"
	default: // of a node that is newer
		return string(b.Phase) + ", " + transferText(&b.Transfer)
	}
}

// transferText says how many bytes there are of how many, how fast they come, and how long that takes.
func transferText(t *replication.Transfer) string {
	done, total, rate, left := unknown, unknown, unknown, unknown
	if t.DoneBytes != nil {
		done = byteText(uint64(max(*t.DoneBytes, 0)))
	}
	if t.TotalBytes != nil {
		total = byteText(uint64(max(*t.TotalBytes, 0)))
	}
	if t.BytesPerSecond != nil {
		rate = byteText(uint64(max(*t.BytesPerSecond, 0))) + "/s"
	}
	if t.LeftSeconds != nil {
		left = "about " + time.Duration(*t.LeftSeconds*float64(time.Second)).Round(time.Second).String()
	}
	if percent, known := percentOf(t); known {
		total += fmt.Sprintf(" (%d %%)", percent)
	}
	return fmt.Sprintf("%s of %s, pace %s, time left %s", done, total, rate, left)
}

// percentOf is how much is done, never more than that.
func percentOf(t *replication.Transfer) (percent int, known bool) {
	if t.DoneBytes == nil || t.TotalBytes == nil || *t.TotalBytes <= 0 {
		return 0, false
	}
	return int(100 * float64(min(*t.DoneBytes, *t.TotalBytes)) / float64(*t.TotalBytes)), true
}

// bar draws how much is done, "" where that is not known.
func bar(t *replication.Transfer) string {
	percent, known := percentOf(t)
	if !known {
		return ""
	}
	full := percent * barCells / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barCells-full) + "] "
}
