package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
)

// report tells what became of a command. Text has what a reader has to know: all that is not done, or would not be, and
// of a dry run what would be.
func (r *tailReplay) report(w io.Writer, e *replay.Entry) error {
	if r.n.output == "json" {
		return json.NewEncoder(w).Encode(e)
	}
	if e.Verdict == replay.Nothing || !r.dry && (e.Verdict == replay.Applied || e.Verdict == replay.There) {
		return nil
	}
	var b strings.Builder
	place := strconv.FormatUint(e.Position, 10)
	if e.Position == 0 {
		place = "revision " + strconv.FormatInt(e.Revision, 10)
	}
	fmt.Fprintf(&b, "%s\t%s\t%s", place, e.Verdict, e.Op)
	for i, k := range e.Keys {
		if i == shownKeys {
			fmt.Fprintf(&b, " and %d more keys", len(e.Keys)-i)
			break
		}
		fmt.Fprintf(&b, " %q", k)
	}
	if e.Lease != 0 {
		fmt.Fprintf(&b, " lease %x", e.Lease)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	fmt.Fprintln(&b)
	for _, d := range e.Differences {
		fmt.Fprintf(&b, "\t%q", d.Key)
		if d.Reason != "" {
			fmt.Fprintf(&b, ": %s", d.Reason)
		}
		fmt.Fprintf(&b, "\n\t\tfork   %s\n\t\tlost   %s\n\t\ttoday  %s\n",
			valueText(d.Fork), valueText(d.Lost), valueText(d.Today))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const (
	shownKeys  = 8
	shownBytes = 64
)

func valueText(v *replay.Value) string {
	switch {
	case v == nil:
		return "not known"
	case !v.Exists:
		return "not there"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", v.Value[:min(len(v.Value), shownBytes)])
	if len(v.Value) > shownBytes {
		fmt.Fprintf(&b, "... (%d bytes)", len(v.Value))
	}
	if v.Revision != 0 {
		fmt.Fprintf(&b, "  revision %d", v.Revision)
	}
	if v.Version != 0 {
		fmt.Fprintf(&b, "  version %d", v.Version)
	}
	if v.Lease != 0 {
		fmt.Fprintf(&b, "  lease %x", v.Lease)
	}
	return b.String()
}

// conclude sums up, and says by its error what the exit status is.
func (r *tailReplay) conclude(w io.Writer, s *replay.Summary) error {
	if r.n.output == "json" {
		if err := json.NewEncoder(w).Encode(struct {
			Summary *replay.Summary `json:"summary"`
			Dry     bool            `json:"dryRun"`
			Holes   string          `json:"holes,omitempty"`
		}{s, r.dry, r.holes}); err != nil {
			return err
		}
	} else {
		done := "applied"
		if r.dry {
			done = "would be applied"
		}
		fmt.Fprintf(w, "%d commands: %d %s, %d there already, %d changed nothing, "+
			"%d not replayed, %d conflict, %d left out\n",
			s.Commands, s.Applied, done, s.There, s.Nothing, s.NotReplayed, s.Conflicts, s.LeftOut)
	}
	switch {
	case s.Conflicts+s.LeftOut > 0:
		return fmt.Errorf("%w: %d of %d commands conflict, and %d are left out", errLeftOver, s.Conflicts, s.Commands,
			s.LeftOut)
	case r.holes != "":
		return fmt.Errorf("%w: %s", errLeftOver, r.holes)
	}
	return nil
}

// passes shows the progress of both passes.
type passes struct {
	out    io.Writer
	total  uint64
	number int
	shown  *progress
}

func progressOf(out io.Writer, commands uint64) *passes { return &passes{out: out, total: commands} }

func (p *passes) at(pass int, commands uint64) {
	if pass != p.number || commands == 1 {
		p.end()
		unit := "commands looked at"
		if pass == 2 {
			unit = "commands decided"
		}
		p.number, p.shown = pass, startProgress(p.out, p.total, unit)
	}
	p.shown.step(commands)
}

func (p *passes) end() {
	if p.shown != nil {
		p.shown.end()
	}
}
