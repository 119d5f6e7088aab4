package kv

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// Follows reports whether the content follows an etcd, as far as is applied here: it takes nothing then that changes a
// key, a lease, a user or a role, and does not come from there (command.EncodeFollowed), and no lease ends by itself.
func Follows(s *Store) bool { return s.now().follows() }

func (m *moment) follows() bool { return m.alarms.Raised(int32(command.AlarmFollows)) }

// Corrupt reports whether a client says that what s holds is corrupt: then nothing is written by itself either, and no
// lease ends.
func Corrupt(s *Store) bool { return s.now().corrupt() }

func (m *moment) corrupt() bool { return m.alarms.Raised(int32(pb.AlarmType_CORRUPT)) }

// holds reports whether no lease comes to its end.
func (m *moment) holds() bool { return m.follows() || m.corrupt() }

// inTurn says whether a command may come now: nil, or an error that is its result. Compactions and alarms of members
// change no revision, and are of this fleet alone.
func (r *run) inTurn(q *command.Request) error {
	follows := r.alarms.Raised(int32(command.AlarmFollows))
	switch {
	case q.Followed && !follows:
		return command.ErrFollowsNot
	case q.Followed && q.After != r.state.Revision:
		return command.ErrParted
	case follows && !q.Followed && q.Compaction == nil && q.Alarm == nil:
		return command.ErrFollows
	}
	return nil
}
