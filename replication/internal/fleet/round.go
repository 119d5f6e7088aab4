package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// round asks the nodes of one region: at every address that is configured or was learned, and then the members that
// these tell of and that were not among them, nodes that joined the region, or moved, since. It ends when all have
// answered or the time is up. Who is silent delays that end and nothing else: what the others say is heard at once,
// they are asked again if somebody wants to know, and the members that they tell of are asked after half of the time.
type round struct {
	w       *Watcher
	of      *watched
	name    string
	addrs   []string // asked, in the order of the reports
	answers []answer // the last of each
	waits   []bool   // a question to it is under way
	waiting int      // how many are
	missing int      // how many addresses have not answered at all
	arrived chan answer
	asked   time.Time // when somebody was asked last
	nudged  bool      // somebody wants to know what is asked after he said so
}

// answer is what became of a question.
type answer struct {
	index int
	heard *Heard // nil if there was no answer
	err   error
}

func newRound(w *Watcher, o *watched) *round {
	r := &round{w: w, of: o, name: o.name, arrived: make(chan answer)}
	r.add(slices.Concat(w.addressesOf(o.name), w.learnedOf(o.name)))
	return r
}

func (r *round) add(addrs []string) {
	r.addrs = append(r.addrs, addrs...)
	r.answers = append(r.answers, make([]answer, len(addrs))...)
	r.waits = append(r.waits, make([]bool, len(addrs))...)
	r.missing += len(addrs)
}

// run asks, and returns what has come of a round that began then.
func (r *round) run(ctx context.Context, began time.Time) Region {
	c := &r.w.config
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	patience := c.Clock.NewTimer(c.Timeout / 2)
	defer patience.Stop()
	soon := c.Clock.NewTimer(c.Timeout)
	defer soon.Stop()
	for i := range r.addrs {
		r.ask(ctx, i)
	}
	for r.missing > 0 {
		select {
		case a := <-r.arrived:
			r.take(a)
			if r.missing == 0 {
				r.askNewcomers(ctx)
			}
		case <-patience.C():
			r.askNewcomers(ctx)
		case <-r.of.nudge:
			r.nudged = true
			soon.Reset(max(0, minGap-c.Clock.Now().Sub(r.asked)))
		case <-soon.C():
			r.askAgain(ctx)
		}
	}
	cancel()
	for r.waiting > 0 {
		r.take(<-r.arrived)
	}
	if r.nudged {
		r.of.nudge.Nudge()
	}
	region := Region{Name: r.name, Asked: began}
	r.report(&region)
	return region
}

// ask puts a question to the address of that index.
func (r *round) ask(ctx context.Context, i int) {
	r.asked = r.w.config.Clock.Now()
	r.waits[i] = true
	r.waiting++
	at, addr := r.asked, r.addrs[i]
	go func() {
		report, err := r.w.config.Ask(ctx, addr)
		if err != nil {
			r.arrived <- answer{index: i, err: err}
			return
		}
		r.arrived <- answer{index: i, heard: &Heard{Report: report, Asked: addr, At: at}}
	}()
}

// askAgain asks all but those who are silent.
func (r *round) askAgain(ctx context.Context) {
	for i := range r.addrs {
		if !r.waits[i] {
			r.ask(ctx, i)
		}
	}
}

// take notes an answer. A node of another region is not believed.
func (r *round) take(a answer) {
	r.waits[a.index] = false
	r.waiting--
	before := &r.answers[a.index]
	if before.heard == nil && before.err == nil {
		r.missing--
	}
	if a.heard != nil {
		r.w.belongs(r.of, r.addrs[a.index], a.heard.Region == r.name)
	}
	if a.heard != nil && a.heard.Region != r.name {
		a.heard, a.err = nil, fmt.Errorf("%s: a node of region %q answers", r.addrs[a.index], a.heard.Region)
	}
	if a.heard == nil {
		if before.heard == nil {
			*before = a
		}
		return
	}
	*before = a
	if heard := r.w.config.Heard; heard != nil {
		heard(*a.heard)
	}
	r.w.hear(r.of, *a.heard)
}

// askNewcomers asks the members that were told of and that nobody was asked at.
func (r *round) askNewcomers(ctx context.Context) {
	var region Region
	r.report(&region)
	for i := range region.Nodes {
		for _, m := range region.Nodes[i].Members {
			if region.has(m.ID) || m.PeerAddr == "" || r.w.hasWay(r.name, m) {
				continue
			}
			if !slices.Contains(r.addrs, m.PeerAddr) {
				r.add([]string{m.PeerAddr})
				r.ask(ctx, len(r.addrs)-1)
			}
		}
	}
}

// report adds what the nodes said to region. A node may be reached at two addresses.
func (r *round) report(region *Region) {
	for _, a := range r.answers {
		if a.heard != nil && !region.has(a.heard.ID) {
			region.Nodes = append(region.Nodes, *a.heard)
		} else if a.err != nil {
			region.Err = a.err
		}
	}
	if len(region.Nodes) > 0 {
		region.Err = nil
	}
}
