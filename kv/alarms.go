package kv

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// Alarms returns the alarms that are raised, by kind and member. They are part of what is replicated, and are in no
// hash: a node of a version that knew none took them for commands that break a rule.
func (s *Store) Alarms() []*pb.AlarmMember {
	var list []*pb.AlarmMember
	for _, a := range s.now().alarms {
		if pb.AlarmType(a.Kind) == command.AlarmFollows {
			continue
		}
		list = append(list, &pb.AlarmMember{MemberID: a.Member, Alarm: pb.AlarmType(a.Kind)})
	}
	return list
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
