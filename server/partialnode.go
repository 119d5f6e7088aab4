package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/server/address"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/partial/front"
	"github.com/mimir-kv/mimir/server/trust"
)

// PartialOptions are what a node of a partial region is told. Region, Name, Fleet, Prefixes, From, SecretFile, DataDir
// and Listen are required.
type PartialOptions struct {
	Fleet, Region, Name string
	// Prefixes are those of the keys that it follows, as they are written; From are client addresses of nodes of the
	// fleet, which it follows in turn.
	Prefixes, From []string
	// SecretFile has the secret that it shows, as its first line.
	SecretFile string
	// SourceTLS is what it shows to those nodes, and trusts.
	SourceTLS       TLS
	DataDir, Listen string
	// Advertise is where clients reach it, Listen if it is empty. ListenHTTP is where its metrics and its health are
	// beside Listen; empty for nowhere.
	Advertise, ListenHTTP string
	TLS                   TLS
	Handshakes            Handshakes
	Crowds                []string
	EncryptionKeyFile     string
	CacheBytes            int64
	CompareEvery          time.Duration
	Version               string
	Logger                *slog.Logger

	bound func(client string) // for tests
}

func (o *PartialOptions) validate() (partial.Prefixes, error) {
	err := cmp.Or(validateName("fleet", o.Fleet), partial.CheckName(o.Region), partial.CheckName(o.Name))
	if err != nil {
		return nil, err
	}
	switch {
	case o.DataDir == "":
		return nil, errors.New("data-dir is missing")
	case len(o.From) == 0:
		return nil, errors.New("from is missing")
	case o.CompareEvery < 0:
		return nil, errors.New("compare-every is negative")
	}
	if _, err := door.ParseCrowds(o.Crowds); err != nil {
		return nil, fmt.Errorf("crowds: %w", err)
	}
	if err := o.TLS.validate(true); err != nil {
		return nil, fmt.Errorf("client-tls: %w", err)
	}
	if err := o.SourceTLS.validate(false); err != nil {
		return nil, fmt.Errorf("source-tls: %w", err)
	}
	if _, err := operator.ReadToken(o.SecretFile); err != nil {
		return nil, fmt.Errorf("secret-file: %w", err)
	}
	return partial.ParsePrefixes(o.Prefixes)
}

// partialNode is a node of a partial region.
type partialNode struct {
	options PartialOptions
	keeper  *trust.Keeper
	doors   []*door.Door
	client  net.Listener
	http    net.Listener // nil: none
	disk    *disk
	place   *partial.Place
	links   *partial.Links
	sink    *partial.Sink
	lessor  *lease.Lessor
	rpc     *grpc.Server
	web     []*http.Server
	failed  chan error
}

// aPartialNode is who keeps the directory of one.
var aPartialNode = tenant{"node of the partial region", "nothing inside",
	"empty it: a copy comes from the fleet"}

// RunPartial is the whole life of a node of a partial region: it returns nil after ctx has ended and it has stopped in
// good order.
func RunPartial(ctx context.Context, o PartialOptions) error {
	prefixes, err := o.validate()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	relaxCollector()
	keepPrivate()
	if err := checkPlace(o.DataDir); err != nil {
		return err
	}
	n := &partialNode{options: o, failed: make(chan error, 4)}
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.open(prefixes); err != nil {
		return errors.Join(aPartialNode.explained(o.DataDir, err), n.closePorts())
	}
	return aPartialNode.explained(o.DataDir, n.run(ctx))
}

// listen binds the ports.
func (n *partialNode) listen() error {
	o := &n.options
	shares, err := door.Split(door.Limit(), 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	tls, err := secure(&Config{ClientTLS: o.TLS, Handshakes: o.Handshakes}, 0, o.Logger)
	if err != nil {
		return err
	}
	n.keeper = tls.keeper
	dial, err := n.keeper.Dialer(o.SourceTLS.block("source-tls"))
	if err != nil {
		return fmt.Errorf("%w: source-tls: %w", ErrConfig, err)
	}
	if dial != nil {
		n.links, err = partial.Dial(o.From, dial.Config())
	} else {
		n.links, err = partial.Dial(o.From, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: from: %w", ErrConfig, err)
	}
	if n.client, err = n.bind("listen", o.Listen, shares.Clients); err != nil {
		return err
	}
	if tls.client != nil {
		n.client = address.Secured(n.client, tls.client)
	}
	if o.ListenHTTP != "" {
		if n.http, err = n.bind("listen-http", o.ListenHTTP, shares.HTTP); err != nil {
			return errors.Join(err, n.closePorts())
		}
	}
	return nil
}

func (n *partialNode) bind(name, addr string, most int) (net.Listener, error) {
	bound, err := address.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, addr, err)
	}
	crowds, _ := door.ParseCrowds(n.options.Crowds) // validated
	d := door.New(bound, door.Options{
		Name: name, Most: most, Strangers: door.StrangersOf(most), Logger: n.options.Logger, Crowds: crowds,
	})
	n.doors = append(n.doors, d)
	return d, nil
}

func (n *partialNode) closePorts() error {
	for _, l := range []net.Listener{n.client, n.http} {
		if l != nil {
			l.Close()
		}
	}
	return n.links.Close()
}

// open opens the directory, and makes what serves it.
func (n *partialNode) open(prefixes partial.Prefixes) error {
	o := &n.options
	n.disk = &disk{dir: o.DataDir} // no node of a fleet of any version takes it for its own
	held, err := n.disk.hold()
	if err != nil {
		return err
	}
	n.disk.held = true
	if _, err := n.disk.open(o.EncryptionKeyFile, o.Logger); err != nil {
		return errors.Join(err, held.Close())
	}
	n.disk.held = false // from here on the store keeps others out
	fs := n.disk.libraryFS()
	if fs == nil {
		fs = durable.OS
	}
	n.place, err = partial.OpenPlace(partial.PlaceOptions{
		Dir: o.DataDir, FS: fs, Fleet: o.Fleet, Region: o.Region, Prefixes: prefixes,
		Store: kv.Options{FS: n.disk.storeFS(), CacheBytes: o.CacheBytes, Logger: o.Logger, OnFailure: n.fail},
	})
	if err = errors.Join(err, held.Close()); err != nil {
		return err
	}
	n.sink = partial.NewSink(partial.SinkConfig{
		Place: n.place, Links: n.links, Node: o.Name, CompareEvery: o.CompareEvery, Logger: o.Logger,
		Secret: func() (string, error) { return operator.ReadToken(o.SecretFile) },
	})
	n.rpc = n.newRPC()
	return nil
}

func (n *partialNode) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// newRPC makes the server of clients: the etcd API over what is held, behind what goes to the fleet or is refused.
func (n *partialNode) newRPC() *grpc.Server {
	o := &n.options
	store := n.place.Store()
	n.lessor = lease.NewLessor(store, clock.Real, func(context.Context, replication.Tenure, int64) error {
		return errors.New("a node of a partial region keeps no leases")
	})
	stands := front.New(n.sink)
	url := address.Address{}
	if found := addresses(cmp.Or(o.Advertise, o.Listen)); len(found) > 0 {
		url = found[0]
	}
	api := etcdapi.New(etcdapi.Options{
		Store: store, Lessor: n.lessor, ClusterID: clusterID(o.Fleet), Logger: o.Logger,
		Replicator: front.NewNode(stands, []string{url.URL(o.TLS.Enabled())}),
		Unary:      stands.Unary, Stream: stands.Stream, Ends: endOf,
	})
	keep := Keepalive{defaultKeepaliveMinTime, defaultKeepaliveInterval, defaultKeepaliveTimeout}
	made, methods := newRPCServer(keep, api.ServerOptions()...)
	api.Register(made)
	methods.know(made)
	return made
}

// run serves until ctx ends, or what it needs gives up.
func (n *partialNode) run(ctx context.Context) error {
	o := &n.options
	inner, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { n.sink.Run(inner) })
	work.Go(func() { n.keeper.Run(inner) })
	both := sniff(n.client)
	work.Go(func() { n.served(n.rpc.Serve(both.grpc)) })
	n.serveHTTP(&work, both.http)
	if n.http != nil {
		n.serveHTTP(&work, n.http)
	}
	o.Logger.Info("serving", "version", o.Version, "partial", o.Region, "name", o.Name,
		"prefixes", n.sink.Prefixes().String(), "client", n.client.Addr().String())
	if o.bound != nil {
		o.bound(n.client.Addr().String())
	}
	var failure error
	select {
	case <-ctx.Done():
		o.Logger.Info("stopping")
	case failure = <-n.failed:
	}
	hard := time.AfterFunc(drainTime, n.rpc.Stop)
	n.rpc.GracefulStop()
	hard.Stop()
	for _, web := range n.web {
		web.Close()
	}
	cancel()
	if failure != nil {
		// Who waits for the store may wait for ever, and so may who closes it. What is not durable comes again.
		return errors.Join(failure, n.closePorts())
	}
	work.Wait()
	n.lessor.Close()
	return errors.Join(n.closePorts(), n.place.Close())
}

// served takes why a port is served no more.
func (n *partialNode) served(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) &&
		!errors.Is(err, net.ErrClosed) {
		n.fail(fmt.Errorf("a port is served no more: %w", err))
	}
}

func (n *partialNode) serveHTTP(work *sync.WaitGroup, l net.Listener) {
	o := &n.options
	hosts := hostsOf(o.Listen, o.Advertise, o.ListenHTTP)
	web := newHTTPServer(fromPages(n.pages(), hosts, nil), o.Logger)
	n.web = append(n.web, web)
	work.Go(func() { n.served(web.Serve(l)) })
}
