package etcdapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// authServer is the Auth service. What changes something is a command, and checked again where it is applied.
type authServer struct {
	pb.UnimplementedAuthServer
	*API
}

// AuthEnable has requests say who asks from now on. What tokens are signed with is made here; where authentication is
// enabled already, it takes the place of what they were signed with before, once every node of the fleet knows of that.
func (s *authServer) AuthEnable(ctx context.Context, _ *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	who, err := s.changes(ctx)
	if err != nil {
		return nil, err
	}
	var why error
	if !who.tells {
		why = s.mayTellBasis(ctx)
	}
	if why != nil { // what is proposed then does nothing where authentication is enabled, and says so to nobody
		if err := s.mayEnable(ctx, why); err != nil {
			return nil, err
		}
	}
	r := command.AuthEnable{TokenKey: make([]byte, command.TokenKeyBytes), Renews: why == nil}
	rand.Read(r.TokenKey) //nolint:errcheck // it never fails
	return change(ctx, s.API, who, command.EncodeAuthEnable(r), new(pb.AuthEnableResponse))
}

// mayEnable returns nil where authentication is enabled nowhere yet: why it would not be made anew is no matter then.
func (s *authServer) mayEnable(ctx context.Context, why error) error {
	behind := s.barrier(ctx)
	switch {
	case s.store.Auth().Enabled():
		return notRenewed(why)
	case behind != nil:
		return s.statusOf(ctx, status.Errorf(status.Code(behind), "mimir: authentication may be enabled already, "+
			"which is not known here (%s), and what tokens are signed with would stay what it is then: %s",
			status.Convert(behind).Message(), why))
	}
	return nil
}

// notRenewed says why nothing was done where authentication is enabled: whoever asks relies on it that tokens end.
func notRenewed(why error) error {
	code := codes.Unavailable
	if errors.Is(why, replication.ErrOldNode) {
		code = codes.FailedPrecondition
	}
	return status.Errorf(code, "mimir: authentication is enabled, and what tokens are signed with stays what it is "+
		"until every node of the fleet says that it knows that it can be made anew: %s", why)
}

// AuthDisable lets everybody do everything.
func (s *authServer) AuthDisable(ctx context.Context, r *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthDisableResponse))
}

// UserAdd adds a user.
func (s *authServer) UserAdd(ctx context.Context, r *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	if !r.GetOptions().GetNoPassword() {
		hashed, err := s.hashed(ctx, r.Password)
		if err != nil {
			return nil, err
		}
		r.HashedPassword = hashed
	}
	r.Password = ""
	return changeBy(ctx, s.API, r, new(pb.AuthUserAddResponse))
}

// UserDelete deletes a user. His tokens end.
func (s *authServer) UserDelete(
	ctx context.Context, r *pb.AuthUserDeleteRequest,
) (*pb.AuthUserDeleteResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthUserDeleteResponse))
}

// UserChangePassword gives a user another password. His tokens end.
func (s *authServer) UserChangePassword(
	ctx context.Context, r *pb.AuthUserChangePasswordRequest,
) (*pb.AuthUserChangePasswordResponse, error) {
	if r.Password != "" {
		hashed, err := s.hashed(ctx, r.Password)
		if err != nil {
			return nil, err
		}
		r.HashedPassword, r.Password = hashed, ""
	} else if err := checkHash(r.HashedPassword); err != nil {
		return nil, err
	}
	return changeBy(ctx, s.API, r, new(pb.AuthUserChangePasswordResponse))
}

// MaxBcryptCost is what a hash costs at most: about a second of a processor, for each login of its user.
const MaxBcryptCost = 14

// checkHash refuses a hash that a client made, if it would take too long to compare a password with it.
func checkHash(hash string) error {
	text, err := base64.StdEncoding.DecodeString(hash)
	if err != nil {
		return nil // which is told where it is applied, as in etcd
	}
	if cost, err := bcrypt.Cost(text); err == nil && cost > MaxBcryptCost {
		return status.Errorf(codes.InvalidArgument, "mimir: a hash of a password has a cost of at most %d, not %d",
			MaxBcryptCost, cost)
	}
	return nil
}

// UserGrantRole gives a role to a user.
func (s *authServer) UserGrantRole(
	ctx context.Context, r *pb.AuthUserGrantRoleRequest,
) (*pb.AuthUserGrantRoleResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthUserGrantRoleResponse))
}

// UserRevokeRole takes a role from a user.
func (s *authServer) UserRevokeRole(
	ctx context.Context, r *pb.AuthUserRevokeRoleRequest,
) (*pb.AuthUserRevokeRoleResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthUserRevokeRoleResponse))
}

// RoleAdd adds a role.
func (s *authServer) RoleAdd(ctx context.Context, r *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthRoleAddResponse))
}

// RoleDelete deletes a role, and takes it from those who have it.
func (s *authServer) RoleDelete(
	ctx context.Context, r *pb.AuthRoleDeleteRequest,
) (*pb.AuthRoleDeleteResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthRoleDeleteResponse))
}

// RoleGrantPermission lets a role read or write a range of keys.
func (s *authServer) RoleGrantPermission(
	ctx context.Context, r *pb.AuthRoleGrantPermissionRequest,
) (*pb.AuthRoleGrantPermissionResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthRoleGrantPermissionResponse))
}

// RoleRevokePermission takes a permission from a role.
func (s *authServer) RoleRevokePermission(
	ctx context.Context, r *pb.AuthRoleRevokePermissionRequest,
) (*pb.AuthRoleRevokePermissionResponse, error) {
	return changeBy(ctx, s.API, r, new(pb.AuthRoleRevokePermissionResponse))
}

// changed is the response to a change of users or roles.
type changed interface {
	response
	proto.Message
}

// changeBy proposes a change of users or roles.
func changeBy[R changed](ctx context.Context, a *API, r proto.Message, into R) (none R, err error) {
	c, err := command.EncodeAuth(r)
	if err != nil {
		return none, status.Error(codes.InvalidArgument, "mimir: "+err.Error())
	}
	who, err := a.changes(ctx)
	if err != nil {
		return none, err
	}
	return change(ctx, a, who, c, into)
}

// change proposes a change of users or roles of somebody. A node that does not know of these would stop at it.
func change[R changed](ctx context.Context, a *API, who asker, c []byte, into R) (none R, err error) {
	bounded, cancel := context.WithTimeout(ctx, a.limits.now().RequestTimeout)
	defer cancel()
	if err := understood(bounded, a, c); err != nil {
		return none, a.statusOf(ctx, notUnderstood(err))
	}
	a.beginToTell(bounded, who.encode(c))
	return write(ctx, a, who, c, func(result []byte) (R, error) { return command.DecodeAuthResult(result, into) })
}

// understoodWithin is how long a change of users waits for who does not answer just now: an election is over by then.
// understoodEvery is how often it looks.
const understoodWithin, understoodEvery = 2 * time.Second, 100 * time.Millisecond

// understood returns nil once every node of the fleet says that it understands a command.
func understood(ctx context.Context, a *API, c []byte) error {
	late := a.clock.NewTimer(understoodWithin)
	defer late.Stop()
	again := a.clock.NewTicker(understoodEvery)
	defer again.Stop()
	for {
		err := a.replicator.Understood(ctx, c)
		if !errors.Is(err, replication.ErrNotReady) || errors.Is(err, replication.ErrOldNode) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-late.C():
			return err
		case <-again.C():
		}
	}
}

// notUnderstood says why a change of users or roles cannot be yet: for as long as nobody does something about it, or
// while somebody does not answer.
func notUnderstood(err error) error {
	switch {
	case !errors.Is(err, replication.ErrNotReady):
		return err
	case errors.Is(err, replication.ErrOldNode):
		return status.Error(codes.FailedPrecondition, "mimir: users and roles are for fleets of which every node "+
			"knows them: "+err.Error())
	}
	return status.Error(codes.Unavailable, "mimir: before users or roles are changed for the first time every node is "+
		"asked whether it knows them: "+err.Error())
}

// hashed returns the hash of a password in Base64, as it is stored. Only who is root by what is here has one made.
func (s *authServer) hashed(ctx context.Context, password string) (string, error) {
	if err := s.mayOperate(ctx); err != nil {
		return "", err
	}
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	var hash []byte
	err := s.passwords.hash(bounded, func() (err error) {
		hash, err = bcrypt.GenerateFromPassword([]byte(password), s.bcryptCost)
		return err
	})
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", status.Error(codes.Unknown, err.Error()) // as etcd
	} else if err != nil {
		return "", s.statusOf(ctx, err)
	}
	return base64.StdEncoding.EncodeToString(hash), nil
}

// loginPatience bounds for how long a login waits for what the primary has, and an order for that and then for what the
// primary says: clients wait five seconds for all of it.
const loginPatience = 2 * time.Second

// Authenticate gives a token to whoever knows the password of a user. The password is checked against what this node
// has, once that is what the primary has. Where the primary cannot be heard it is checked against what is here: else
// root could not log in to order a failover. A token says which password it was, and where that has been changed it
// does not count, nor does what is written with it: see asker. And nobody is refused by what may be old.
func (s *authServer) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	patient, enough := context.WithTimeout(ctx, loginPatience)
	behind := s.barrier(patient)
	enough()
	if behind != nil && ctx.Err() != nil {
		return nil, s.statusOf(ctx, ctx.Err())
	}
	response, err := s.login(ctx, r)
	if err == nil || behind == nil {
		return response, err
	}
	if status.Code(behind) == codes.DeadlineExceeded {
		behind = rpctypes.ErrGRPCNoLeader // it was the patience that ended
	}
	return nil, behind
}

// login is Authenticate by what is applied here.
func (s *authServer) login(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	bounded, cancel := context.WithTimeout(ctx, s.limits.now().RequestTimeout)
	defer cancel()
	for {
		now := s.store.Auth()
		revision, err := s.checkPassword(bounded, now, r)
		if err != nil {
			return nil, s.statusOf(ctx, err)
		}
		if s.store.Auth().Revision() != revision {
			continue // it may be another password by now
		}
		text, err := s.tokens.Assign(now, r.Name, revision)
		if errors.Is(err, token.ErrVerifyOnly) {
			return nil, status.Error(codes.Unknown, err.Error()) // as etcd
		} else if err != nil {
			return nil, s.statusOf(ctx, fmt.Errorf("token of a user: %w", err))
		}
		return &pb.AuthenticateResponse{Header: s.header(s.store.Revision()), Token: text}, nil
	}
}

// checkPassword takes as long for a user that there is not as for one that there is. What is wrong is told to the log.
func (s *authServer) checkPassword(
	ctx context.Context, now *auth.State, r *pb.AuthenticateRequest,
) (revision uint64, err error) {
	if !now.Enabled() {
		return 0, command.ErrAuthNotEnabled
	}
	wrong := func(err error) bool {
		return errors.Is(err, command.ErrAuthFailed) || errors.Is(err, command.ErrNoPasswordUser)
	}
	from := s.senderOf(ctx).connection
	err = s.passwords.check(ctx, from, r.Name, func() (err error) {
		revision, err = now.CheckPassword(r.Name, r.Password)
		return err
	}, wrong)
	if err != nil && wrong(err) {
		s.passwords.log(ctx, r.Name, from, err)
	}
	return revision, err
}
