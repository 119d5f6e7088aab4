package live

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Errors after which to go on is of no use.
var (
	// ErrCompacted says that the etcd has compacted what comes next.
	ErrCompacted = sides.ErrCompacted
	// ErrParted says that the fleet and the etcd are not of one history.
	ErrParted = errors.New("the fleet and the etcd have parted")
	// ErrUsers says that users or roles of the etcd were changed since its snapshot.
	ErrUsers = errors.New("users or roles of the etcd were changed since the snapshot")
	// ErrFollowsNot says that the fleet does not follow an etcd.
	ErrFollowsNot = errors.New("the fleet does not follow an etcd")
	// ErrTooMuch says that the etcd changed more at one revision than a fleet takes at once.
	ErrTooMuch = errors.New("the etcd changed too much at once")
	// ErrAlarm says that the etcd has raised the alarm CORRUPT itself, or somebody else has.
	ErrAlarm = errors.New("the alarm CORRUPT is raised in the etcd already, so that it takes no writes: find out " +
		"why; if an earlier import finish left it, go on without --fence, or disarm it first")
	// ErrRevision says that both cannot be compared at a revision, or behind one.
	ErrRevision = errors.New("nothing is to be compared there")
	// ErrWrites says that the etcd goes on being written.
	ErrWrites = errors.New("the etcd is written")
)

// importAnew is the way out of most of them.
const importAnew = "empty the data directories of the fleet, and import again, under another fleet name, or with " +
	"another place for backups and the archive"

// errOpened says that somebody has opened the fleet.
var errOpened = errors.New("the fleet was opened")

// isFinal reports whether to try again is of no use.
func isFinal(err error) bool {
	for _, final := range []error{ErrCompacted, ErrParted, ErrUsers, ErrFollowsNot, ErrTooMuch} {
		if errors.Is(err, final) {
			return true
		}
	}
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unimplemented:
		return true
	case codes.InvalidArgument:
		return !sides.IsStale(err)
	}
	return false
}
