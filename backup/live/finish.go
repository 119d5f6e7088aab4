package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/kv/command"
)

// FinishOptions are how a fleet is opened.
type FinishOptions struct {
	// Fence has the etcd refuse all writes, by the alarm CORRUPT (ErrAlarm if it is raised already). It stays if the
	// fleet was opened, or may have been; else it is taken back.
	Fence bool
	// Verified is a revision at which the contents were found equal before, so that what was changed since is to be
	// compared. 0: everything is.
	Verified int64
	// Patience is how long the fleet may take to have all that the etcd has. Default DefaultPatience.
	Patience time.Duration
	// Told is told of each step. May be nil.
	Told func(step string)
}

// DefaultPatience is the default of FinishOptions.Patience.
const DefaultPatience = 30 * time.Second

// lookEvery is how often the two are compared while one waits for the other.
const lookEvery = 50 * time.Millisecond

// Finish opens a fleet, which somebody else has follow the etcd, to clients: if it has all that the etcd has, and the
// etcd is not written meanwhile (ErrWrites). On an error it is not opened, if the error does not say that this is not
// known.
func Finish(ctx context.Context, etcd, fleet sides.Side, o FinishOptions) (c Compared, err error) {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	if o.Told == nil {
		o.Told = func(string) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bounded := time.AfterFunc(applyTime, cancel)
	node, state, err := follow.Open(ctx, fleet.Conn)
	if bounded.Stop(); err != nil {
		return c, fmt.Errorf("%s: %w", fleet.Name, err)
	}
	if !state.Follows {
		return c, fmt.Errorf("%w: it was opened already, or not made by mimir import --follow", ErrFollowsNot)
	}
	opened := false
	if o.Fence {
		lift, err := fence(ctx, etcd)
		if err != nil {
			return c, err
		}
		o.Told("the etcd takes no writes now")
		defer func() {
			if !opened {
				err = errors.Join(err, lift())
			}
		}()
	}
	at, err := settle(ctx, etcd, fleet, o.Patience)
	if err != nil {
		return c, err
	}
	o.Told(fmt.Sprintf("all of the etcd's revision %d is here", at))
	if c, err = Verify(ctx, etcd, fleet, VerifyOptions{Revision: at, Verified: o.Verified}); err != nil {
		return c, err
	}
	now, err := etcd.Header(ctx)
	if err != nil {
		return c, err
	}
	if now.Revision != at {
		return c, fmt.Errorf("%w: it was at revision %d, and is at %d: stop its writers, or use --fence", ErrWrites, at,
			now.Revision)
	}
	defer time.AfterFunc(applyTime, cancel).Stop()
	opened, err = open(ctx, node, fleet, at)
	return c, err
}

// open opens the fleet at a revision, and reports whether it did, or may have.
func open(ctx context.Context, node *follow.Node, fleet sides.Side, at int64) (opened bool, err error) {
	state, err := node.Apply(follow.AppendCommand(nil, command.EncodeFollowed(at, command.EncodeOpening())))
	switch {
	case err != nil && isRefused(err) && followsYet(ctx, fleet):
		return false, fmt.Errorf("the fleet was not opened: %w", err)
	case err != nil:
		return true, fmt.Errorf("it is not known whether the fleet was opened: %w", err)
	case state.Follows:
		return true, errors.New("it is not known whether the fleet was opened: it says that it follows yet")
	}
	_ = node.Close() // the fleet is open, whatever becomes of the stream
	return true, nil
}

// isRefused reports whether a node said that the fleet has decided against a batch.
func isRefused(err error) bool {
	switch status.Code(err) {
	case codes.Aborted, codes.FailedPrecondition:
		return true
	}
	return false
}

// followsYet reports whether a fleet is known not to be opened, by anybody: what opens it is said to be refused also
// where somebody else was faster.
func followsYet(ctx context.Context, fleet sides.Side) bool {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	_, state, err := follow.Open(ctx, fleet.Conn)
	return err == nil && state.Follows
}

// settle waits until the fleet has the revision of the etcd, and its leases.
func settle(ctx context.Context, etcd, fleet sides.Side, patience time.Duration) (at int64, err error) {
	for end := time.Now().Add(patience); ; {
		theirs, err := etcd.Header(ctx)
		if err != nil {
			return 0, err
		}
		ours, err := fleet.Header(ctx)
		if err != nil {
			return 0, err
		}
		switch {
		case ours.Revision > theirs.Revision: // it was written between the two
		case ours.Revision < theirs.Revision:
			err = fmt.Errorf("the fleet is at revision %d, and the etcd at %d: is mimir import follow running, and "+
				"does nobody write to the etcd?", ours.Revision, theirs.Revision)
		default:
			if _, err = Leases(ctx, etcd, fleet); err == nil {
				return ours.Revision, nil
			}
		}
		if time.Now().After(end) {
			return 0, errors.Join(fmt.Errorf("not after %v", patience), err)
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// fence has an etcd refuse all writes, and returns what takes that back. An alarm that somebody else has raised is not
// ours to take back: ErrAlarm.
func fence(ctx context.Context, etcd sides.Side) (lift func() error, err error) {
	h, err := etcd.Header(ctx)
	if err != nil {
		return nil, err
	}
	alarm := func(ctx context.Context, action pb.AlarmRequest_AlarmAction, member uint64) (*pb.AlarmResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
		defer cancel()
		return pb.NewMaintenanceClient(etcd.Conn).Alarm(ctx,
			&pb.AlarmRequest{Action: action, MemberID: member, Alarm: pb.AlarmType_CORRUPT})
	}
	raised, err := alarm(ctx, pb.AlarmRequest_GET, 0)
	if err != nil {
		return nil, fmt.Errorf("alarms of the etcd: %w", err)
	}
	for _, a := range raised.Alarms {
		if a.Alarm == pb.AlarmType_CORRUPT {
			return nil, fmt.Errorf("%w, by member %x", ErrAlarm, a.MemberID)
		}
	}
	lift = func() error {
		if _, err := alarm(context.WithoutCancel(ctx), pb.AlarmRequest_DEACTIVATE, h.MemberId); err != nil {
			return fmt.Errorf("the etcd still refuses writes, by the alarm CORRUPT: etcdctl alarm disarm: %w", err)
		}
		return nil
	}
	if _, err := alarm(ctx, pb.AlarmRequest_ACTIVATE, h.MemberId); err != nil {
		return nil, errors.Join(fmt.Errorf("alarm of the etcd: %w", err), lift())
	}
	return lift, nil
}
