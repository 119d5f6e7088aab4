package schedule

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/store"
)

// Backup is one in the place.
type Backup struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at"` // when it was begun, by the clock of the node
	Region string    `json:"region"`
	Node   string    `json:"node"`
	// History tells that of which it is from others of the fleet's name; "" if a version took it that did not say.
	History string `json:"history,omitempty"`
	Bytes   int64  `json:"bytes"`
	Place   *Place `json:"-"` // nil: it does not say so, or it was not looked
}

const (
	kind   = "snapshot"
	suffix = ".mimir"
	stamp  = "20060102T150405Z"
)

// Prefix returns what the names of all backups of a fleet begin with.
func Prefix(fleet string) string { return "fleet@" + fleet + "/" + kind + "@" }

// Name returns the name of a backup in the place; history is left out where it is "".
func Name(fleet, region, node, history string, at time.Time) string {
	name := Prefix(fleet) + at.UTC().Format(stamp) + "@" + region + "@" + node
	if history != "" {
		name += "@" + history
	}
	return name + suffix
}

// Parse returns the backup of a fleet that an object is, if by its name and its size it is a whole one.
func Parse(fleet string, o store.Object) (b Backup, ok bool) {
	text, ours := strings.CutPrefix(o.Name, Prefix(fleet))
	text, whole := strings.CutSuffix(text, suffix)
	fields := strings.Split(text, "@")
	if !ours || !whole || len(fields) < 3 || len(fields) > 4 || !backup.Fits(o.Size) {
		return b, false
	}
	at, err := time.Parse(stamp, fields[0])
	b = Backup{Name: o.Name, At: at, Region: fields[1], Node: fields[2], Bytes: o.Size}
	if len(fields) > 3 {
		b.History = fields[3]
	}
	hex := strings.Trim(b.History, "0123456789abcdef") == ""
	return b, err == nil && hex && b.Name == Name(fleet, b.Region, b.Node, b.History, at)
}

// Histories returns of how many histories backups are, as far as they say it.
func Histories(all []Backup) int {
	histories := map[string]bool{}
	for _, b := range all {
		if b.History != "" {
			histories[b.History] = true
		}
	}
	return len(histories)
}

// Taken returns the backups of a fleet in a place, the oldest first.
func Taken(ctx context.Context, s store.Store, fleet string) (all []Backup, err error) {
	err = s.Walk(ctx, Prefix(fleet), func(o store.Object) error {
		if b, ok := Parse(fleet, o); ok {
			all = append(all, b)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Backup) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Name, b.Name))
	})
	return all, err
}
