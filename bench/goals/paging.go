package goals

import (
	"fmt"
	"strings"
)

// flat is within how much lists, counts and comings and goings cost the same however much there is.
const flat = 3

// Paging is what lists cost at several sizes.
type Paging struct {
	Sizes []int // keys, the smallest first
	Kinds []Listing
}

// Listing is a kind of list, and what it takes in milliseconds, by size.
type Listing struct {
	Name  string
	Costs []Point
}

// JudgePaging holds that no list costs more because there are more keys.
func JudgePaging(p Paging) Goal {
	g := Goal{Number: 1, Name: "No paging cliffs"}
	g.Size = sizes(p.Sizes) + " keys, a node each: what a list takes with more keys, of what it takes with the fewest"
	for _, kind := range p.Kinds {
		g.Figures = append(g.Figures, kind.judge(p.Sizes))
	}
	return g
}

func (l Listing) judge(sizes []int) Figure {
	f := wanted(l.Name, "times", atMost(flat), l.Name)
	var of []string
	worst := 0.0
	for i, c := range l.Costs {
		if c.Failed != "" {
			f.Verdict, f.Of = Missed, fmt.Sprintf("refused at %s keys: %s", count(sizes[i]), c.Failed)
			return f
		}
		if !c.known() {
			return f
		}
		of = append(of, fmt.Sprintf("%s: %.2f ms", count(sizes[i]), c.Value.Median))
		if i > 0 {
			worst = max(worst, c.Value.Median/l.Costs[0].Value.Median)
		}
	}
	if len(l.Costs) < 2 || len(l.Costs) < len(sizes) {
		f.Why = "there is nothing to compare with at one size"
		return f
	}
	return f.is(worst, strings.Join(of, ", "), l.Costs...)
}

func sizes(all []int) string {
	var text []string
	for _, n := range all {
		text = append(text, count(n))
	}
	return strings.Join(text, ", ")
}

// count is a number of things for people.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%gM", float64(n)/1e6)
	case n >= 1000 && n%100 == 0:
		return fmt.Sprintf("%gk", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
