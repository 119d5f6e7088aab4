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
	Name, Region string
	Ask          func(ctx context.Context, q *Question) (*Answer, error)
}

// Options of a comparison.
type Options struct {
	Range
	Revision, Compact int64
	// Told is called when parts were compared, with what there was until then. May be nil.
	Told func(*Result)
}

// Result is what a comparison found.
type Result struct {
	Revision int64    `json:"revision"`
	Compact  int64    `json:"compact"`
	Nodes    []string `json:"nodes"` // that were compared to the end
	Keys     int64    `json:"keys"`  // of the first node that was compared
	Versions int64    `json:"versions"`
	Bytes    int64    `json:"bytes"`
	Parts    int64    `json:"parts"`
	// Differing is how many parts differ, First the first difference in them, narrowed down. Nil if there is none.
	Differing int64       `json:"differing"`
	First     *Difference `json:"first,omitempty"`
	// Missing says of each node that was not compared, or not to the end, why.
	Missing []Missing `json:"missing,omitempty"`
}

// Difference is a range in which not all hold the same.
type Difference struct {
	Range
	Groups []Group `json:"groups"` // the largest first
}

// Group is who holds the same.
type Group struct {
	Nodes    []string `json:"nodes"`
	Keys     int64    `json:"keys"`
	Versions int64    `json:"versions"`
	Sum      []byte   `json:"sum"`
}

// Missing is a node that was not compared.
type Missing struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// comparison is one that is under way.
type comparison struct {
	Options
	nodes  []Node
	result *Result
}

// Compare compares what nodes hold. It goes on without those that cease to answer, as long as two are left; the error
// is ErrCompacted if somebody compacted more meanwhile, the context's, or says that there is nobody to compare.
func Compare(ctx context.Context, nodes []Node, o Options) (*Result, error) {
	c := &comparison{o, slices.Clone(nodes), &Result{Revision: o.Revision, Compact: o.Compact}}
	err := c.walk(ctx, o.Range, 0)
	for _, n := range c.nodes {
		c.result.Nodes = append(c.result.Nodes, n.Name)
	}
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
				if err := c.found(ctx, lead, answers, i, step); err != nil {
					return err
				}
			}
		}
		if step == 0 && c.Told != nil {
			c.Told(c.result)
		}
		if !lead.More {
			return nil
		}
		r.From = lead.Parts[len(lead.Parts)-1].To
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
	slices.SortStableFunc(d.Groups, func(a, b Group) int { return len(b.Nodes) - len(a.Nodes) })
	c.result.First = d
	if step == len(steps)-1 {
		return nil
	}
	return c.walk(ctx, part.Range, step+1)
}

func (d *Difference) add(node string, p *Part) {
	for i := range d.Groups {
		if bytes.Equal(d.Groups[i].Sum, p.Sum) {
			d.Groups[i].Nodes = append(d.Groups[i].Nodes, node)
			return
		}
	}
	d.Groups = append(d.Groups, Group{Nodes: []string{node}, Keys: p.Keys, Versions: p.Versions, Sum: p.Sum})
}

// ask asks the first node for the parts of a range, and the others for the same ranges. Who does not answer is out.
func (c *comparison) ask(ctx context.Context, r Range, every int64) (lead *Answer, answers []*Answer, err error) {
	for {
		if len(c.nodes) < 2 {
			return nil, nil, fmt.Errorf("there are no two nodes that answer%s", c.why())
		}
		q := &Question{Revision: c.Revision, Compact: c.Compact, Ranges: []Range{r}, Every: every}
		lead, err := c.nodes[0].Ask(ctx, q)
		if err == nil && !lead.covers(r) {
			err = fmt.Errorf("%w: the parts are not those of the range", ErrQuestion)
		}
		if err != nil {
			if err := c.drop(ctx, 0, err); err != nil {
				return nil, nil, err
			}
			continue
		}
		q.Every, q.Ranges = 0, make([]Range, len(lead.Parts))
		for i := range lead.Parts {
			q.Ranges[i] = lead.Parts[i].Range
		}
		answers, err := c.askOthers(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		if len(c.nodes) > 1 {
			return lead, answers, nil
		}
	}
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
			answers[i], failures[i] = n.Ask(ctx, q)
			if failures[i] == nil && len(answers[i].Parts) != len(q.Ranges) {
				failures[i] = fmt.Errorf("%w: %d parts for %d ranges", ErrQuestion, len(answers[i].Parts),
					len(q.Ranges))
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
	if errors.Is(why, ErrCompacted) {
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
