package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/patrol"
	"github.com/mimir-kv/mimir/server/verify"
)

// besideWait is how long a node that is asked what it holds at a position waits for that. One that is later says so.
const besideWait = 3 * time.Second

// alarmTime is how long an alarm waits for the primary. Who took the state of a sibling is told so without one, too.
const alarmTime = 10 * time.Second

// equality is a node's part in comparing what all nodes hold: as one that asks, as one that is asked, and as one that
// was found to differ.
type equality struct {
	server   *server // whose replicator is there before anything is asked
	config   *Config
	store    *kv.Store
	member   uint64 // this node's Raft identity
	answerer *patrol.Answerer
	patrol   *patrol.Patrol
	propose  func(context.Context, []*replication.Command, ...replication.ProposeOption) (*replication.Receipt, error)
	rebuilds atomic.Bool // until the alarms about this node are gone with what it held
}

// newEquality returns that of a node that is being built, and has it asked.
func newEquality(s *server, node *replication.Config) *equality {
	c := s.config
	e := &equality{
		server: s, config: c, store: s.store,
		member: replication.MemberID(c.Replication.RegionID, c.Replication.NodeID),
	}
	e.propose = func(
		ctx context.Context, c []*replication.Command, opts ...replication.ProposeOption,
	) (*replication.Receipt, error) {
		return s.replicator.Propose(ctx, c, opts...)
	}
	e.answerer = patrol.NewAnswerer(patrol.AnswererConfig{
		Store: savedStates{s.store, s.disk.storeFS(), s.logger}, Stand: e.stand, Beside: e.beside,
		BytesPerSecond: c.Compare.BytesPerSecond, Clock: clock.Real,
	})
	e.patrol = patrol.New(patrol.Config{
		Every: c.Compare.Every, BytesPerSecond: c.Compare.BytesPerSecond,
		Tenure:  func() replication.Tenure { return e.server.replicator.Tenure() },
		Members: e.members, Unheard: e.unheard, Ask: e.ask, Raise: e.raise,
		History: func() string { return historyIn(e.store) },
		Aside:   func(m patrol.Member) bool { return kv.Raised(e.store, command.AlarmDiffers, m.ID) },
		Clock:   clock.Real, Logger: s.logger,
	})
	node.Differs = func(member uint64) bool { return kv.Raised(e.store, command.AlarmDiffers, member) }
	node.OnAskNode = e.answerer.Answer
	return e
}

// beside sums what this node's store holds beside its keys, once it holds a position.
func (e *equality) beside(ctx context.Context, w *verify.Wait) (*verify.Beside, error) {
	waiting, cancel := context.WithTimeout(ctx, besideWait)
	_ = e.server.replicator.WaitPosition(waiting, replication.Position(w.At)) // who is late tells what he has
	cancel()
	b, err := kv.DigestBeside(ctx, e.store)
	if err != nil {
		return nil, err
	}
	return &verify.Beside{
		Node: e.config.Replication.NodeID, Epoch: uint64(b.Epoch), Since: uint64(b.Since), At: uint64(b.At),
		Leases: b.Leases, LeaseSum: b.LeaseSum[:], UserSum: b.UserSum[:], AlarmSum: b.AlarmSum[:],
		Revision: b.Revision, Compact: b.Compact, Settled: uint64(b.Settled),
	}, nil
}

// differs reports whether this node is known to hold something else than its region.
func (e *equality) differs() bool { return kv.Raised(e.store, command.AlarmDiffers, e.member) }

// stand says where this node's store stands, or why it cannot be compared.
func (e *equality) stand() (verify.Standing, error) {
	if e.rebuilds.Load() {
		return verify.Standing{}, errors.New("it is being rebuilt")
	}
	history := historyIn(e.store)
	if history == "" { // else all others were compared as far as this, and no further
		return verify.Standing{}, errors.New("it has nothing of the history yet")
	}
	h := e.server.replicator.Health()
	if h.Role == replication.RoleDiverged {
		return verify.Standing{}, errors.New("its region has what a failover cut off")
	}
	return verify.Standing{
		Name: e.config.Replication.NodeID, Revision: e.store.Revision(), Compact: e.store.CompactRevision(),
		Position: uint64(h.Position), History: history,
	}, nil
}

// members returns all nodes of the fleet, this one too, as far as they are known.
func (e *equality) members() (list []patrol.Member) {
	r := &e.config.Replication
	list = append(list, patrol.Member{Name: r.NodeID, Region: r.RegionID, Addr: r.PeerAddr, ID: e.member})
	for _, n := range append(slices.Clone(e.server.replicator.Health().Nodes), e.server.replicator.OtherMembers()...) {
		if n.Region == r.RegionID && n.Name == r.NodeID {
			list[0].Voter = !n.Learner
		} else if n.Name != "" && !n.Expected && n.PeerAddr != "" {
			list = append(list, patrol.Member{Name: n.Name, Region: n.Region, Addr: n.PeerAddr, ID: n.ID,
				Voter: !n.Learner})
		}
	}
	return list
}

// unheard returns the other regions of which no node is known: none was heard since this node started.
func (e *equality) unheard() (list []string) {
	known := e.server.replicator.OtherMembers()
	for _, p := range e.server.replicator.Health().Peers {
		if !slices.ContainsFunc(known, func(n replication.NodeStatus) bool { return n.Region == p.ID }) {
			list = append(list, p.ID)
		}
	}
	return list
}

// askNode is how nodes are asked: over the connections that they have anyhow.
func (e *equality) ask(ctx context.Context, addr string, request []byte) ([]byte, error) {
	answer, err := e.server.replicator.AskNode(ctx, addr, request)
	if errors.Is(err, replication.ErrRejected) {
		return nil, fmt.Errorf("%w: %w", patrol.ErrUnknown, err)
	}
	return answer, err
}

// raise raises the alarms of nodes that were found to differ in a tenure, in the history, so that all nodes know them.
// In any other tenure that is void: who was found may have been rebuilt since.
func (e *equality) raise(ctx context.Context, in replication.Tenure, wrong, unsure []patrol.Member) error {
	for _, one := range []struct {
		kind    pb.AlarmType
		members []patrol.Member
	}{{command.AlarmDiffers, wrong}, {command.AlarmUnsure, unsure}} {
		for _, m := range one.members {
			if kv.Raised(e.store, one.kind, m.ID) {
				continue
			}
			err := e.setAlarm(ctx, pb.AlarmRequest_ACTIVATE, one.kind, m.ID, replication.WithinTenure(in))
			if err != nil {
				return fmt.Errorf("raise the alarm about %s: %w", m.Name, err)
			}
		}
	}
	return nil
}

// setAlarm has the fleet agree, within alarmTime, that an alarm is raised, or not any more.
func (e *equality) setAlarm(
	ctx context.Context, to pb.AlarmRequest_AlarmAction, kind pb.AlarmType, of uint64,
	opts ...replication.ProposeOption,
) error {
	c := command.EncodeAlarm(&pb.AlarmRequest{Action: to, Alarm: kind, MemberID: of})
	if e.store.Auth().Enabled() { // else nodes of before are to understand it
		c = command.EncodeOwn(c)
	}
	ctx, cancel := context.WithTimeout(ctx, alarmTime)
	defer cancel()
	receipt, err := e.propose(ctx, []*replication.Command{{Data: c}}, opts...)
	if err != nil {
		return err
	}
	_, err = command.DecodeAlarmResult(receipt.Results[0])
	return err
}

// rebuild has this node take the state of a sibling, and the alarms about it disarmed. It returns where what it held is
// kept.
func (e *equality) rebuild(ctx context.Context) (kept string, err error) {
	if e.rebuilds.Swap(true) {
		return "", fmt.Errorf("%w: a rebuild is under way", replication.ErrNotReady)
	}
	defer e.rebuilds.Store(false)
	if kept, err = e.server.replicator.Rebuild(ctx); err != nil {
		return "", err
	}
	return kept, e.disarm(ctx, kept)
}

// disarm has the alarms about this node gone, since it has the state of a sibling.
func (e *equality) disarm(ctx context.Context, kept string) error {
	// What is raised may not be here yet.
	for _, kind := range []pb.AlarmType{command.AlarmDiffers, command.AlarmUnsure} {
		if err := e.setAlarm(ctx, pb.AlarmRequest_DEACTIVATE, kind, e.member); err != nil {
			return fmt.Errorf("the state of a sibling is here, what was here is in %s, and the alarm may still be "+
				"raised: %w", kept, err)
		}
	}
	return nil
}

// errDiffers is what clients are told by a node that differs: it is for them to go to another one.
var errDiffers = status.Error(codes.Unavailable,
	"mimir: this node holds something else than its region, and answers nothing that it holds: see mimir status")

// errNoSnapshot is the same for a snapshot, which clients would ask of the same node for ever.
var errNoSnapshot = status.Error(codes.DataLoss,
	"mimir: this node holds something else than its region, and gives no snapshot of it: take it from another one")

const snapshotMethod = "/etcdserverpb.Maintenance/Snapshot"

// refused reports whether a method is not answered by a node that differs: what reads what it holds. Who operates it is
// served on.
func refused(method string) bool {
	for _, prefix := range []string{
		"/etcdserverpb.KV/", "/etcdserverpb.Watch/", "/etcdserverpb.Lease/", snapshotMethod,
		partial.Method, "/v3lockpb.", "/v3electionpb.",
		"/etcdserverpb.Auth/AuthStatus", // by which partial regions know how far the fleet is
	} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

// unary refuses what a node that differs does not answer, behind what next refuses.
func (e *equality) unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, r any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if !refused(info.FullMethod) {
			return next(ctx, r, info, handle)
		}
		return next(ctx, r, info, func(ctx context.Context, r any) (any, error) {
			if e.differs() {
				return nil, errDiffers
			}
			answer, err := handle(ctx, r)
			if err == nil && e.differs() { // it may have been read since
				return nil, errDiffers
			}
			return answer, err
		})
	}
}

// stream does the same for streams, also for those that are open when it is found out.
func (e *equality) stream(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if !refused(info.FullMethod) {
			return next(srv, ss, info, handle)
		}
		return next(srv, ss, info, func(srv any, ss grpc.ServerStream) error {
			switch {
			case e.differs() && info.FullMethod == snapshotMethod:
				return errNoSnapshot
			case e.differs():
				return errDiffers
			}
			return handle(srv, &soundStream{ss, e})
		})
	}
}

// soundStream sends nothing once the node is known to differ.
type soundStream struct {
	grpc.ServerStream
	equality *equality
}

// SendMsg implements grpc.ServerStream.
func (s *soundStream) SendMsg(m any) error {
	if s.equality.differs() {
		return errDiffers
	}
	return s.ServerStream.SendMsg(m)
}

// alarms are those that say that nodes differ, for mimir status.
func (e *equality) alarms() (list []admin.Alarm) {
	for kind, name := range map[pb.AlarmType]string{
		command.AlarmDiffers: admin.Differs, command.AlarmUnsure: admin.Unsure,
	} {
		for _, member := range kv.Members(e.store, kind) {
			list = append(list, admin.Alarm{Kind: name, Member: member})
		}
	}
	slices.SortFunc(list, func(a, b admin.Alarm) int { return strings.Compare(a.Kind, b.Kind) })
	return list
}
