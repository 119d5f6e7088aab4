package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Keys of a part: at first, and while a difference is narrowed down.
var steps = []int64{4096, 64, 1}

// Node is one of those that are compared.
type Node struct {
	Name string
	Ask  func(ctx context.Context, q *Question) (*Answer, error)
	// Beside asks what it holds beside its keys; nil: it cannot be asked that. Compare does not.
	Beside func(ctx context.Context, w *Wait) (*Beside, error)
}

// Options of a comparison.
type Options struct {
	Range
	Revision, Compact int64
	// Most is how many bytes of keys and values are compared, about: then the comparison ends where it is. 0: all.
	Most int64
	// Told is called when parts were compared, with what there was until then. May be nil.
	Told func(*Result)
}

// comparison is one that is under way.
type comparison struct {
	Options
	nodes  []Node
	result *Result
}

// Compare compares what nodes hold. It goes on without those that cease to answer, as long as two are left; the error
// is ErrCompacted if somebody compacted more meanwhile, ErrElsewhere if somebody's history parted before the revision,
// the context's, or says that there is nobody to compare. The result says what was found until then.
func Compare(ctx context.Context, nodes []Node, o Options) (*Result, error) {
	c := &comparison{o, slices.Clone(nodes), &Result{Revision: o.Revision, Compact: o.Compact, Reached: o.From}}
	err := c.walk(ctx, o.Range, 0)
	for _, n := range c.nodes {
		c.result.Nodes = append(c.result.Nodes, n.Name)
	}
	slices.Sort(c.result.Nodes)
	return c.result, err
}

// walk compares the parts of a range, of steps[step] keys. On the first step it counts, and narrows the first
// difference down; on the others it ends at the first difference.
func (c *comparison) walk(ctx context.Context, r Range, step int) error {
	for {
		lead, answers, err := c.ask(ctx, r, steps[step])
		if err != nil {
			return err
		}
		for i := range lead.Parts {
			differs := slices.ContainsFunc(answers, func(a *Answer) bool { return !same(&a.Parts[i], &lead.Parts[i]) })
			if step > 0 && differs {
				return c.found(ctx, lead, answers, i, step)
			} else if step > 0 {
				continue
			}
			c.count(&lead.Parts[i])
			if !differs {
				continue
			}
			if c.result.Differing++; c.result.Differing == 1 {
				// What cannot be narrowed down is a difference all the same.
				if err := c.found(ctx, lead, answers, i, step); ctx.Err() != nil {
					return err
				}
			}
		}
		r.From = lead.Parts[len(lead.Parts)-1].To
		if step == 0 {
			c.result.Reached = r.From
		}
		if step == 0 && c.Told != nil {
			c.Told(c.result)
		}
		if !lead.More {
			return nil
		}
		if step == 0 && c.Most > 0 && c.result.Bytes >= c.Most {
			c.result.More = true
			return nil
		}
	}
}

func (c *comparison) count(p *Part) {
	c.result.Keys += p.Keys
	c.result.Versions += p.Versions
	c.result.Bytes += p.Bytes
	c.result.Parts++
}

func same(a, b *Part) bool { return bytes.Equal(a.Sum, b.Sum) }

// found notes a difference, and narrows it down as far as that goes.
func (c *comparison) found(ctx context.Context, lead *Answer, answers []*Answer, i, step int) error {
	part := &lead.Parts[i]
	d := &Difference{Range: part.Range}
	d.add(c.nodes[0].Name, part)
	for n, a := range answers {
		d.add(c.nodes[n+1].Name, &a.Parts[i])
	}
	largestFirst(d.Groups)
	c.result.First = d
	if step == len(steps)-1 {
		return nil
	}
	return c.walk(ctx, part.Range, step+1)
}

// ask asks the first node for the parts of a range, and the others for the same ranges. Who does not answer is out. Who
// holds too much in the first of them to say is the first node from then on: its own parts are smaller.
func (c *comparison) ask(ctx context.Context, r Range, every int64) (lead *Answer, answers []*Answer, err error) {
	for {
		if len(c.nodes) < 2 {
			return nil, nil, fmt.Errorf("there are no two nodes that answer%s", c.why())
		}
		q := &Question{Revision: c.Revision, Compact: c.Compact, Ranges: []Range{r}, Every: every, Most: c.Most}
		lead, err := c.nodes[0].ask(ctx, q)
		if err == nil && !lead.covers(r) {
			err = fmt.Errorf("%w: the parts are not those of the range", ErrQuestion)
		}
		if err != nil {
			if err := c.drop(ctx, 0, err); err != nil {
				return nil, nil, err
			}
			continue
		}
		q.Every, q.Most, q.Ranges = 0, 0, make([]Range, len(lead.Parts))
		for i := range lead.Parts {
			q.Ranges[i] = lead.Parts[i].Range
		}
		answers, err := c.askOthers(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		if len(c.nodes) > 1 && c.agree(lead, answers) {
			return lead, answers, nil
		}
	}
}

// agree cuts what was answered to the parts that all have summed. If that are none it returns false, and who has none
// comes first.
func (c *comparison) agree(lead *Answer, answers []*Answer) bool {
	for i, a := range answers {
		if len(a.Parts) == 0 {
			c.nodes[0], c.nodes[i+1] = c.nodes[i+1], c.nodes[0]
			return false
		}
		if len(a.Parts) < len(lead.Parts) {
			lead.Parts, lead.More = lead.Parts[:len(a.Parts)], true
		}
	}
	return true
}

// ask is Ask of this node and no other.
func (n *Node) ask(ctx context.Context, q *Question) (*Answer, error) {
	a, err := n.Ask(ctx, q)
	if err == nil && a.Node != n.Name {
		err = fmt.Errorf("%w: %q answers in its place", ErrQuestion, a.Node)
	}
	return a, err
}

// covers reports whether the parts of an answer follow one another through a range, as far as they go.
func (a *Answer) covers(r Range) bool {
	if len(a.Parts) == 0 || !bytes.Equal(a.Parts[0].From, r.From) {
		return false
	}
	for i := 1; i < len(a.Parts); i++ {
		if before := a.Parts[i-1].To; len(before) == 0 || !bytes.Equal(a.Parts[i].From, before) ||
			bytes.Compare(a.Parts[i-1].From, before) >= 0 {
			return false
		}
	}
	last := a.Parts[len(a.Parts)-1]
	return a.More && bytes.Compare(last.From, last.To) < 0 || !a.More && bytes.Equal(last.To, r.To)
}

// askOthers asks all but the first node at once. Those that do not answer are out.
func (c *comparison) askOthers(ctx context.Context, q *Question) ([]*Answer, error) {
	answers, failures := make([]*Answer, len(c.nodes)-1), make([]error, len(c.nodes)-1)
	var all sync.WaitGroup
	for i, n := range c.nodes[1:] {
		all.Go(func() {
			answers[i], failures[i] = n.ask(ctx, q)
			if failures[i] != nil {
				return
			}
			if got := len(answers[i].Parts); got > len(q.Ranges) || got < len(q.Ranges) && !answers[i].More {
				failures[i] = fmt.Errorf("%w: %d parts for %d ranges", ErrQuestion, got, len(q.Ranges))
			}
		})
	}
	all.Wait()
	for i := len(answers) - 1; i >= 0; i-- {
		if failures[i] == nil {
			continue
		}
		if err := c.drop(ctx, i+1, failures[i]); err != nil {
			return nil, err
		}
		answers = slices.Delete(answers, i, i+1)
	}
	return answers, nil
}

// drop leaves a node out from here on. What ends the whole comparison is returned.
func (c *comparison) drop(ctx context.Context, i int, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(why, ErrCompacted) || errors.Is(why, ErrElsewhere) {
		return fmt.Errorf("%s: %w", c.nodes[i].Name, why)
	}
	c.result.Missing = append(c.result.Missing, Missing{c.nodes[i].Name, why.Error()})
	c.nodes = slices.Delete(c.nodes, i, i+1)
	return nil
}

func (c *comparison) why() (text string) {
	for _, m := range c.result.Missing {
		text += "; " + m.Node + ": " + m.Why
	}
	return text
}
