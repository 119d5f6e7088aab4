package kv

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
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

// alarm raises an alarm or disarms one. The answer holds it if it was raised, or was until now.
func (r *run) alarm(q *pb.AlarmRequest, followed bool) *pb.AlarmResponse {
	if (q.Alarm == command.AlarmFollows) != followed {
		return &pb.AlarmResponse{Header: &pb.ResponseHeader{Revision: r.now()}}
	}
	one := mvcc.Alarm{Kind: int32(q.Alarm), Member: q.MemberID}
	told := r.alarms.Has(one)
	switch q.Action {
	case pb.AlarmRequest_ACTIVATE:
		r.alarms, told = r.alarms.With(one), true
	case pb.AlarmRequest_DEACTIVATE:
		r.alarms = r.alarms.Without(one)
	}
	resp := &pb.AlarmResponse{Header: &pb.ResponseHeader{Revision: r.now()}}
	if told {
		resp.Alarms = []*pb.AlarmMember{{MemberID: q.MemberID, Alarm: q.Alarm}}
	}
	return resp
}
