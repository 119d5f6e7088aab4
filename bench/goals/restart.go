package goals

import "fmt"

// What a restart and a checkpoint may take, in milliseconds.
const (
	readyWithin      = 2000
	checkpointWithin = 50
	checkpointTail   = 1.1 // of the p99 without: nothing waits, as closely as two p99 can be told apart
)

// Restart is what a node with so many keys takes, in milliseconds.
type Restart struct {
	Keys       int
	Stopped    Point // ready again after a stop in good order
	Killed     Point // after kill -9 under load: with what is applied again
	Checkpoint Point // hard links of the store
	// Without and With are the p99 of puts without checkpoints and while Made of them are made, and Longest the longest
	// put with them.
	Without, With, Longest Point
	Made                   int
}

// BesideCheckpoints is the load of such puts.
const BesideCheckpoints = "puts while checkpoints are made"

// JudgeRestart holds that what there is does not slow down a start, nor a checkpoint.
func JudgeRestart(r Restart) Goal {
	g := Goal{Number: 9, Name: "Restart and checkpoint", Size: count(r.Keys) + " keys, one node"}
	add := func(name string, b Bound, load string, p Point) {
		f := wanted(name, "ms", b, load)
		if p.known() {
			f = f.is(p.Value.Median, brief(p.Value.Least, "")+" to "+brief(p.Value.Most, ""), p)
		}
		g.Figures = append(g.Figures, f)
	}
	add("ready after a stop in good order", atMost(readyWithin), "restart", r.Stopped)
	add("ready after kill -9 under load, with the log applied again", Bound{}, "restart", r.Killed)
	add("checkpoint by hard links", atMost(checkpointWithin), "checkpoint", r.Checkpoint)
	waits := wanted("p99 of puts while checkpoints are made, of that without", "times", atMost(checkpointTail),
		BesideCheckpoints)
	if r.Made > 0 {
		waits = beside(waits, r.With, r.Without, "ms")
		waits.Of += fmt.Sprintf("; %d checkpoints, the longest put %s", r.Made, brief(r.Longest.Value.Median, "ms"))
	}
	g.Figures = append(g.Figures, waits)
	return g
}
