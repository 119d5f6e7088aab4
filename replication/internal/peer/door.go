package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Right is what a question or a service of this port needs. Who is admitted to the port is a name that somebody proved,
// or only gave; what that name may do is said by this alone.
type Right int

const (
	// nobody is the zero value, and so what nobody thought of: it is let in never.
	nobody Right = iota
	// Anyone is whoever is admitted to the port: witnesses, and nodes that are none of the fleet yet, or any more. It
	// is for what they learn by where they stand.
	Anyone
	// FleetNode is a node of a region of the fleet, but none that was removed from this node's region, and no witness.
	FleetNode
	// RegionNode is a node of this node's region that was not removed from it.
	RegionNode
	// NamedRegion is whoever has a name in this node's region, also who was removed from that: what answers him tells
	// him so. It is for the members' own talk, which looks at who is a member by itself.
	NamedRegion
)

// String returns what a table has for it.
func (r Right) String() string {
	switch r {
	case Anyone:
		return "anyone"
	case FleetNode:
		return "fleet node"
	case RegionNode:
		return "region node"
	case NamedRegion:
		return "named region"
	default:
		return "nobody"
	}
}

// lasts reports whether who had the right once has it for good.
func (r Right) lasts() bool { return r == Anyone || r == NamedRegion }

// witnesses is the region in whose name witnesses open streams.
const witnesses = "witness"

// BarsWitness has every region be one of the fleet, as far as a witness knows: its ballot says who may have its vote.
// Witnesses are of no region, and ask each other nothing.
func BarsWitness(region string) error {
	switch region {
	case witnesses:
		return errWitness
	case "":
		return errors.New("it is of no region")
	default:
		return nil
	}
}

// DoorConfig is what a door has to know. Its functions are asked at every message of long streams, and must not block.
type DoorConfig struct {
	Region string // of this node; "": a witness, which is of none
	// Bars returns why another region is not one of the fleet, nil if it is.
	Bars func(region string) error
	// Removed reports whether a node was removed from this region. May be nil: nobody was.
	Removed func(node string) bool
	// Refused is told of who was refused what, and why. It must not block. May be nil.
	Refused func(c transport.Caller, what string, why error)
}

// Door decides who may use which service and ask which question. It is safe for concurrent use. A nil one knows no
// fleet, and lets whoever is known in for nothing but what is for anyone.
type Door struct{ config DoorConfig }

// NewDoor returns a door.
func NewDoor(c DoorConfig) *Door { return &Door{c} }

// stranger is why somebody is none of the fleet as far as is known here: another node, or this one in a moment, may
// know more.
type stranger struct{ error }

func (s stranger) Unwrap() error { return s.error }

var (
	errNobody  = errors.New("that is for nobody")
	errWitness = errors.New("a witness is asked, and asks nothing itself")
)

// bars returns why a caller has not a right, nil if he has it.
func (d *Door) bars(c transport.Caller, right Right) error {
	switch {
	case right == Anyone:
		return nil
	case d == nil || right < Anyone || right > NamedRegion:
		return errNobody
	}
	own := c.Region == d.config.Region && c.Region != ""
	switch {
	case right == NamedRegion && own:
		return nil
	case own && d.config.Removed != nil && d.config.Removed(c.Node):
		return fmt.Errorf("it was removed from region %s", d.config.Region)
	case own:
		return nil
	case right != FleetNode:
		return fmt.Errorf("that is for nodes of region %s", d.config.Region)
	}
	switch err := d.config.Bars(c.Region); {
	case err == nil:
		return nil
	case c.Region == witnesses:
		return errWitness
	default:
		return stranger{err}
	}
}

// may returns why who opened the stream of ctx has not a right to what, nil if he has it, or the transport does not say
// who he is: there are transports that do not. what is said with op, if it is not empty.
func (d *Door) may(ctx context.Context, right Right, what, op string) error {
	c, known := transport.CallerOf(ctx)
	if !known && right != nobody {
		return nil
	}
	why := d.bars(c, right)
	if why == nil {
		return nil
	}
	if op != "" {
		what = fmt.Sprintf("%s %q", what, op)
	}
	if d != nil && d.config.Refused != nil {
		d.config.Refused(c, what, why)
	}
	return fmt.Errorf("node %.100s of region %.100s may not have %s: %w", c.Node, c.Region, what, why)
}

// asks is may of a question. Errors: ErrNotReady if another node may know who it is, or this one later, and else
// ErrRejected.
func (d *Door) asks(ctx context.Context, right Right, op string) error {
	err := d.may(ctx, right, "an answer to", op)
	var unknown stranger
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: %v", contract.ErrNotReady, err)
	default:
		return fmt.Errorf("%w: %v", contract.ErrRejected, err)
	}
}

// Guard returns the handler of a service that only who has a right gets to: others get transport.ErrStranger, before
// anything of theirs is taken. A stream of somebody who has it no more ends with the next message, which is neither
// sent nor handed over, and by an error of no kind: what came before was taken.
func (d *Door) Guard(service string, right Right, h transport.Handler) transport.Handler {
	return func(ctx context.Context, s transport.Stream) error {
		may := func() error { return d.may(ctx, right, service, "") }
		if err := may(); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrStranger, err)
		}
		if !right.lasts() {
			s = &guarded{s, may}
		}
		return h(ctx, s)
	}
}

// guarded is a stream as long as its opener may have it.
type guarded struct {
	transport.Stream
	may func() error
}

// Send implements transport.Stream.
func (g *guarded) Send(p []byte) error {
	if err := g.may(); err != nil {
		return err
	}
	return g.Stream.Send(p)
}

// Recv implements transport.Stream.
func (g *guarded) Recv() ([]byte, error) {
	p, err := g.Stream.Recv()
	if err == nil {
		err = g.may()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}
