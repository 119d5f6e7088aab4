package patrol

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/server/verify"
)

// Report is what a node that compares, or did since it started, knows.
type Report struct {
	// EverySeconds is the period in which all nodes are to be compared whole; Compares says that this node does it now.
	EverySeconds float64 `json:"everySeconds"`
	Compares     bool    `json:"compares"`
	// Since is when this node began to, the last time.
	Since time.Time `json:"since,omitzero"`
	// Nodes are those of the fleet, by region and name, with when each was last compared whole.
	Nodes []Compared `json:"nodes,omitempty"`
	// Revision is up to which all keys were compared in the last whole round: the one who is furthest behind has no
	// more. 0: none was compared.
	Revision int64 `json:"revision,omitempty"`
	// Parts, Keys and Bytes are what was compared since this process started, and Differences how often a difference
	// was told.
	Parts       int64 `json:"parts"`
	Keys        int64 `json:"keys"`
	Bytes       int64 `json:"bytes"`
	Differences int64 `json:"differences"`
	// Findings are the last of them, from old to new.
	Findings []Finding `json:"findings,omitempty"`
}

// FirstRound is why no node was compared yet by who has just begun.
const FirstRound = "the first round is under way"

// Compared is a node and when it was last compared whole, by the clock of who compares; zero: not since that began.
// Why says why it was not in the last round.
type Compared struct {
	Node   string    `json:"node"`
	Region string    `json:"region"`
	At     time.Time `json:"at,omitzero"`
	Why    string    `json:"why,omitempty"`
}

// Finding is a difference that was found twice.
type Finding struct {
	At time.Time `json:"at"`
	// What is "keys", or what verify calls what is beside them. Revision is where keys were compared the second time.
	// Which keys, and their sums, are not told here: every client may read this.
	What     string `json:"what"`
	Revision int64  `json:"revision,omitempty"`
	// Groups are the names of those who hold the same, the largest group first.
	Groups [][]string `json:"groups"`
	Verdict
	// Untold says why no alarm was raised. Such a finding is kept until it is not found again, or has an alarm.
	Untold string `json:"untold,omitempty"`
}

// mostFindings is how many are kept.
const mostFindings = 8

// Report returns what is known; nil if this node neither compares nor did.
func (p *Patrol) Report() *Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report.Since.IsZero() {
		return nil
	}
	r := p.report
	r.Nodes, r.Findings = slices.Clone(r.Nodes), slices.Clone(r.Findings)
	return &r
}

// begin notes that a round begins, or that another node compares.
func (p *Patrol) begin(compares, anew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Compares, p.report.EverySeconds = compares, p.Every.Seconds()
	p.rounds++
	if !anew {
		return
	}
	p.report.Since, p.report.Nodes, p.report.Revision = p.Clock.Now(), nil, 0
	for _, m := range p.Members() {
		first := Compared{Node: m.Name, Region: m.Region, Why: FirstRound}
		p.report.Nodes = append(p.report.Nodes, first)
	}
}

// counted adds what a piece compared.
func (p *Patrol) counted(r *verify.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Parts += r.Parts
	p.report.Keys += r.Keys
	p.report.Bytes += r.Bytes
}

// ended notes a whole round: who was compared in all of it, up to which revision, and why others were not.
func (p *Patrol) ended(members []Member, why map[string]string, revision int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Revision = revision
	before := p.report.Nodes
	p.report.Nodes = nil
	for _, m := range members {
		c := Compared{Node: m.Name, Region: m.Region, Why: why[m.Name]}
		for _, b := range before {
			if b.Node == c.Node && b.Region == c.Region {
				c.At = b.At
			}
		}
		if c.Why == "" {
			c.At = p.Clock.Now()
		}
		p.report.Nodes = append(p.report.Nodes, c)
	}
	p.report.Findings = slices.DeleteFunc(p.report.Findings, func(f Finding) bool { return p.mended(&f, why) })
	slices.SortFunc(p.report.Nodes, func(a, b Compared) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node))
	})
}

// mended reports whether a finding of which there was no alarm was not found again in a whole round in which everybody
// was compared of whom it is, or has an alarm. p.mu is held.
func (p *Patrol) mended(f *Finding, why map[string]string) bool {
	missing := func(name string) bool { return why[name] != "" && why[name] != errAside.Error() }
	return f.Untold != "" && p.told[f.key()] != p.rounds && !slices.ContainsFunc(slices.Concat(f.Groups...), missing)
}

// key is what two findings have in common of which the second says nothing new.
func (f *Finding) key() string { return fmt.Sprintf("%s: %s (%t)", f.What, f.text(), f.Untold == "") }

// found keeps a finding.
func (p *Patrol) found(f Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Differences++
	p.report.Findings = append(p.report.Findings, f)
	if n := len(p.report.Findings); n > mostFindings {
		p.report.Findings = slices.Clone(p.report.Findings[n-mostFindings:])
	}
}

// Oldest returns for each region when the node of it was last compared whole of which that is longest ago, or when this
// node began to compare. Of a node that is alone there is nothing to tell.
func (r *Report) Oldest() map[string]time.Time {
	oldest := map[string]time.Time{}
	if len(r.Nodes) < 2 {
		return oldest
	}
	for _, n := range r.Nodes {
		at := n.At
		if at.IsZero() {
			at = r.Since
		}
		if known, ok := oldest[n.Region]; !ok || at.Before(known) {
			oldest[n.Region] = at
		}
	}
	return oldest
}
