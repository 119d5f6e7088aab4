package etcdapi

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// RightsKey is the key of request metadata, with any value, that has the header of the answer, or of the refusal, say
// by which users and roles the request was judged: by none that are older. [RightsTold] reads it. A node of a version
// that does not know the key says nothing.
const RightsKey = "mimir-rights"

// Rights are users and roles of a moment: not who may do what, but how new that is.
type Rights struct {
	// At is a revision of the history, before that moment.
	At int64
	// Revision is that of users and roles; 0: it is not known.
	Revision uint64
	// Enabled says that requests have to say who asks. To enable it raises no revision.
	Enabled bool
}

// RightsOf returns those of a store. At is read first: for a moment it may be of the history before a failover, and
// never of the one behind it with users and roles of before.
func RightsOf(s *kv.Store) Rights {
	at := s.Revision()
	now := s.Auth()
	return Rights{At: at, Revision: now.Revision(), Enabled: now.Enabled()}
}

// aReignFurther is less than what a failover that may lose writes moves the history on by, whatever it loses.
const aReignFurther = mvcc.LossyJump / 2

// OlderThan reports whether r were there before others. Such a failover moves the revision of users and roles too, to
// where no history before has come, but for a fleet that has none then: so what counts first is which history is so far
// ahead of the other that it has all of it, or came in its place.
func (r Rights) OlderThan(others Rights) bool {
	switch ahead := r.At - others.At; {
	case ahead > aReignFurther:
		return false
	case ahead < -aReignFurther:
		return true
	case r.Revision != others.Revision:
		return r.Revision < others.Revision
	}
	return others.Enabled && !r.Enabled
}

// String returns r as it is told.
func (r Rights) String() string { return fmt.Sprintf("%d %d %t", r.At, r.Revision, r.Enabled) }

// tellRights says by which users and roles a request is judged that begins now, if it asks for that.
func tellRights(ctx context.Context, s *kv.Store) {
	if len(metadata.ValueFromIncomingContext(ctx, RightsKey)) == 0 {
		return
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs(RightsKey, RightsOf(s).String()))
}

// RightsTold returns what the header of an answer says by which users and roles it was judged, if it does.
func RightsTold(header metadata.MD) (r Rights, told bool) {
	for _, text := range header.Get(RightsKey) {
		if _, err := fmt.Sscanf(text, "%d %d %t", &r.At, &r.Revision, &r.Enabled); err == nil {
			return r, true
		}
	}
	return Rights{}, false
}
