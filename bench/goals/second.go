package goals

import "fmt"

// What a second region may cost the first.
const (
	secondCost = 1.1 // of the primary's processor time a put without one
	secondTail = 1.1 // of the clients' p99 without one: nothing, as closely as two p99 can be told apart
)

// Second is the primary at the same rate of puts: alone, with a second region that follows, and while that catches up.
type Second struct {
	Rate                         float64 // puts a second
	BehindMegabytes              int     // when it begins to catch up
	Pinned                       bool    // the primary has a core of its own
	Apart                        bool    // the second region shares no disk with it
	Alone, Following, CatchingUp Phase
}

// Phase is what was measured meanwhile: microseconds of the primary a put, and the clients' p99 in milliseconds.
type Phase struct{ Processor, P99 Point }

// JudgeSecond holds that a second region costs the primary little and its clients nothing.
func JudgeSecond(s Second) Goal {
	pinned := "the primary and the rest each on cores of their own"
	if !s.Pinned {
		pinned = "**all on the same cores**"
	}
	disk := "the second region in memory"
	if !s.Apart {
		disk = "**both on one disk**"
	}
	g := Goal{Number: 8, Name: "What a second region costs"}
	g.Size = fmt.Sprintf("%.0f puts a second; %s; %s; behind by %d MB",
		s.Rate, pinned, disk, s.BehindMegabytes)
	for _, p := range []struct {
		name string
		of   Phase
	}{{"while it follows", s.Following}, {"while it catches up", s.CatchingUp}} {
		load := "puts " + p.name
		g.Figures = append(g.Figures,
			beside(wanted("processor time a put "+p.name+", of that without", "times", atMost(secondCost), load),
				p.of.Processor, s.Alone.Processor, "µs"),
			beside(wanted("p99 of a put "+p.name+", of that without", "times", atMost(secondTail), load),
				p.of.P99, s.Alone.P99, "ms"))
	}
	return g
}

// beside is a figure that is the part of one point in another.
func beside(f Figure, a, of Point, unit string) Figure {
	if !a.known() || !of.known() {
		return f
	}
	text := brief(a.Value.Median, unit) + " of " + brief(of.Value.Median, unit)
	return f.is(a.Value.Median/of.Value.Median, text, a, of)
}
