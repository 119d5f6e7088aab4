package etcdapitest

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
)

// ClusterID is the cluster ID of test nodes that are given no other.
const ClusterID = 42

// Node is a running node.
type Node struct {
	API        *etcdapi.API
	Store      *kv.Store
	Lessor     *lease.Lessor
	Replicator *Replicator
	// Endpoint is the address at which clients reach the node.
	Endpoint string
	// Conn is a connection to the node that closes before it stops.
	Conn *grpc.ClientConn
}

// Start starts a node that stops with the test.
func Start(tb testing.TB, limits etcdapi.Limits) *Node {
	tb.Helper()
	return StartWith(tb, etcdapi.Options{Limits: limits})
}

// requestTimeout is of nodes of which nothing else is said. Only a hang reaches it, however busy the machine is.
const requestTimeout = 2 * time.Minute

// StartWith is Start with more options. Hashing a password costs as little as can be, a wrong one has no consequences,
// and a request may take minutes, if nothing else is said.
func StartWith(tb testing.TB, o etcdapi.Options) *Node {
	tb.Helper()
	return StartOn(tb, vfs.NewMem(), o)
}

// StoreDir is where the store of a node is on its filesystem.
const StoreDir = "kv"

// StartOn is StartWith on a filesystem, which may have a store already.
func StartOn(tb testing.TB, fs vfs.FS, o etcdapi.Options) *Node {
	tb.Helper()
	logger := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := kv.Open(kv.Options{FS: fs, Dir: StoreDir, Logger: logger})
	if err != nil {
		tb.Fatal(err)
	}
	n := &Node{Store: store, Replicator: newReplicator(store)}
	n.Lessor = lease.NewLessor(store, clock.Real, func(ctx context.Context, _ replication.Tenure, id int64) error {
		_, err := n.Replicator.Propose(ctx,
			[]*replication.Command{{Data: command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id})}})
		return err
	})
	o.Store, o.Lessor, o.Replicator, o.ClusterID = store, n.Lessor, n.Replicator, cmp.Or(o.ClusterID, ClusterID)
	o.BcryptCost = cmp.Or(o.BcryptCost, bcrypt.MinCost)
	o.FailureRest = cmp.Or(o.FailureRest, -1)
	o.Limits.RequestTimeout = cmp.Or(o.Limits.RequestTimeout, requestTimeout)
	if o.Logger == nil {
		o.Logger = logger
	}
	n.API = etcdapi.New(o)
	n.Replicator.answer, n.Replicator.lessor = n.API.AnswerAsk, n.Lessor
	n.Lessor.Promote(replication.Tenure{Term: 2, Epoch: 1})
	server := n.serve(tb)
	tb.Cleanup(func() {
		server.Stop()
		n.Lessor.Close()
		close(n.Replicator.done)
		<-n.Replicator.ended
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
		if primary := n.Replicator.applies(); primary != store {
			if err := primary.Close(); err != nil {
				tb.Error(err)
			}
		}
	})
	n.Conn = n.Dial(tb)
	return n
}

// StartPlain is Start with nothing else said.
func StartPlain(tb testing.TB) *Node {
	tb.Helper()
	return Start(tb, etcdapi.Limits{})
}

// StartOther is StartPlain for a node of another fleet.
func StartOther(tb testing.TB) *Node {
	tb.Helper()
	return StartWith(tb, etcdapi.Options{ClusterID: ClusterID + 1})
}

func (n *Node) serve(tb testing.TB) *grpc.Server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n.Endpoint = listener.Addr().String()
	server := grpc.NewServer(n.API.ServerOptions()...)
	n.API.Register(server)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	return server
}

// Dial returns a connection to the node that closes with the test.
func (n *Node) Dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	connection, err := grpc.NewClient(n.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { connection.Close() })
	return connection
}
