package kv

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Alarms returns the alarms of etcd's kinds that are raised, by kind and member. They are part of what is replicated,
// and are in no hash: a node of a version that knew none took them for commands that break a rule.
func (s *Store) Alarms() []*pb.AlarmMember {
	var list []*pb.AlarmMember
	for _, a := range s.now().alarms {
		switch pb.AlarmType(a.Kind) {
		case command.AlarmFollows, command.AlarmDiffers, command.AlarmUnsure:
			continue
		}
		list = append(list, &pb.AlarmMember{MemberID: a.Member, Alarm: pb.AlarmType(a.Kind)})
	}
	return list
}

// Raised reports whether an alarm of a kind is raised about a member.
func Raised(s *Store, kind pb.AlarmType, member uint64) bool {
	return s.now().alarms.Has(mvcc.Alarm{Kind: int32(kind), Member: member})
}

// Compared reports whether an alarm says that a member holds something else than others.
func Compared(s *Store, member uint64) bool {
	return Raised(s, command.AlarmDiffers, member) || Raised(s, command.AlarmUnsure, member)
}

// Members returns the members about which an alarm of a kind is raised, in order.
func Members(s *Store, kind pb.AlarmType) (members []uint64) {
	for _, a := range s.now().alarms {
		if pb.AlarmType(a.Kind) == kind {
			members = append(members, a.Member)
		}
	}
	return members
}

// AlarmTurn is an alarm that a command raised or cleared, and where that stands in the history.
type AlarmTurn struct {
	Kind     string // NOSPACE, as etcd writes it
	Member   uint64 // its Raft identity
	Raised   bool
	Epoch    replication.Epoch
	Position replication.Position
}

// tellAlarms tells which alarms a run turned that was committed.
func (r *run) tellAlarms(tell func(AlarmTurn)) {
	if tell == nil {
		return
	}
	for _, t := range r.turned {
		tell(t)
	}
}

// alarm raises an alarm or disarms one. The answer holds it if it was raised, or was until now.
func (r *run) alarm(q *pb.AlarmRequest, followed bool) *pb.AlarmResponse {
	if (q.Alarm == command.AlarmFollows) != followed {
		return &pb.AlarmResponse{Header: &pb.ResponseHeader{Revision: r.now()}}
	}
	one := mvcc.Alarm{Kind: int32(q.Alarm), Member: q.MemberID}
	told := r.alarms.Has(one)
	was := told
	switch q.Action {
	case pb.AlarmRequest_ACTIVATE:
		r.alarms, told = r.alarms.With(one), true
	case pb.AlarmRequest_DEACTIVATE:
		r.alarms = r.alarms.Without(one)
	}
	if is := r.alarms.Has(one); is != was {
		r.turned = append(r.turned, AlarmTurn{q.Alarm.String(), q.MemberID, is, r.epoch, r.position})
	}
	resp := &pb.AlarmResponse{Header: &pb.ResponseHeader{Revision: r.now()}}
	if told {
		resp.Alarms = []*pb.AlarmMember{{MemberID: q.MemberID, Alarm: q.Alarm}}
	}
	return resp
}
