package etcdapi

import (
	"context"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
)

// mostAlarms bounds the alarms that clients can raise.
const mostAlarms = 256

// Alarm lists the alarms of the fleet, raises one, and disarms it. As in etcd it is for the
// client to say which member's alarm is meant. What raised it raises it again if it still holds.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	may := s.operates
	if r.Action == pb.AlarmRequest_GET && !s.isOperator(ctx) {
		may = func(ctx context.Context) (asker, error) { return s.asks(ctx, isSomebody) }
	}
	who, err := may(ctx)
	if err != nil {
		return nil, err
	}
	who.repeats = true
	switch r.Action {
	case pb.AlarmRequest_GET:
		var list *pb.AlarmResponse
		err := fromAll(ctx, s.API, func() { list = s.listAlarms(r) })
		return list, err
	case pb.AlarmRequest_ACTIVATE:
		if r.Alarm == pb.AlarmType_NONE {
			return &pb.AlarmResponse{Header: s.header(s.store.Revision())}, nil
		}
		if _, known := pb.AlarmType_name[int32(r.Alarm)]; !known {
			return nil, status.Errorf(codes.InvalidArgument, "mimir: there is no alarm %v", r.Alarm)
		}
		if len(s.store.Alarms()) >= mostAlarms {
			return nil, status.Errorf(codes.ResourceExhausted, "mimir: there are %d alarms already", mostAlarms)
		}
	case pb.AlarmRequest_DEACTIVATE:
		if r.Alarm == pb.AlarmType_CORRUPT && kv.Compared(s.store, r.MemberID) {
			return s.disarmCompared(ctx, who, r)
		}
	default:
		return nil, status.Errorf(codes.InvalidArgument, "mimir: alarm action %v", r.Action)
	}
	return write(ctx, s.API, who, command.EncodeAlarm(r), command.DecodeAlarmResult)
}

// listAlarms answers as etcd does: all of a kind, or all if none is named, of whatever member.
func (s *maintenanceServer) listAlarms(r *pb.AlarmRequest) *pb.AlarmResponse {
	response := &pb.AlarmResponse{Header: s.header(s.store.Revision())}
	for _, a := range alarmsOf(s.store) {
		if r.Alarm == pb.AlarmType_NONE || r.Alarm == a.Alarm {
			response.Alarms = append(response.Alarms, a)
		}
	}
	return response
}

// alarmsOf returns all alarms as clients are told of them: what says that a member holds something else than others is
// CORRUPT there, once for each.
func alarmsOf(s *kv.Store) []*pb.AlarmMember {
	list := slices.Clone(s.Alarms())
	for _, member := range slices.Concat(kv.Members(s, command.AlarmDiffers), kv.Members(s, command.AlarmUnsure)) {
		one := &pb.AlarmMember{MemberID: member, Alarm: pb.AlarmType_CORRUPT}
		if !slices.ContainsFunc(list, func(o *pb.AlarmMember) bool {
			return o.MemberID == member && o.Alarm == one.Alarm
		}) {
			list = append(list, one)
		}
	}
	return list
}

// disarmCompared disarms what says that a member holds something else than others, and what a client raised beside it.
// The last one waits for other regions, for all.
func (s *maintenanceServer) disarmCompared(ctx context.Context, who asker, r *pb.AlarmRequest) (
	response *pb.AlarmResponse, err error,
) {
	if _, err := demanded(ctx, s.API, &who); err != nil {
		return nil, err
	}
	for _, kind := range []pb.AlarmType{command.AlarmDiffers, command.AlarmUnsure, pb.AlarmType_CORRUPT} {
		one := &pb.AlarmRequest{Action: r.Action, MemberID: r.MemberID, Alarm: kind}
		who.local = kind != pb.AlarmType_CORRUPT
		response, err = write(ctx, s.API, who, command.EncodeAlarm(one), command.DecodeAlarmResult)
		if err != nil {
			return nil, err
		}
	}
	response.Alarms = []*pb.AlarmMember{{MemberID: r.MemberID, Alarm: r.Alarm}}
	return response, nil
}

// RaiseNoSpace raises the alarm of this node for the fleet: no node takes writes that need space until it is disarmed.
// It may be called again.
func (a *API) RaiseNoSpace(ctx context.Context) error {
	raise := &pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, MemberID: a.recentHealth().RaftID, Alarm: pb.AlarmType_NOSPACE,
	}
	c := command.EncodeAlarm(raise)
	if a.store.Auth().Enabled() { // else nodes of before are to understand it
		c = command.EncodeOwn(c)
	}
	if _, err := propose(ctx, a, &asker{own: true}, demand{}, c, command.DecodeAlarmResult); err != nil {
		return fmt.Errorf("raise the alarm: %w", err)
	}
	return nil
}

// NoSpaceRaised reports whether the alarm of this node is raised, as far as is applied here.
func (a *API) NoSpaceRaised() bool {
	self := a.recentHealth().RaftID
	return slices.ContainsFunc(a.store.Alarms(), func(one *pb.AlarmMember) bool {
		return one.Alarm == pb.AlarmType_NOSPACE && one.MemberID == self
	})
}

// What refuses writes: that somebody says that the data are corrupt refuses all, and that any node of the fleet has no
// space those that need some.
var (
	againstAll   = []pb.AlarmType{pb.AlarmType_CORRUPT}
	againstSpace = []pb.AlarmType{pb.AlarmType_CORRUPT, pb.AlarmType_NOSPACE}
)

// checkAlarms refuses a write while an alarm of these kinds is raised. Only whoever proposes asks: what was proposed is
// applied everywhere, alarm or not. A refusal counts only after a barrier: the alarm may be disarmed, that acknowledged
// elsewhere, and not applied here yet. Where a region shows its history late an alarm stands until it shows that.
func (a *API) checkAlarms(ctx context.Context, kinds []pb.AlarmType) error {
	if refusal(a.store, kinds) == nil {
		return nil
	}
	if err := barrierUnlessLate(ctx, a); err != nil {
		return err
	}
	if err := refusal(a.store, kinds); err != nil {
		return a.statusOf(ctx, err)
	}
	return nil
}

// refusal is what the first alarm of these kinds refuses a write with, as far as is applied here.
func refusal(s *kv.Store, kinds []pb.AlarmType) error {
	for _, kind := range kinds {
		switch {
		case !raised(s, kind):
		case kind == pb.AlarmType_CORRUPT:
			return rpctypes.ErrGRPCCorrupt
		default:
			return command.ErrNoSpace
		}
	}
	return nil
}

func raised(s *kv.Store, kind pb.AlarmType) bool {
	return slices.ContainsFunc(s.Alarms(), func(one *pb.AlarmMember) bool { return one.Alarm == kind })
}

// differs reports whether an alarm says that this node holds something else than its region.
func (a *API) differs() bool {
	return kv.Raised(a.store, command.AlarmDiffers, a.recentHealth().RaftID)
}

// alarmed names an alarm that is raised and not among those to leave out, for /health. One that says that a node
// differs is that of this node alone: the others go on without it.
func (a *API) alarmed(leaveOut []string) string {
	if corrupt := pb.AlarmType_CORRUPT.String(); a.differs() && !slices.Contains(leaveOut, corrupt) {
		return "ALARM " + corrupt
	}
	for _, one := range a.store.Alarms() {
		if name := one.Alarm.String(); !slices.Contains(leaveOut, name) {
			return "ALARM " + name
		}
	}
	return ""
}
