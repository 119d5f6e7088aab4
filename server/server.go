package server

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/events"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/replays"
	"github.com/mimir-kv/mimir/server/telemetry"
	"github.com/mimir-kv/mimir/server/tracing"
	"github.com/mimir-kv/mimir/server/trust"
)

// Options are what a process knows beside its configuration.
type Options struct {
	Version string
	LogTo   io.Writer
	// Hurry, when closed, ends a stop in good order at once. May be nil.
	Hurry <-chan struct{}
	// HungUp tells of every SIGHUP: the audit log is opened anew then, and the settings are read by Reload. Both may be
	// nil.
	HungUp <-chan struct{}
	Reload func() (*Config, error)

	// Serving is called once, when all ports are served; whether there is a leader it does not say. May be nil.
	Serving func() error

	// Strange is what of the environment means nothing, for the log: see [StrangeVariables].
	Strange []string

	// Look makes pictures of the fleet for the console; nil: there is none.
	Look Looker
	// Replays decides and replays tails for operators over HTTP; nil: nobody does.
	Replays replays.Engine

	recheck time.Duration // of the files of TLS; 0: as usual
}

// ErrAbrupt says that a stop in good order was cut short. Nothing is lost: the log has it.
var ErrAbrupt = errors.New("stopped before everything was in order")

// Run is one node's whole life: it returns nil after ctx has ended and the node has stopped in good order, and an
// error if the node could not start, stopped itself, or had to be cut short.
func Run(ctx context.Context, c *Config, o Options) error {
	relaxCollector()
	keepPrivate()
	s, err := open(c, o)
	if err != nil {
		return explained(c, err)
	}
	defer s.outputs.end()
	defer s.audit.Close()
	reopening, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.heed(reopening, o.HungUp, o.Reload)
	if err := s.start(ctx); err != nil {
		s.leave()
		if ctx.Err() != nil {
			return nil
		}
		return explained(c, s.cause(err))
	}
	if o.Serving != nil {
		if err := o.Serving(); err != nil {
			s.logger.Warn("whoever started the node is not told that it serves", "err", err)
		}
	}
	select {
	case <-ctx.Done():
		s.logger.Info("stopping")
		return s.stop(o.Hurry)
	case <-s.replicator.Stopped():
		s.leave()
		return explained(c, s.cause(s.replicator.Err()))
	case err := <-s.failed:
		s.leave()
		return explained(c, err)
	}
}

// collectorPercent trades memory for processor time: with requests as small as ours, the default of 100 collects so
// often that it took up to a fifth of the processor time of a read.
const collectorPercent = 200

// relaxCollector sets it, unless the environment has its own wish.
func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
}

// server is one node's parts, in the order in which they are built.
type server struct {
	config     *Config
	version    string
	looker     Looker
	engine     replays.Engine
	logger     *slog.Logger
	outputs    *outputs // of the log
	settled    *settled
	advice     []string // what is open to others, and what to change
	gate       *operator.Gate
	audit      *operator.Audit
	shares     door.Shares      // of the descriptors
	tracing    *tracing.Tracing // nil: there is none
	ports      *listeners
	room       *room
	disk       *disk
	store      *kv.Store
	events     *events.Log
	expiry     expiry
	lessor     *lease.Lessor
	replicator *replication.MultiRegionReplicator
	api        *etcdapi.API
	rpc        *rpcPort
	slow       *slow
	web        []*http.Server
	console    *console.Console // nil: there is none
	replays    *replays.Runner  // nil: there is none
	gateway    context.CancelFunc
	keeping    turns[*schedule.Keeper]  // of backups; none if nobody takes any
	archiving  turns[*archive.Archiver] // of the log; none if this node never does
	equality   *equality                // with other nodes
	partial    *partial.Source          // of partial regions
	carrying   sync.WaitGroup           // what brings content or log to another place, until gateway is called
	failed     chan error               // a listener or the store that gave up

	calls   *telemetry.Calls
	traffic etcdapi.Traffic
	times   *telemetry.Disk
	checks  telemetry.Checks
	durable telemetry.Durable
	wire    *telemetry.Wire
}

// open opens the log, binds the ports and opens the store: everything that can be refused before the node joins
// anything.
func open(c *Config, o Options) (*server, error) {
	to, err := openOutputs(c.LogOutputs, o.LogTo)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &server{config: c, version: o.Version, looker: o.Look, engine: o.Replays,
		failed: make(chan error, 3), times: telemetry.NewDisk(), outputs: to}
	if err = openBehind(s, &o); err == nil {
		if s.partial, err = newPartialSource(s); err != nil {
			s.abandon()
		}
	}
	if err != nil {
		to.end()
		return nil, err
	}
	return s, nil
}

// openBehind does that, once the log is open.
func openBehind(s *server, o *Options) error {
	c := s.config
	plain, logs := newLogger(c, s.outputs)
	s.settled = newSettled(c, logs)
	s.logger = plain.With("node", c.Replication.NodeID, "region", c.Replication.RegionID)
	go s.outputs.tell(s.logger)
	s.slow = newSlow(c.SlowRequest, s.logger)
	if err := checkPlace(c.Replication.DataDir); err != nil {
		return err
	}
	warnings, err := c.fit(thisMachine(c.Replication.DataDir))
	if err != nil {
		return err
	}
	tellSettings(s.logger, c.notes, warnings)
	for _, text := range o.Strange {
		s.logger.Warn("a variable is no setting", "detail", text)
	}
	if s.gate, s.audit, err = c.Operator.newGate(s.logger, rootLink{func() *etcdapi.API { return s.api }}); err != nil {
		return err
	}
	s.advice = append(append(c.advice(), readable(c.Replication.DataDir)...),
		readableFile("operator.token-file", c.Operator.TokenFile)...)
	s.advice = append(s.advice, readableFile("partial-regions-file", c.PartialRegionsFile)...)
	shares, err := door.Split(door.Limit(), c.MaxConnections)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if s.ports, err = listen(c, shares, o, s.logger); err != nil {
		return err
	}
	s.shares = shares
	if keeper, err := s.newKeeper(c); err != nil {
		s.ports.close()
		return err
	} else {
		s.keeping.next(keeper)
	}
	if err := s.newRoom(); err != nil {
		s.ports.close()
		return fmt.Errorf("data-dir %s: %w", c.Replication.DataDir, err)
	}
	if err := s.openStore(); err != nil {
		s.ports.close()
		return inDirectory(c.Replication.DataDir, err)
	}
	if s.tracing, err = c.newTracing(s.ports.tls, s.version, s.logger); err == nil {
		err = s.build(plain)
	}
	if err == nil {
		var archiver *archive.Archiver
		archiver, err = s.newArchiver(c)
		s.archiving.next(archiver)
	}
	if err != nil {
		s.abandon()
		return err
	}
	return nil
}

// tellSettings tells the log what was made of etcd's settings, and which limits do not fit.
func tellSettings(logger *slog.Logger, notes, warnings []string) {
	for _, text := range notes {
		logger.Info("a setting of etcd", "note", text)
	}
	for _, text := range warnings {
		logger.Warn("limit", "err", text)
	}
}

// openStore opens the data directory, and the store in it.
func (s *server) openStore() error {
	c := s.config
	if err := notAPlace(c.Replication.DataDir); err != nil {
		return err
	}
	s.disk = &disk{dir: c.Replication.DataDir, store: true}
	held, err := s.disk.hold()
	if err != nil {
		return err
	}
	s.disk.held = true
	if _, err := s.disk.open(c.EncryptionKeyFile, s.logger); err != nil {
		return errors.Join(err, held.Close())
	}
	s.events = openEvents(&c.Replication, s.disk, s.logger)
	store := c.Store
	store.OpenTables, store.SpareBytes = s.shares.Tables, s.room.ballast.Part()/2
	store.MemTableBytes = c.memTableBytes()
	if store.CountBytes = c.countBytes(); store.CountBytes == 0 {
		store.CountBytes = -1 // to the store, zero is its default
	}
	store.Dir, store.Logger, store.OnFailure = filepath.Join(c.Replication.DataDir, storeDir), s.logger, s.storeFailed
	store.FS, store.OnCommit, store.OnAlarm = s.disk.storeFS(), s.times.Commit, alarmEvents{s.events}.turned
	if s.store, err = kv.Open(store); err != nil {
		s.events.Close() //nolint:errcheck // the store is why
	}
	s.disk.held = false // from here on the store keeps others out, and later the library
	return errors.Join(err, held.Close())
}

func (s *server) build(plain *slog.Logger) error {
	c := s.config
	s.expiry = newExpiry(s)
	s.lessor = lease.NewLessor(s.store, clock.Real, s.expiry.expire)
	wire := c.Peers
	wire.Listener, wire.ServerTLS = s.ports.peer, s.ports.tls.peer
	if s.ports.tls.dial != nil {
		wire.ClientCredentials = s.ports.tls.dial
	}
	wire.FleetID, wire.NodeName, wire.Region = c.Replication.FleetID, c.Replication.NodeID, c.Replication.RegionID
	wire.Refused, wire.Logger = door.Failed, s.logger
	keys, err := fleetKeys(c.FleetKeyFile)
	if err != nil {
		return err
	}
	wire.Keys, wire.KeyOptional = keys, c.KeyOptional
	wire.Admit = c.peerRule().admitting(c.Replication.FleetID, s.logger)
	peers, err := grpctransport.New(wire)
	if err != nil {
		return err
	}
	node := c.Replication
	node.FS = s.times.Log(s.disk.libraryFS(), filepath.Join(c.Replication.DataDir, logDir))
	node.Logger, node.ClientURLs, node.OnLeadership = plain, c.ClientURLs(), s.onLeadership
	node.CheckpointSpareBytes = 2 * max(node.CheckpointBytes, s.room.reserve) // they go before writes are refused
	if node.CheckpointBytes == 0 {
		node.CheckpointBytes = -1 // to the library, zero is its default
	}
	node.CommandLevel, node.Revision, s.equality = commandLevel, s.store.Revision, newEquality(s, &node)
	node.OnAsk = func(ctx context.Context, request []byte) ([]byte, error) { return s.api.AnswerAsk(ctx, request) }
	node.OnEvent, node.RegionRate, node.LagGate = s.events.Add, s.settled.regionRate, s.settled.lagGate
	node.Tracer = s.tracing.Library()
	s.replicator, err = replication.NewMultiRegionReplicator(&node, s.store)
	if err != nil {
		return errors.Join(err, peers.Close())
	}
	s.wire = telemetry.NewWire(peers, c.Replication.RegionID, s.peers)
	s.replicator.SetTransport(s.tracing.Transport(s.wire))
	if dial := s.ports.tls.dial; dial != nil {
		dial.OnChange(func() { time.AfterFunc(trust.DefaultGrace, peers.(grpctransport.Renewer).Renew()) })
	}
	tokens, err := c.tokens(s.logger)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: auth-token: %w", ErrConfig, err), peers.Close())
	}
	s.calls = telemetry.NewCalls(s.logger)
	s.api = etcdapi.New(etcdapi.Options{
		Tokens: tokens, CommonNames: c.ClientTLS.RequireClientCert, BcryptCost: c.BcryptCost,
		Store: s.store, Lessor: s.lessor, Replicator: s.tracing.Reads(s.replicator),
		ClusterID: clusterID(c.Replication.FleetID), Limits: c.limits(), QuotaBytes: s.settled.quota.Load,
		AllRegions: c.AdvertiseRegions == advertiseAll,
		Unary:      s.calls.Unary(s.tracing.Unary(s.slow.unary(s.equality.unary(s.gate.Unary)))),
		Stream:     s.calls.Stream(s.tracing.Stream(s.equality.stream(s.gate.Stream))),
		PeerTLS:    c.PeerTLS.Enabled(), Logger: s.logger, Operator: operator.Ruled, Rules: s.gate.Rules,
		Ends:    endOf,
		Traffic: &s.traffic, OnCheck: s.checks.Note, OnDurable: s.durable.Note, SnapshotNote: s.snapshotNote,
	})
	s.rpc = &rpcPort{make: func() *grpc.Server { return newRPC(s) }, leave: s.ports.doors[0].Renew}
	return nil
}

// onLeadership makes the node that takes the fleet's writes the one that keeps its leases.
func (s *server) onLeadership(primaryLeader bool) {
	if primaryLeader {
		s.lessor.Promote(s.replicator.Tenure())
	} else {
		s.lessor.Demote()
	}
}

// propose proposes one command within a tenure, and returns its result. That it is not known to be in as many regions
// as have to acknowledge it is no failure: who keeps leases answers nobody, and where it is lost the lease is there
// again.
func (s *server) propose(ctx context.Context, t replication.Tenure, command []byte) ([]byte, error) {
	receipt, err := s.replicator.Propose(ctx, []*replication.Command{{Data: command}}, replication.WithinTenure(t))
	if err != nil && (receipt == nil || !errors.Is(err, replication.ErrUnderReplicated)) {
		return nil, err
	}
	return receipt.Results[0], nil
}

// start joins the region and begins to serve clients.
func (s *server) start(ctx context.Context) error {
	if err := s.replicator.Start(ctx); err != nil {
		return err
	}
	gateway, cancel := context.WithCancel(context.Background())
	s.gateway = cancel
	api, err := s.api.HTTPHandler(gateway)
	if err != nil {
		return err
	}
	handler := admin.NewHandler(admin.HandlerOptions{
		Replicator: s.replicator, Voting: s.replicator.Voting(), Topology: s.replicator.Topology(), Node: s.node,
		Logger: s.logger,
		States: savedStates{s.store, s.disk.storeFS(), s.logger}, Guard: guarding(s.gate, s.tracing),
		NotPartial: notPartial(s),
		WriteLog:   s.writeLog, Beside: s.equality.beside, Rebuild: s.equality.rebuild, Events: s.events,
	})
	if s.console, err = s.newConsole(s.looker, handler); err != nil {
		return err
	}
	s.replays = newReplays(s, handler)
	routes := &routes{
		api: s.tracing.Gateway(api), admin: handler, registry: s.metrics(),
		guard: guarding(s.gate, s.tracing), console: s.console, replays: s.replays,
	}
	both := sniff(s.ports.client)
	s.serve("listen-client", func() error { return s.rpc.serve(both.grpc) })
	hosts := hostsOf(s.config.ListenClient, s.config.AdvertiseClient, s.config.ListenHTTP)
	pages := fromPages(routes.client(s.config.Pprof), hosts, s.config.AllowedOrigins)
	open := newHTTPServer(forHosts(pages, &s.settled.hosts, s.logger), s.logger)
	s.web = append(s.web, open)
	s.serve("listen-client", func() error { return open.Serve(both.http) })
	if s.ports.http != nil {
		pages := fromPages(routes.private(!s.config.ClientTLS.Enabled(), s.config.Pprof), hosts, nil)
		private := newHTTPServer(exceptMonitoring(pages, &s.settled.hosts, s.logger), s.logger)
		s.web = append(s.web, private)
		s.serve("listen-http", func() error { return private.Serve(s.ports.http) })
	}
	go s.watchRoom(gateway)
	go s.wire.Probe(gateway)
	go s.compactHistory(gateway)
	s.carrying.Go(func() { s.equality.patrol.Run(gateway) })
	s.carrying.Go(func() {
		s.archiving.run(gateway, s.carrying.Go, func(a *archive.Archiver) { s.lateCarrying("archive.to", a.Place()) })
	})
	s.carrying.Go(func() {
		s.keeping.run(gateway, s.carrying.Go, func(k *schedule.Keeper) { s.lateCarrying("backup.to", k.Place()) })
	})
	go s.ports.tls.keeper.Run(gateway)
	if s.disk.fs != nil {
		s.logger.Info("encryption at rest", "key", s.disk.active())
	}
	s.tellWhoMay()
	tellStarted(s)
	return nil
}

// tellStarted tells the log and the events of a node that it serves.
func tellStarted(s *server) {
	s.logger.Info("open files", "limit", s.shares.Limit, "clients", s.shares.Clients, "peers", s.shares.Peers,
		"http", s.shares.HTTP, "tables", s.shares.Tables)
	s.events.Add(replication.Event{
		Kind: replication.EventStarted, Region: s.config.Replication.RegionID, Text: s.version,
	})
	s.logger.Info("serving", "version", s.version, "client", s.config.ListenClient, "peer", s.config.ListenPeer,
		"http", s.config.ListenHTTP)
	s.settled.tellIdle(s.replicator.Health(), s.logger)
}

func (s *server) serve(key string, run func() error) {
	go func() {
		defer func() {
			if r := recover(); r != nil {
				s.logger.Debug("panic", "err", r, "stack", string(debug.Stack()))
				s.storeFailed(fmt.Errorf("%s: panic: %v", key, r))
			}
		}()
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			s.failed <- fmt.Errorf("%s: %w", key, err)
		}
	}()
}

func (s *server) node() admin.Node {
	total, _ := s.store.SizeBytes()
	health := s.replicator.Health()
	n := admin.Node{
		HealthStatus: health, Version: s.version,
		Revision:        admin.Revision(s.store.Revision()),
		CompactRevision: admin.Revision(s.store.CompactRevision()), StoreBytes: total, Open: s.openNow(),
		AuditProblem: s.audit.Figures().Problem, IdleSettings: s.settled.idle(health),
		Operators: s.operators(), TLS: s.ports.tls.keeper.Report(), Backup: s.backupReport(),
		Archive: s.archiveStatus(), TellsPlaces: true, FleetWithin: fleetWithin(&s.config.Replication).Seconds(),
	}
	if kv.Follows(s.store) {
		n.Alarms = append(n.Alarms, admin.Alarm{Kind: admin.Follows})
	}
	for _, a := range s.store.Alarms() {
		n.Alarms = append(n.Alarms, admin.Alarm{Kind: a.Alarm.String(), Member: a.MemberID})
	}
	n.Partial = s.partial.Report()
	n.Alarms, n.Compare = append(n.Alarms, s.equality.alarms()...), s.equality.patrol.Report()
	return n
}

// fleetWithin bounds a picture of the fleet: all nodes are asked at once, and each is waited for as long as nodes wait
// for one another.
func fleetWithin(r *replication.Config) time.Duration {
	return max(time.Second, r.TickInterval*time.Duration(r.ElectionTicks))
}

// clusterID gives every node of a fleet the same number, which clients compare.
func clusterID(fleet string) uint64 {
	sum := sha256.Sum256([]byte("mimir fleet " + fleet))
	return binary.BigEndian.Uint64(sum[:])
}

// drainTime is how long unfinished requests get when the node stops; watches never finish by themselves.
const drainTime = time.Second
