package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/plain"
)

// leastWatch is the shortest pause between two looks: each asks every node. usualWatch is that of who names none.
const (
	leastWatch = 200 * time.Millisecond
	usualWatch = 2 * time.Second
)

// statusWatch shows the fleet anew, again and again: on a terminal in place, elsewhere one picture after the other, and
// as JSON an object a line. When nobody answers it says so and since when, with the last picture.
type statusWatch struct {
	every  time.Duration
	out    io.Writer
	screen bool
	json   bool
	print  func(w io.Writer, f *fleetReport)
	like   likeness // of the commands that help

	last    *fleetReport
	lastAt  time.Time
	lastWas time.Time // when the picture before it was made
	before  *fleetReport
}

// run shows the fleet until ctx ends.
func (s *statusWatch) run(ctx context.Context, client *admin.Client) error {
	next := time.NewTicker(s.every)
	defer next.Stop()
	for {
		f, err := inspect(ctx, client) // for as long as mimir status waits for each endpoint
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			f.askedLike(s.like)
		}
		text, err := s.frame(time.Now(), f, err)
		if err != nil {
			return err
		}
		if s.screen {
			err = control(s.out, clearScreen)
		}
		if err == nil {
			_, err = s.out.Write(text)
		}
		if err != nil {
			return err
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// frame returns what is written of a look: of a picture, or of why there is none.
func (s *statusWatch) frame(now time.Time, f *fleetReport, fault error) ([]byte, error) {
	if fault == nil {
		s.before, s.lastWas, s.last, s.lastAt = s.last, s.lastAt, f, now
	}
	if s.json {
		return s.line(now, fault)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s, every %s; Ctrl-C ends\n", now.Format(time.DateTime), s.every)
	if fault != nil {
		fmt.Fprintf(&out, "NO ANSWER: %s\n", plain.Text(fault))
		if s.last != nil {
			fmt.Fprintf(&out, "What follows is of %s, %s ago.\n", s.lastAt.Format(time.TimeOnly),
				now.Sub(s.lastAt).Round(time.Second))
		}
	}
	out.WriteByte('\n')
	if s.last != nil {
		s.print(&out, s.last)
		if rates := s.rates(); rates != "" && fault == nil {
			fmt.Fprintf(&out, "\nCommands a second: %s.\n", rates)
		}
	}
	if !s.screen {
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// line is a look as JSON: of the picture, or {"error": …} where nobody answered.
func (s *statusWatch) line(now time.Time, fault error) ([]byte, error) {
	v := struct {
		At    time.Time    `json:"at"`
		Fleet *fleetReport `json:"fleet,omitempty"`
		Error string       `json:"error,omitempty"`
	}{At: now}
	if fault != nil {
		v.Error = plain.Text(fault)
	} else {
		v.Fleet = s.last
	}
	text, err := admin.Marshal(&v)
	return append(text, '\n'), err
}

// rates says how fast the position of each region rose between the last two pictures. Of a region of which nobody
// answered to both, or that went back, there is nothing to say.
func (s *statusWatch) rates() string {
	if s.before == nil {
		return ""
	}
	seconds := s.lastAt.Sub(s.lastWas).Seconds()
	var list []string
	for _, now := range s.last.Regions {
		for _, then := range s.before.Regions {
			if now.Name == then.Name && now.Role != "" && then.Role != "" && now.Position >= then.Position {
				list = append(list, fmt.Sprintf("%s %.0f", now.Name, float64(now.Position-then.Position)/seconds))
			}
		}
	}
	return strings.Join(list, ", ")
}
