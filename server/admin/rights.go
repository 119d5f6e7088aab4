package admin

import (
	"fmt"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// rights tell which commands of a tail were refused because of who asked for them. Of users and roles only those of
// today's history are known. They are what they were at the fork if a command was asked for at their very revision, and
// no command of the tail changed them before it.
type rights struct {
	today   *auth.State
	keys    auth.Attached
	changed bool
}

func newRights(s States) *rights { return &rights{today: s.Auth(), keys: s.Attached} }

// judge says of the next command in whose name it was asked for, and whether it was permitted.
func (r *rights) judge(w *Write, data []byte) error {
	var q command.Request
	if err := q.Decode(data); err != nil {
		return fmt.Errorf("position %d: %w", w.Position, err)
	}
	if w.User = q.Identity.User; q.Own {
		return nil
	}
	request := q.Message()
	changes := opOfChange(request) != ""
	switch {
	case r.changed:
		w.Doubt = "whether it was permitted is not known: users or roles were changed before it in the tail"
	case q.Identity == (auth.Identity{}):
		// Nobody had to say who asks, unless that was to be in the very moment.
	case q.Identity.Revision != r.today.Revision() || r.today.Stands(q.Identity) != nil:
		w.Doubt = fmt.Sprintf("whether %q was permitted to do it is not known: users or roles were changed since",
			w.User)
	default:
		if err := r.today.Check(q.Identity, request, r.keys); err != nil {
			if !command.Carries(err) {
				return err
			}
			w.Refused = err.Error()
		}
	}
	r.changed = r.changed || changes && w.Refused == ""
	return nil
}
