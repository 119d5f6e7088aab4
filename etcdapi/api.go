package etcdapi

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// Replicator is what this package needs of replication.MultiRegionReplicator.
type Replicator interface {
	Propose(
		ctx context.Context, cs []*replication.Command, opts ...replication.ProposeOption,
	) (*replication.Receipt, error)
	ReadBarrier(ctx context.Context, l replication.Level) error
	BeginRead(ctx context.Context) (end func(ctx context.Context) error, err error)
	ReadWithin(ctx context.Context, age time.Duration) error
	Ask(ctx context.Context, request []byte) ([]byte, error)
	Understood(ctx context.Context, command []byte) error
	Decided(command []byte) bool
	Health() *replication.HealthStatus
	TransferLeader(ctx context.Context, to uint64) error
	Members(ctx context.Context) ([]replication.NodeStatus, error)
	OtherMembers() []replication.NodeStatus
	AddMember(ctx context.Context, name, peerAddr string, learner bool) (replication.NodeStatus, error)
	RemoveMember(ctx context.Context, id uint64) error
	PromoteMember(ctx context.Context, id uint64) error
	UpdateMember(ctx context.Context, id uint64, peerAddr string) error
}

// Options are what an API is made of. Store, Lessor and Replicator must be set.
type Options struct {
	Store      *kv.Store
	Lessor     *lease.Lessor
	Replicator Replicator
	// ClusterID is sent in every response, and must be the same on all nodes of a fleet: clients take a change for
	// another cluster.
	ClusterID uint64
	// Version is the etcd version whose API is spoken. Default: that of the linked API module.
	Version string
	Limits  Limits
	// AllRegions lists the nodes of the other regions among the members too, so that clients which ask for the members
	// know where to go when a region is lost.
	AllRegions bool
	// PeerTLS says that nodes reach each other by TLS, which shows in the addresses of members.
	PeerTLS bool
	// QuotaBytes is told to whoever asks for the status; 0 if there is none. Who keeps it raises the alarm by itself.
	// May be nil.
	QuotaBytes func() int64
	// Tokens are those by which clients say who they are. Default: simple ones.
	Tokens token.Tokens
	// CommonNames has clients without a token be known by the common name of their certificate. All of them must have
	// one.
	CommonNames bool
	// FailureRest bounds for how long nobody logs in from an address from which a wrong password came: else it is nine
	// times as long as its hash took. Default DefaultFailureRest; negative: for no time at all.
	FailureRest time.Duration
	// BcryptCost is what hashing a password costs, 4 to 31. Default: that of bcrypt, 10.
	BcryptCost int
	// Operator says of a request that Unary or Stream let in whether a rule of the node, outside of users and roles,
	// makes whoever asks an operator: he may do then what root may beside keys. May be nil.
	Operator func(ctx context.Context) bool
	// Rules reports whether such a rule is in use: then nobody else is an operator where users and roles are not
	// enabled. May be nil: none is.
	Rules func() bool
	// SnapshotNote returns what a snapshot that begins says of itself, at most 64 KiB. May be nil.
	SnapshotNote func() []byte
	// Clock is the node's clock. Default: the machine's.
	Clock clock.Clock
	// Logger receives one event a line. Default: slog.Default().
	Logger *slog.Logger
	// Unary and Stream stand before every request, over gRPC and through the JSON gateway; there its context has what
	// the context of the HTTP request had. May be nil.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
	// Ends returns what ends a request over gRPC, of whose context it is told, with whatever of its answer waits for
	// its client; nil where nothing does. That may be called at any time, and keeps nothing alive of what gRPC has. May
	// be nil: what is left unread lies there until its connection ends.
	Ends func(ctx context.Context) (end func())
	// Traffic counts the bytes of clients. May be nil.
	Traffic *Traffic
	// OnCheck is told of every check of health that was made over HTTP: of which page, "health", "livez" or "readyz",
	// which check, "" where the page has but one, and whether it was passed. May be nil, must not block.
	OnCheck func(page, check string, passed bool)
	// OnDurable is told of every write of a client that asked for other regions, when it ends: how, which is regions,
	// quorum or all; what came of it, DurableHad, DurableLate if it is written and was not there in time,
	// DurableRefused if nothing was written since that cannot be had, or DurableFailed, for any other reason; and how
	// long that took. May be nil, must not block.
	OnDurable func(durability, outcome string, took time.Duration)
}

// API is the etcd API of one node. It is safe for concurrent use.
type API struct {
	store      *kv.Store
	lessor     *lease.Lessor
	replicator Replicator
	clusterID  uint64
	version    string
	limits     inForce
	allRegions bool
	peerTLS    bool
	quota      func() int64
	clock      clock.Clock

	snapshotNote func() []byte
	logger       *slog.Logger

	*guard
	passwords  *passwords
	bcryptCost int

	answers  *answers
	messages *answers // of streams
	signs    *answers // of streams by which clients and this node tell each other that they are there
	effects  atomic.Pointer[effects]
	renewals *renewals
	watching watching
	health   atomic.Pointer[healthPicture]

	defragmenting chan struct{} // has room for one

	gatewayRequests gatewayRequests
	traffic         *Traffic
	onCheck         func(page, check string, passed bool)

	durables  durables
	onDurable func(durability, outcome string, took time.Duration)

	unary  []grpc.UnaryServerInterceptor // before those of the API itself
	stream []grpc.StreamServerInterceptor
}

// New returns an API. It starts nothing.
func New(o Options) *API {
	a := &API{
		store:      o.Store,
		lessor:     o.Lessor,
		replicator: o.Replicator,
		clusterID:  o.ClusterID,
		version:    cmp.Or(o.Version, version.Version),
		allRegions: o.AllRegions, snapshotNote: o.SnapshotNote,
		peerTLS:    o.PeerTLS,
		quota:      o.QuotaBytes,
		clock:      o.Clock,
		logger:     cmp.Or(o.Logger, slog.Default()),
		bcryptCost: cmp.Or(o.BcryptCost, bcrypt.DefaultCost),
		traffic:    cmp.Or(o.Traffic, new(Traffic)),
		onCheck:    o.OnCheck,
	}
	if a.onCheck == nil {
		a.onCheck = func(string, string, bool) {}
	}
	if a.onDurable = o.OnDurable; a.onDurable == nil {
		a.onDurable = func(string, string, time.Duration) {}
	}
	if a.clock == nil {
		a.clock = clock.Real
	}
	a.guard = &guard{
		store: a.store, tokens: o.Tokens, commonNames: o.CommonNames, clock: a.clock, barrier: a.barrier,
		statusOf: a.statusOf, replicator: o.Replicator, operator: o.Operator, rules: o.Rules,
		logger: a.logger, orderPatience: loginPatience,
	}
	if a.tokens == nil {
		a.tokens = token.NewSimple(token.DefaultTTL, a.clock)
	}
	a.passwords = newPasswords(a.clock, a.logger, cmp.Or(o.FailureRest, DefaultFailureRest))
	a.answers, a.messages, a.signs = newAnswers(0), newAnswers(0), newAnswers(0)
	a.answers.ends, a.messages.ends, a.signs.ends = o.Ends, o.Ends, o.Ends
	a.SetLimits(o.Limits)
	a.renewals = newRenewals(a, a.clock)
	a.defragmenting = make(chan struct{}, 1)
	if o.Unary != nil {
		a.unary = append(a.unary, a.gatewayRequests.carryUnary, o.Unary)
	}
	if o.Stream != nil {
		a.stream = append(a.stream, a.gatewayRequests.carryStream, o.Stream)
	}
	return a
}

// ServerOptions returns what the grpc.Server of Register must be made with: message limits, and the checks that streams
// and requests of clients which require a leader need.
func (a *API) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec(a.traffic)),
		grpc.MaxRecvMsgSize(a.limits.now().RequestBytes + requestOverheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(uint32(a.limits.now().Streams)),
		grpc.ChainUnaryInterceptor(append(a.unary, a.unaryInterceptor)...),
		grpc.ChainStreamInterceptor(append(a.stream, a.streamInterceptor)...),
	}
}

// Register adds all services to s.
func (a *API) Register(s *grpc.Server) {
	pb.RegisterKVServer(s, &kvServer{API: a})
	pb.RegisterWatchServer(s, &watchServer{API: a})
	pb.RegisterLeaseServer(s, &leaseServer{API: a})
	pb.RegisterClusterServer(s, a.Cluster())
	pb.RegisterMaintenanceServer(s, &maintenanceServer{API: a})
	pb.RegisterAuthServer(s, &authServer{API: a})
	v3lockpb.RegisterLockServer(s, &lockServer{kv: &kvServer{API: a}})
	v3electionpb.RegisterElectionServer(s, &electionServer{kv: &kvServer{API: a}})
	healthpb.RegisterHealthServer(s, &healthServer{API: a})
	follow.Register(s, &followServer{API: a})
}

// barrier returns once a local read is linearizable.
func (a *API) barrier(ctx context.Context) error { return a.fresh(ctx, replication.Linearizable) }

// fresh returns once a local read is as fresh as l asks.
func (a *API) fresh(ctx context.Context, l replication.Level) error {
	bounded, cancel := context.WithTimeout(ctx, a.patience())
	defer cancel()
	if err := a.replicator.ReadBarrier(bounded, l); err != nil {
		return a.statusOf(ctx, err)
	}
	return nil
}

// header returns a response header for what was read or written at revision.
func (a *API) header(revision int64) *pb.ResponseHeader {
	h := &pb.ResponseHeader{}
	a.fill(h)
	h.Revision = revision
	return h
}

// fill sets everything of h but the revision.
func (a *API) fill(h *pb.ResponseHeader) {
	picture := a.recentHealth()
	h.ClusterId, h.MemberId, h.RaftTerm = a.clusterID, picture.RaftID, picture.Term
}
