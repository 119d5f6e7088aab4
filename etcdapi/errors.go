package etcdapi

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// statuses says what clients are told for the errors of the rooms below. The first match counts.
//
// Every Unavailable is retried by clientv3 for reads only. For a write it is handed to the caller, so that
// ErrUnknownOutcome can be Unavailable, as the timeouts of etcd are, without a write ever being applied twice.
var statuses = []struct{ from, to error }{
	{command.ErrCompacted, rpctypes.ErrGRPCCompacted},
	{command.ErrFutureRevision, rpctypes.ErrGRPCFutureRev},
	{command.ErrKeyNotFound, rpctypes.ErrGRPCKeyNotFound},
	{command.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound},
	{command.ErrLeaseExists, rpctypes.ErrGRPCLeaseExist},
	{command.ErrLeaseTTLTooLarge, rpctypes.ErrGRPCLeaseTTLTooLarge},
	{command.ErrEffectTooLarge, status.Error(codes.InvalidArgument, effectAdvice)},
	{command.ErrNoSpace, rpctypes.ErrGRPCNoSpace},
	{command.ErrFollows, errFollows},
	{command.ErrFollowsNot, errFollowsNot},
	{command.ErrParted, errParted},
	{command.ErrEmptyKey, rpctypes.ErrGRPCEmptyKey},
	{command.ErrValueProvided, rpctypes.ErrGRPCValueProvided},
	{command.ErrLeaseProvided, rpctypes.ErrGRPCLeaseProvided},
	{command.ErrTooManyOps, rpctypes.ErrGRPCTooManyOps},
	{command.ErrDuplicateKey, rpctypes.ErrGRPCDuplicateKey},
	{command.ErrInvalidSortOption, rpctypes.ErrGRPCInvalidSortOption},
	{command.ErrRootUserNotExist, rpctypes.ErrGRPCRootUserNotExist},
	{command.ErrRootRoleNotExist, rpctypes.ErrGRPCRootRoleNotExist},
	{command.ErrUserAlreadyExist, rpctypes.ErrGRPCUserAlreadyExist},
	{command.ErrUserEmpty, rpctypes.ErrGRPCUserEmpty},
	{command.ErrUserNotFound, rpctypes.ErrGRPCUserNotFound},
	{command.ErrRoleAlreadyExist, rpctypes.ErrGRPCRoleAlreadyExist},
	{command.ErrRoleNotFound, rpctypes.ErrGRPCRoleNotFound},
	{command.ErrRoleEmpty, rpctypes.ErrGRPCRoleEmpty},
	{command.ErrAuthFailed, rpctypes.ErrGRPCAuthFailed},
	{command.ErrPermissionNotGiven, rpctypes.ErrGRPCPermissionNotGiven},
	{command.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied},
	{command.ErrRoleNotGranted, rpctypes.ErrGRPCRoleNotGranted},
	{command.ErrPermissionNotGranted, rpctypes.ErrGRPCPermissionNotGranted},
	{command.ErrAuthNotEnabled, rpctypes.ErrGRPCAuthNotEnabled},
	{command.ErrInvalidAuthToken, rpctypes.ErrGRPCInvalidAuthToken},
	{command.ErrInvalidAuthMgmt, rpctypes.ErrGRPCInvalidAuthMgmt},
	{command.ErrAuthOldRevision, rpctypes.ErrGRPCAuthOldRevision},
	// etcd has no code for this one.
	{command.ErrNoPasswordUser, status.Error(codes.Unknown,
		"auth: authentication failed, password was given for no password user")},
	{command.ErrTooManyUsers, status.Error(codes.ResourceExhausted,
		"mimir: users, roles and their permissions would be too many: delete some first")},
	{lease.ErrNotLessor, rpctypes.ErrGRPCLeaderChanged},
	{mvcc.ErrCorrupt, rpctypes.ErrGRPCCorrupt},
	{kv.ErrClosed, rpctypes.ErrGRPCStopped},

	{replication.ErrTooLarge, rpctypes.ErrGRPCRequestTooLarge},
	{replication.ErrUnknownOutcome, rpctypes.ErrGRPCTimeoutDueToLeaderFail},
	// It is written, and may be lost with its region: nobody is told that it is done.
	{replication.ErrUnderReplicated, rpctypes.ErrGRPCTimeoutDueToLeaderFail},
	{replication.ErrNotReady, rpctypes.ErrGRPCNoLeader},
	{replication.ErrNotLeader, rpctypes.ErrGRPCNotLeader},
	{replication.ErrClosed, rpctypes.ErrGRPCStopped},
	{replication.ErrStopped, rpctypes.ErrGRPCStopped},
	{replication.ErrDiverged, rpctypes.ErrGRPCUnhealthy},
	{replication.ErrUnhealthy, rpctypes.ErrGRPCUnhealthy},
	{replication.ErrRemoved, errNameUsed},
	{replication.ErrLearnerBehind, rpctypes.ErrGRPCLearnerNotReady},
	// What the leader found wrong with it is for the call to say: see refusal.
	{replication.ErrMember, errImpossibleChange},
	// The leader that was asked is one no longer, or not yet.
	{replication.ErrRejected, rpctypes.ErrGRPCLeaderChanged},

	// The request's own deadline or cancellation is told first, so what is left is RequestTimeout.
	{context.DeadlineExceeded, rpctypes.ErrGRPCTimeout},
	{context.Canceled, rpctypes.ErrGRPCCanceled},
}

// statusOf returns the gRPC status for err of a call made on behalf of the request whose context is ctx.
func (a *API) statusOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return status.FromContextError(ended).Err()
	}
	if errors.Is(err, replication.ErrLagging) { // as too many requests, which clients do not try again by themselves
		return status.Error(codes.ResourceExhausted, "etcdserver: "+err.Error())
	}
	if errors.Is(err, replication.ErrDelayed) { // no Unavailable: it would be tried again for as long as the delay
		return status.Error(codes.FailedPrecondition, "etcdserver: "+err.Error())
	}
	for _, s := range statuses {
		if errors.Is(err, s.from) {
			return s.to
		}
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	a.logger.ErrorContext(ctx, "request failed in a way that clients cannot tell apart", "err", err)
	return status.Error(codes.Unknown, err.Error())
}
