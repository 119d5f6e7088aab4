package goals

import "fmt"

// What watches are to be.
const (
	watchDelay = 10.0 // milliseconds, the median from the start of a put to its event
	joinFlat   = 2.0  // joining and leaving costs the same, as closely as that can be told
	watchRate  = 0.95 // of the puts a second that were asked for
)

// Watches is what a node did with so many watchers.
type Watches struct {
	Watchers, Ranges int
	Rate             float64 // puts a second that were asked for
	Reached          Point   // that there were
	Few              int     // watchers with which joining is compared
	Lost, Twice      int     // events that did not come, or came again or out of order
	Events           int     // that came
	Delay, EtcdDelay Point   // milliseconds
	Bytes            Point   // of memory a watcher
	JoinFew, Join    Point   // milliseconds to join and leave
}

// Watching and Joining are the loads.
const Watching, Joining = "watchers", "joining"

// JudgeWatches holds that events come once and soon, and that a watcher costs the same among many.
func JudgeWatches(w Watches) Goal {
	g := Goal{Number: 6, Name: "Watches", Size: fmt.Sprintf("%s watchers on %s ranges of one node, %.0f puts a second",
		count(w.Watchers), count(w.Ranges), w.Rate)}
	once := wanted("events that were lost, came twice or out of order", "", atMost(0), Watching)
	delay := wanted("median from a put to its event", "ms", atMost(watchDelay), Watching)
	if w.Events > 0 {
		of := fmt.Sprintf("of %d: %d lost, %d twice", w.Events, w.Lost, w.Twice)
		once = once.is(float64(w.Lost+w.Twice), of, w.Delay)
		once.Noise = 0
	}
	if w.Delay.known() {
		of := ""
		if w.EtcdDelay.known() {
			of = fmt.Sprintf("etcd's: %.2f ms", w.EtcdDelay.Value.Median)
		}
		delay = delay.is(w.Delay.Value.Median, of, w.Delay)
	}
	reached := wanted("puts a second, of those that were asked for", "times", atLeast(watchRate), Watching)
	if w.Reached.known() {
		reached = reached.is(w.Reached.Value.Median/w.Rate, brief(w.Reached.Value.Median, "/s"), w.Reached)
	}
	memory := wanted("memory a watcher", "bytes", Bound{}, Watching)
	if w.Bytes.known() {
		memory = memory.is(w.Bytes.Value.Median, "heap and stacks after a collection", w.Bytes)
	}
	name := fmt.Sprintf("joining and leaving among %s, of that among %s", count(w.Watchers), count(w.Few))
	g.Figures = append(g.Figures, once, delay, reached, memory,
		beside(wanted(name, "times", atMost(joinFlat), Joining), w.Join, w.JoinFew, "ms"))
	return g
}
