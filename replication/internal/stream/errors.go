package stream

import (
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Errors that end a session. The sink logs them, applies nothing, and tries again after a pause; compare with
// errors.Is.
var (
	// ErrGap says that an entry does not begin where the history held here ends.
	ErrGap = errors.New("stream: gap in the history")
	// ErrChain says that two histories have different chains at one place: damage on one side.
	ErrChain = errors.New("stream: chain mismatch")
	// ErrEpoch says that an entry is of an epoch that is not the current one at its place.
	ErrEpoch = errors.New("stream: entry of another epoch")
	// ErrProtocol says that a message is damaged, of a newer version, or out of turn.
	ErrProtocol = errors.New("stream: bad message")
	// ErrSilent says that nothing was heard from the other side for too long.
	ErrSilent = errors.New("stream: peer is silent")
	// ErrBehind says that the source holds less than the subscriber: a follower that lags, or a region that has
	// been deposed. Another address may do better.
	ErrBehind = errors.New("stream: source is behind the subscriber")
	// ErrStale says that the source brought nothing new and did not confirm for too long that its region is alive,
	// while another node of that region leads it or is further.
	ErrStale = errors.New("stream: source is not confirmed by its region")
	// ErrElsewhere says that the source is followed by another way from now on.
	ErrElsewhere = errors.New("stream: follows elsewhere")
	// ErrRefused wraps the reason for which a node cannot be a source now.
	ErrRefused = errors.New("stream: refused by source")
)

// ForkError says that the subscriber has commands, or a reign, that the source's history does not have. Sink.Run
// returns it: the region cannot follow before its tail is saved and cut.
type ForkError struct {
	Fork         timeline.Position // the last position both share
	Held         timeline.Cursor   // where the subscriber was
	Source       []timeline.Reign  // the source's history
	SourceCursor timeline.Cursor
	Address      string // of the source
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("stream: history forks from the source %s after position %d: held here position %d of epoch "+
		"%d, there position %d of epoch %d",
		e.Address, e.Fork, e.Held.Position, e.Held.Epoch, e.SourceCursor.Position, e.SourceCursor.Epoch)
}

// BootstrapError says that no source holds enough log to go on from where the subscriber is. Sink.Run returns it: the
// region needs a checkpoint.
type BootstrapError struct {
	Held         timeline.Cursor   // where the subscriber was
	Oldest       timeline.Position // a subscriber must have at least this position
	SourceCursor timeline.Cursor
	Address      string // of the source
	Why          string // the log is not there although it should be; "" if it was released
}

func (e *BootstrapError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("stream: source %s cannot read its log after position %d: bootstrap from a checkpoint: %s",
			e.Address, e.Held.Position, e.Why)
	}
	return fmt.Sprintf(
		"stream: source %s holds its log only after position %d, needed after %d: bootstrap from a checkpoint",
		e.Address, e.Oldest, e.Held.Position)
}
