package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
)

// pointFlags name a place in the history of a region that is kept delayed.
type pointFlags struct {
	position, revision uint64
	time               string
}

func (p *pointFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.Uint64Var(&p.position, "at-position", 0, "of a region that is kept delayed: the last position to keep")
	f.Uint64Var(&p.revision, "at-revision", 0, "likewise, the last revision to keep")
	f.StringVar(&p.time, "at-time", "", "likewise, up to when: 2006-01-02T15:04:05Z, or 15:04:05 of today here")
}

// point returns what the flags name, nil if none is given.
func (p *pointFlags) point(c *cobra.Command) (*replication.Point, error) {
	f := c.Flags()
	given := 0
	for _, name := range []string{"at-position", "at-revision", "at-time"} {
		if f.Changed(name) {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, fmt.Errorf("%w: --at-position, --at-revision and --at-time: one of them names the point", errUsage)
	case f.Changed("at-position"):
		return &replication.Point{Position: replication.Position(p.position)}, nil
	case f.Changed("at-revision"):
		if p.revision == 0 || p.revision > 1<<63-1 {
			return nil, fmt.Errorf("%w: --at-revision %d", errUsage, p.revision)
		}
		return &replication.Point{Revision: int64(p.revision)}, nil
	case f.Changed("at-time"):
		t, err := readTime("at-time", p.time, time.Now())
		return &replication.Point{Time: t}, err
	default:
		return nil, nil
	}
}

// readTime reads a time, or a time of the day of now.
func readTime(flag, text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation("15:04:05", text, now.Location())
	if err != nil {
		return t, fmt.Errorf("%w: --%s %q is neither like 2006-01-02T15:04:05Z nor like 15:04:05", errUsage, flag, text)
	}
	year, month, day := now.Date()
	return time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location()), nil
}
