package link

import (
	"errors"
	"time"
)

// ErrUnavailable says that this machine, or who runs this, cannot have a Link; the text says what is missing.
var ErrUnavailable = errors.New("a link between network namespaces is not to be had here")

// request is what the line is told; zero fields change nothing. Each is answered by Stats.
type request struct {
	Set *Conditions
	Cut *bool
}

// MTU is the size of the largest packet.
const MTU = 1500

// Link is two namespaces and the line between them. Its methods are safe for concurrent use.
type Link struct {
	Near, Far *Namespace
	line
}

// Stats are both directions since the link was opened.
type Stats struct {
	There, Back Counts // from Near to Far, and from Far to Near
	// LateP99 is how late packets were delivered beside when they were due: far above a millisecond, what was
	// measured is not the line alone but the machine, too.
	LateP99 time.Duration
}

// Cut drops everything in both directions from now on, what is on its way included.
func (l *Link) Cut() error { return l.sever(true) }

// Heal undoes Cut.
func (l *Link) Heal() error { return l.sever(false) }

func (l *Link) sever(cut bool) error {
	_, err := l.ask(request{Cut: &cut})
	return err
}

// Set changes both directions, for packets that come from now on.
func (l *Link) Set(c Conditions) error {
	_, err := l.ask(request{Set: &c})
	return err
}

// Stats returns what was counted so far.
func (l *Link) Stats() (Stats, error) { return l.ask(request{}) }
