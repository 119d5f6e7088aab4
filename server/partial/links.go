package partial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
)

const (
	// aliveEvery is after how long without a word the other side is asked, and aliveTime how long it has to answer.
	aliveEvery, aliveTime = 10 * time.Second, 5 * time.Second
	// mostBackoff is how long it waits at most before it connects again.
	mostBackoff = 2 * time.Second
	// askedTime bounds a question to one node where there are others to ask.
	askedTime = 3 * time.Second
)

// Links are the ways to the nodes of the fleet, of which one is in use. It is safe for concurrent use.
type Links struct {
	endpoints []string
	conns     []*grpc.ClientConn // of questions and writes of clients
	following []*grpc.ClientConn // of what follows, which no number of those keeps out
	at        atomic.Int64
}

// Dial returns ways to the client addresses of nodes, host:port or URLs, which connect when they are used: with TLS if
// secure is not nil, or the URL says so. The caller closes them.
func Dial(endpoints []string, secure *tls.Config) (*Links, error) {
	l := &Links{}
	for _, endpoint := range endpoints {
		scheme, host, found := strings.Cut(strings.TrimRight(endpoint, "/"), "://")
		if !found {
			scheme, host = "", scheme
		}
		wire := insecure.NewCredentials()
		switch {
		case scheme != "" && scheme != "http" && scheme != "https":
			return nil, errors.Join(fmt.Errorf("endpoint %s: use host:port, http:// or https://", endpoint), l.Close())
		case scheme == "http" && secure != nil:
			return nil, errors.Join(fmt.Errorf("endpoint %s: it has no TLS, which was asked for, and no secret is "+
				"sent there", endpoint), l.Close())
		case scheme == "https" && secure == nil:
			wire = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
		case secure != nil:
			wire = credentials.NewTLS(secure)
		}
		l.endpoints = append(l.endpoints, endpoint)
		for _, list := range []*[]*grpc.ClientConn{&l.conns, &l.following} {
			conn, err := dial(host, wire)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("endpoint %s: %w", endpoint, err), l.Close())
			}
			*list = append(*list, conn)
		}
	}
	if len(l.conns) == 0 {
		return nil, errors.New("no endpoint of the fleet is named")
	}
	return l, nil
}

func dial(host string, wire credentials.TransportCredentials) (*grpc.ClientConn, error) {
	again := backoff.DefaultConfig
	again.MaxDelay = mostBackoff
	return grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(wire),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEvery, Timeout: aliveTime}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: askedTime}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
}

// Close ends everything that goes over them.
func (l *Links) Close() error {
	var errs []error
	for _, c := range append(l.conns[:len(l.conns):len(l.conns)], l.following...) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Now returns the way in use, for what clients ask and write.
func (l *Links) Now() *grpc.ClientConn { return l.conns[l.at.Load()] }

// now returns where it leads, and the way for what follows.
func (l *Links) now() (endpoint string, conn *grpc.ClientConn) {
	at := l.at.Load()
	return l.endpoints[at], l.following[at]
}

// next has another way be in use, if there is one.
func (l *Links) next() { l.at.Store((l.at.Load() + 1) % int64(len(l.conns))) }

// Ask asks the node in use, and where that cannot answer the others in turn: for questions that change nothing.
func (l *Links) Ask(ctx context.Context, method string, in, out any) error {
	return l.inTurn(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		return conn.Invoke(ctx, method, in, out)
	})
}

// Judge is Ask where users and roles of the fleet say who may ask: neither an answer nor a refusal counts of a node
// whose users and roles are older than those that are known. As long as nobody has said how new any are, all count.
func (l *Links) Judge(ctx context.Context, known etcdapi.Rights, method string, in, out any) error {
	if known.Revision == 0 {
		return l.Ask(ctx, method, in, out)
	}
	return l.inTurn(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		return judge(ctx, conn, known, method, in, out)
	})
}

// inTurn asks the node in use, and the others while one cannot answer.
func (l *Links) inTurn(ctx context.Context, ask func(context.Context, *grpc.ClientConn) error) (err error) {
	first := int(l.at.Load())
	for i := range l.conns {
		asking, cancel := ctx, context.CancelFunc(func() {})
		if i+1 < len(l.conns) {
			asking, cancel = context.WithTimeout(ctx, askedTime)
		}
		err = ask(asking, l.conns[(first+i)%len(l.conns)])
		late := asking.Err() != nil
		cancel()
		if ctx.Err() != nil || err == nil || status.Code(err) != codes.Unavailable && !late {
			return err
		}
	}
	return err
}

// errOldRights is what is told for a node whose users and roles are older than those that are known.
var errOldRights = status.Error(codes.Unavailable, "mimir: the users and roles of the node of the fleet that was "+
	"asked are older than others that were heard of")

// judge asks one node.
func judge(
	ctx context.Context, conn *grpc.ClientConn, known etcdapi.Rights, method string, in, out any,
) error {
	ask := func() (header metadata.MD, err error) {
		asking := metadata.AppendToOutgoingContext(ctx, etcdapi.RightsKey, "true")
		err = conn.Invoke(asking, method, in, out, grpc.Header(&header))
		return header, err
	}
	header, err := ask()
	if status.Code(err) == codes.Unavailable || ctx.Err() != nil {
		return err
	}
	by, told := etcdapi.RightsTold(header)
	if !told { // it is of a version before: what it has now it judges by from now on
		var unknown error
		if by, unknown = rightsAsked(ctx, conn); unknown != nil {
			return unknown
		}
		if !by.OlderThan(known) {
			_, err = ask()
		}
	}
	if by.OlderThan(known) {
		return errOldRights
	}
	return err
}

// rightsAsked asks a node which users and roles it has, behind all that the fleet had acknowledged.
func rightsAsked(ctx context.Context, conn *grpc.ClientConn) (etcdapi.Rights, error) {
	s := new(pb.AuthStatusResponse)
	if err := conn.Invoke(ctx, pb.Auth_AuthStatus_FullMethodName, &pb.AuthStatusRequest{}, s); err != nil {
		return etcdapi.Rights{}, status.Errorf(codes.Unavailable, "mimir: it is not known which users and roles the "+
			"node of the fleet has that was asked: %v", err)
	}
	return etcdapi.Rights{At: s.GetHeader().GetRevision(), Revision: s.AuthRevision, Enabled: s.Enabled}, nil
}
