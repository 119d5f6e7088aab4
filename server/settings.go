package server

import (
	"math"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/server/autocompact"
)

// formerCountedKeys was the default of a setting of earlier versions.
const formerCountedKeys = 2 << 20

// section is a heading of docs/configuration.md and the settings below it.
type section struct {
	title    string
	settings []setting
}

// sections declare every setting, once: its key, default and bounds, what it does, and where it goes. A new one is a
// line here; `go test ./server -run Documented -update` writes it into docs/configuration.md.
var sections = []section{
	{"Identity and data", []setting{
		text("name", "", "name of this node, unique in the fleet; written into the data directory at the first start",
			func(c *Config) *string { return &c.Replication.NodeID }),
		text("region", "", "region this node belongs to; likewise",
			func(c *Config) *string { return &c.Replication.RegionID }),
		text("fleet", replication.DefaultFleetID,
			"keeps fleets apart: nodes of different fleets refuse each other; likewise",
			func(c *Config) *string { return &c.Replication.FleetID }),
		text("data-dir", "", "directory of everything this node keeps; created if missing; one node at a time",
			func(c *Config) *string { return &c.Replication.DataDir }),
		text("encryption-key-file", "", "file of keys, one a line, 64 hexadecimal digits each (`mimir keys new`): "+
			"what this node writes in `data-dir` is encrypted with the first, and the others are for files of "+
			"before. `plain` in place of the first ends it. Read at the start; at SIGHUP keys may be added, a "+
			"new first one too, and none goes; see [operating.md](operating.md#encryption-at-rest)",
			func(c *Config) *string { return &c.EncryptionKeyFile }),
	}},
	{"Addresses", []setting{
		places("listen-client", "127.0.0.1:2379", "where clients connect: gRPC and HTTP on one port",
			func(c *Config) *string { return &c.ListenClient }),
		places("advertise-client", "",
			"where clients reach this node from outside; as `listen-client` if not set, which must then name "+
				"a host",
			func(c *Config) *string { return &c.AdvertiseClient }),
		text("advertise-regions", advertiseOwn,
			"whose nodes a client that asks for the members is told of (`etcdctl member list`, `AutoSync`): `own`, "+
				"those of this region, or `all`, those of the other regions too, as `region/name`; with `all` such "+
				"clients outlive the loss of a region, and may use a distant one",
			func(c *Config) *string { return &c.AdvertiseRegions }),
		places("listen-peer", "127.0.0.1:2380",
			"where other nodes connect, of this region and of the others; each `host:port` alone",
			func(c *Config) *string { return &c.ListenPeer }),
		text("advertise-peer", "",
			"where other nodes reach this one, `host:port`; as the first of `listen-peer` if not set; equal to this "+
				"node's entry in `nodes`",
			func(c *Config) *string { return &c.Replication.PeerAddr }),
		places("listen-http", "",
			"port for `/metrics`, `/health`, `/livez`, `/readyz`, `/version` and the [console](console.md), plaintext "+
				"without `http-tls`; without "+
				"`client-tls` also the operator's calls, and without it or with `pprof` `/debug/vars`; not opened if "+
				"not set",
			func(c *Config) *string { return &c.ListenHTTP }),
		list("allowed-origins",
			"web pages that may use the JSON gateway (`/v3/…`) on the port for clients, `/health` and `/version`, "+
				"each as a browser names it: `https://console.example`; those of no other site may",
			func(c *Config) *[]string { return &c.AllowedOrigins }),
		list("allowed-hosts",
			"names and IP addresses, without a port, for one of which a request in plaintext over HTTP/1.1 must be "+
				"that comes to the port for clients, or to `listen-http` for more than metrics and health (its "+
				"`Host`), since a web page may give any name to any address; others are refused. List what "+
				"`advertise-client` has too: `mimir` and the console of other nodes ask there. Any if not set, or "+
				"with `*`; clients of gRPC, and whoever comes through a socket of this machine, are not asked",
			func(c *Config) *[]string { return &c.AllowedHosts }),
		yesOrNo("pprof",
			"serve Go's profiles to operators under `/debug/pprof/`, on the port for clients and on `listen-http`",
			func(c *Config) *bool { return &c.Pprof }),
	}},
	{"Region and fleet", []setting{
		addressOfEach("nodes",
			"peer addresses of the voters that first form the region, this node included; equal on all of "+
				"them; this node alone if not set. Later: where they are now, which may change with every start. "+
				"With `join`: the nodes that the region has",
			func(c *Config) *map[string]string { return &c.Replication.Nodes }),
		yesOrNo("join", "the region exists, and this node was added to it with `etcdctl member add`",
			func(c *Config) *bool { return &c.Replication.Join }),
		addressesOfEach("regions",
			"peer addresses of the nodes of every other region. List all that it has: nodes that are not "+
				"listed, or have moved, are found from the others, as long as one of the listed addresses answers, or "+
				"one of them has an address of this region that does. They count until `mimir region add` or `remove` "+
				"is used: then the regions are state of the fleet ([how](operating.md#add-and-remove-regions))",
			func(c *Config) *map[string][]string { return &c.Replication.Regions }),
		text("initial-primary", "",
			"region that takes writes first in a new fleet, once every other region answers and has no history "+
				"([start](operating.md)); equal everywhere; needed as soon as there are `regions`. Later the "+
				"region's log says who is primary",
			func(c *Config) *string { return &c.Replication.InitialPrimary }),
		text("initial-cluster-state", stateNew,
			"`new`: the region under `initial-primary` begins the history of a new fleet by itself, if no region has "+
				"one; `existing`: no region does, and one whose disks are empty waits for the fleet, whose history it "+
				"takes ([start](operating.md)). Then a new fleet is formed by `mimir fleet init`",
			func(c *Config) *string { return &c.InitialClusterState }),
	}},
	{"Automatic failover", []setting{
		yesOrNo("failover.automatic",
			"in a fleet whose regions do not vote yet: let them, and the witnesses, vote about who is primary, as "+
				"soon as every node understands that, so that the primary moves by itself ([failover](failover.md)). "+
				"Looked at on the leader of the primary; what was decided stays, `mimir fleet change` changes it",
			func(c *Config) *bool { return &c.Failover.Automatic }),
		duration("failover.lease", 3*time.Second, time.Second, time.Hour,
			"for how long voters support a primary that they do not hear, likewise",
			func(c *Config) *time.Duration { return &c.Failover.Lease }),
		duration("failover.patience", time.Second, 0, time.Hour,
			"how long a region waits, when the support is over, before it asks for votes, likewise",
			func(c *Config) *time.Duration { return &c.Failover.Patience }),
		count("failover.drift-ppm", 10_000, 0, 200_000,
			"how wrong the clocks of two machines may run against each other, in millionths, likewise",
			func(c *Config) *int { return &c.Failover.DriftPPM }),
		count("failover.max-loss", 10_000, -1, math.MaxInt32,
			"how many acknowledged writes an automatic failover may lose; -1: any number; 0: none, and every write "+
				"waits for another region, likewise",
			func(c *Config) *int { return &c.Failover.MaxLoss }),
		yesOrNo("failover.stop-writes",
			"where the other regions lag by more than `failover.max-loss`, writes wait for them; else they go on, "+
				"and no failover happens by itself meanwhile, likewise",
			func(c *Config) *bool { return &c.Failover.StopWrites }),
		addressesOfEach("witnesses", "peer addresses of the witnesses, by name, likewise",
			func(c *Config) *map[string][]string { return &c.Failover.Witnesses }),
		count("priority", replication.DefaultPriority, 0, 255,
			"of two regions that are equally far, the one with the higher priority takes over; 0: never this one; "+
				"taken when votes begin",
			func(c *Config) *int { return &c.Failover.Priority }),
	}},
	{"A delayed region", []setting{
		duration("apply-delay", 0, 0, 30*24*time.Hour,
			"how old the history is that this region shows while it is not primary: it stores everything at once, and "+
				"applies it then, so that a failover can go back to before something happened "+
				"([failover](failover.md#somebody-deleted-everything)). Linearizable reads are refused there, and it "+
				"becomes primary by order alone. Equal on all nodes of the region; 0: none",
			func(c *Config) *time.Duration { return &c.Replication.ApplyDelay }),
		size("apply-delay-bytes", replication.DefaultDelayBytes, 1<<20, unbounded,
			"how much history is stored and not shown, at most: beyond it the oldest is shown early, and "+
				"`mimir status` says so. Each node of the region has that much more log on its disk",
			func(c *Config) *int64 { return &c.Replication.DelayBytes }),
	}},
	{"Partial regions", []setting{
		text("partial-regions-file", "",
			"file of the partial regions that may follow this node, one a line: the name, a secret of at least 32 "+
				"characters, and the prefixes of the keys ([operating.md](operating.md#partial-regions)). Set it, "+
				"with the same lines, on all nodes that they may follow. Read again within five seconds when it "+
				"changes",
			func(c *Config) *string { return &c.PartialRegionsFile }),
	}},
	{"TLS", tlsSettings},
	{"Operators", []setting{
		list("operator.allowed-cn", "common names, of which the certificate of an operator has one; needs "+
			"`client-tls.ca`", func(c *Config) *[]string { return &c.Operator.AllowedCN }),
		list("operator.allowed-hostname",
			"names or IP addresses, for one of which the certificate of an operator is valid; likewise",
			func(c *Config) *[]string { return &c.Operator.AllowedHostnames }),
		list("operator.allowed-uri", "URIs, of which the certificate of an operator has one; likewise",
			func(c *Config) *[]string { return &c.Operator.AllowedURIs }),
		text("operator.token-file", "",
			"file of tokens, one a line, of at least 32 characters each, with a name before it or without: who shows "+
				"one is an operator. Read again within five seconds when it changes",
			func(c *Config) *string { return &c.Operator.TokenFile }),
		text("audit-log", "",
			"file to which every operator's call is appended as a line of JSON, made with mode 0600; if it is renamed "+
				"or removed, or at SIGHUP, a new one is begun; if not set the lines go to the log",
			func(c *Config) *string { return &c.Operator.AuditLog }),
		yesOrNo("audit-log-required", "refuse operators' calls while `audit-log` cannot be written, as on a disk "+
			"that is full or hangs, also a failover; "+
			"else their lines go to the log meanwhile, and `status` says so",
			func(c *Config) *bool { return &c.Operator.AuditRequired }),
	}},
	{"Users and roles", []setting{
		text("auth-token", tokenSimple,
			"what a client gets that logs in ([auth.md](auth.md)): `simple`, or "+
				"`jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m`, as etcd's flag; equal everywhere",
			func(c *Config) *string { return &c.AuthToken }),
		duration("auth-token-ttl", token.DefaultTTL, time.Second, token.MostTTL,
			"how long a simple token counts; clients that know the password get another one by themselves",
			func(c *Config) *time.Duration { return &c.AuthTokenTTL }).alsoTaking(secondsOfEtcd),
		count("bcrypt-cost", bcrypt.DefaultCost, bcrypt.MinCost, etcdapi.MaxBcryptCost,
			"what hashing a new password costs, each step twice as much as the one before, also at each login",
			func(c *Config) *int { return &c.BcryptCost }),
	}},
	{"Log", []setting{
		text("log-level", "info", "`debug`, `info`, `warn` or `error`; the log has one event a line",
			func(c *Config) *string { return &c.LogLevel }).alsoTaking(levelOfEtcd),
		text("log-format", "text", "`text` or `json`",
			func(c *Config) *string { return &c.LogFormat }).alsoTaking(formatOfEtcd),
		nameList("log-outputs",
			"where the log goes: `stderr`, `stdout`, or files, which are made with mode 0600 and opened anew at "+
				"SIGHUP, as logrotate wants it; several are all written. Standard error if not set, or with "+
				"`default`, or with `systemd/journal`, where systemd takes it. What one of them does not take, as on "+
				"a disk that is full or hangs, is lost and counted",
			func(c *Config) *[]string { return &c.LogOutputs }),
	}},
	{"Traces", tracingSettings},
	{"Backups", []setting{
		text("backup.to", "", "where backups go by themselves ([operating.md](operating.md#on-a-schedule)): "+
			"`file:///dir`, or `s3://bucket/prefix?endpoint=https://host:port&region=name`; set it, and all of this "+
			"section, alike on all nodes; nobody takes any if not set",
			func(c *Config) *string { return &c.Backup.To }),
		text("backup.region", "", "region whose leader takes them, and whose content they have; the only one if "+
			"there are no `regions`",
			func(c *Config) *string { return &c.Backup.Region }),
		duration("backup.every", 24*time.Hour, time.Minute, 366*24*time.Hour,
			"how often; at whole multiples of it, in UTC",
			func(c *Config) *time.Duration { return &c.Backup.Every }),
		count("backup.keep", 14, 0, 1<<20, "how many of the newest are kept; 0: no such rule",
			func(c *Config) *int { return &c.Backup.Keep }),
		duration("backup.keep-for", 0, 0, 100*366*24*time.Hour,
			"for how long any is kept, and longer until as many newer ones were taken as that time has; 0: no such "+
				"rule. What neither rule keeps is deleted; without both nothing is",
			func(c *Config) *time.Duration { return &c.Backup.KeepFor }),
		text("backup.credentials-file", "", "file of the keys for `s3://`, as AWS's tools have it, read at each "+
			"request; if not set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` count, and "+
			"without them `AWS_SHARED_CREDENTIALS_FILE`; the profile is `AWS_PROFILE`, or `default`",
			func(c *Config) *string { return &c.Backup.CredentialsFile }),
		text("backup.ca-file", "",
			"PEM file: authorities trusted to sign the object storage; the machine's if not set",
			func(c *Config) *string { return &c.Backup.CAFile }),
		text("archive.to", "", "where the log is archived, by which a backup is brought forward to any revision or "+
			"time ([operating.md](operating.md#to-a-point-in-time)); a place as `backup.to`, also the same one, "+
			"reached with the same keys. Set it alike on all nodes; nothing is archived if not set",
			func(c *Config) *string { return &c.Archive.To }),
		text("archive.region", "",
			"region whose leader archives; if not set, that of whichever region is the primary",
			func(c *Config) *string { return &c.Archive.Region }),
		duration("archive.every", 10*time.Second, time.Second, time.Hour,
			"how old what was written is at most when it is archived; each time costs an object",
			func(c *Config) *time.Duration { return &c.Archive.Every }),
		yesOrNo("archive.prune",
			"have whoever takes the backups delete what of the archived log none of them needs that is kept, after "+
				"others were deleted ([operating.md](operating.md#to-a-point-in-time)); snapshots that were saved by "+
				"hand do not count",
			func(c *Config) *bool { return &c.Archive.Prune }),
	}},
	{"Comparing all nodes", []setting{
		duration("compare.every", 24*time.Hour, 0, 366*24*time.Hour,
			"the period in which the node that takes the fleet's writes compares everything that all nodes of all "+
				"regions hold ([operating.md](operating.md#are-all-nodes-equal)): of who differs from his region an "+
				"alarm is raised, and he answers no reads and gives leadership away. Set it alike on all "+
				"nodes; 0: never",
			func(c *Config) *time.Duration { return &c.Compare.Every }),
		size("compare.bytes-per-second", 4<<20, 64<<10, 1<<40,
			"how much of keys and values this node reads a second for that, at most, as who compares and as who is "+
				"compared; if that is too slow for `compare.every` a round takes longer. Between nodes only sums "+
				"travel",
			func(c *Config) *int64 { return &c.Compare.BytesPerSecond }),
	}},
	{"Limits and sizes", []setting{
		size("memory-bytes", 0, 0, unbounded,
			"memory that the process is to stay within: of it are `cache-bytes` and `durability.bytes` (an eighth "+
				"each), `mem-table-bytes` and `count-bytes` (a sixteenth each), `max-answer-bytes` and "+
				"`max-effect-bytes` (a quarter), where they are not set, and three quarters are the limit of the Go "+
				"runtime, unless GOMEMLIMIT is in the environment ([operating.md](operating.md#memory)); 0: each has "+
				"its own default",
			func(c *Config) *int64 { return &c.MemoryBytes }).orNone(leastMemory),
		size("max-request-bytes", etcdapi.DefaultRequestBytes, 1<<10, replication.CommandBytesLimit,
			"largest client request",
			func(c *Config) *int { return &c.Limits.RequestBytes }),
		count("max-txn-ops", etcdapi.DefaultTxnOps, 1, 1<<20, "most operations in a transaction",
			func(c *Config) *int { return &c.Limits.TxnOps }),
		size("max-effect-bytes", etcdapi.DefaultEffectBytes, 1<<20, 2<<30,
			"most that one request may delete, or answer inside a transaction that writes, or of the value that it "+
				"replaces: an estimate of what each node needs for it, with the keys twice, 256 bytes for each, and "+
				"the values if they have to be held; what is answered counts 16 times, since it is held that often",
			func(c *Config) *int64 { return &c.Limits.EffectBytes }),
		size("max-answer-bytes", etcdapi.DefaultAnswerBytes, 1<<20, unbounded,
			"memory of the answers to ranges, and to whatever else only reads, that are being made, or wait for their "+
				"clients to read them, at a time; a request that needs more is refused",
			func(c *Config) *int64 { return &c.Limits.AnswerBytes }),
		size("quota-backend-bytes", 0, 0, unbounded,
			"what the store may take on this node's disk; beyond it the fleet takes no writes but deletes, see "+
				"[operating.md](operating.md#when-a-disk-fills-up); 0 for no bound but the disk's",
			func(c *Config) *int64 { return &c.QuotaBytes }).orNone(1).alsoTaking(quotaOfEtcd),
		size("disk-reserve-bytes", 0, 0, unbounded,
			"what has to be free on the disk of `data-dir`; with less the same happens; 0 for twice "+
				"`mem-table-bytes` and `segment-bytes` together, or a quarter of the disk if that is less",
			func(c *Config) *int64 { return &c.DiskReserveBytes }).orNone(16 << 20),
		text("auto-compaction-mode", autocompact.Periodic,
			"what `auto-compaction-retention` counts: `periodic`, time; `revision`, revisions. As in etcd",
			func(c *Config) *string { return &c.Compaction.Mode }),
		text("auto-compaction-retention", "0",
			"how much of the history is kept, for watches and reads of the past, when the node that takes the fleet's "+
				"writes compacts it by itself: a duration of 1s to 8784h, or a number of hours, once in that time and "+
				"at least hourly; or a number of revisions, every five minutes. Set it on all nodes of all regions; "+
				"0: nobody compacts but clients",
			func(c *Config) *string { return &c.Compaction.Retention }),
		count("max-connections", 0, 0, 1<<20,
			"most client connections; 0 for what the limit of open files leaves beside files and other nodes, up "+
				"to 16384; beyond it they are closed as soon as they come",
			func(c *Config) *int { return &c.MaxConnections }),
		list("crowds",
			"networks, `10.0.0.0/8` or `2001:db8::/48`, and addresses behind each of which there may be many clients "+
				"or nodes, as behind a proxy or NAT: of connections from there that come to nothing as many are let "+
				"in as of those from everywhere together, 2,000 a second after 4,000 at once, where it is 100 after "+
				"1,000 from any other address ([limits](operating.md#limits)). At all ports; and at `listen-client` "+
				"what is kept of clients is shared there by connection, and elsewhere by address",
			func(c *Config) *[]string { return &c.Crowds }),
		count("max-concurrent-streams", etcdapi.DefaultStreams, 16, math.MaxInt32,
			"most requests, streams of watches included, under way on one client connection; others wait at the client",
			func(c *Config) *int { return &c.Limits.Streams }).alsoTaking(streamsOfEtcd),
		count("max-watches", etcdapi.DefaultAllWatches, 1<<10, math.MaxInt32,
			"most watches of all clients of this node; beyond it a stream that has its share of them gets no further "+
				"one, and beyond twice as many none does. Each takes about 4 KiB, and one of long keys counts for as "+
				"many as take as much",
			func(c *Config) *int { return &c.Limits.AllWatches }),
		size("cache-bytes", kv.DefaultCacheBytes, 1<<20, unbounded,
			"memory for hot blocks of the store; the values written or read last take up to half as much "+
				"beside it",
			func(c *Config) *int64 { return &c.Store.CacheBytes }),
		size("mem-table-bytes", kv.DefaultMemTableBytes, 1<<20, 2<<30,
			"size of a memory table of the store; where quota-backend-bytes is set, a sixteenth of that at most",
			func(c *Config) *uint64 { return &c.Store.MemTableBytes }),
		size("count-bytes", kv.DefaultCountBytes, 0, unbounded,
			"memory to count the keys of a range at any revision without a walk over them: 2 to 5 bytes a key, and "+
				"3 to 12 for each that was made or deleted since the last compaction; with less than that, older "+
				"revisions are walked, and more keys beside what a range asks for; 0: none are counted, every range "+
				"that has a limit or asks for a count walks over all of its keys, and `mimir_keys` is absent",
			func(c *Config) *int64 { return &c.Store.CountBytes }),
		count("counted-keys", formerCountedKeys, -1, math.MaxInt32,
			"of earlier versions: with 0 or -1 `count-bytes` is 0, and anything else says nothing any more",
			func(c *Config) *int { return &c.CountedKeys }),
		size("retain-bytes", replication.DefaultRetainBytes, 1<<20, unbounded,
			"log kept for a slow or absent region before it has to bootstrap",
			func(c *Config) *int64 { return &c.Replication.RetainBytes }),
		size("copy-retain-bytes", 0, 0, unbounded,
			"log kept behind a copy of the state that another region fetches, until it has caught up; 0 is twice "+
				"`retain-bytes` and at least 1GiB, any other value is at least `retain-bytes`",
			func(c *Config) *int64 { return &c.Replication.CopyRetainBytes }),
		size("checkpoint-bytes", replication.DefaultCheckpointBytes, 0, unbounded,
			"log written between two checkpoints that a node keeps of its own state, by hard links and at most three, "+
				"so that a region that lost a forced failover goes back to where the histories part, and fetches no "+
				"copy of the whole state; they go first when the disk is nearly full; 0 for none",
			func(c *Config) *int64 { return &c.Replication.CheckpointBytes }).orNone(1 << 20),
		size("segment-bytes", replication.DefaultSegmentBytes, 1<<20, replication.MaxSegmentBytes,
			"size of a log segment",
			func(c *Config) *int64 { return &c.Replication.SegmentBytes }),
		size("compact-bytes", replication.DefaultCompactBytes, 64<<10, unbounded,
			"log written between two attempts to release log; at least so much is kept for a node that comes "+
				"back",
			func(c *Config) *int64 { return &c.Replication.CompactBytes }),
		size("max-command-bytes", replication.DefaultMaxCommandBytes, 1<<10, replication.CommandBytesLimit,
			"largest write that the log takes",
			func(c *Config) *int { return &c.Replication.MaxCommandBytes }),
		size("max-frame-bytes", replication.DefaultMaxFrameBytes, 1<<10, replication.FrameBytesLimit,
			"where a batch of waiting writes is closed; one larger write is a batch of its own",
			func(c *Config) *int { return &c.Replication.MaxFrameBytes }),
		size("max-inflight-bytes", replication.DefaultMaxInflightBytes, 1<<10, 128<<20,
			"writes proposed and not yet applied; beyond it they wait",
			func(c *Config) *int64 { return &c.Replication.MaxInflightBytes }),
		size("stream-window-bytes", replication.DefaultStreamWindowBytes, 64<<10, unbounded,
			"what may be on its way to another region and not acknowledged; more helps on long fast links",
			func(c *Config) *int64 { return &c.Replication.StreamWindowBytes }),
		regionRates("region-rate.copy",
			"most bytes a second that this node sends to another region of copies of its state: `REGION=RATE`, and "+
				"`REGION=HH:MM-HH:MM=RATE` for times of day, by UTC, over midnight as well; `*` is every region that "+
				"is not named, and 0 no bound; see [operating.md](operating.md#hold-what-goes-to-a-region-to-a-rate)",
			func(c *Config) *string { return &c.RegionRate.Copy }),
		regionRates("region-rate.stream", "likewise of the stream, as it is compressed",
			func(c *Config) *string { return &c.RegionRate.Stream }),
		text("durability.default", "local",
			"in which regions a write has to be durable before it is acknowledged: `local`, the primary alone; "+
				"`regions=K`, K regions beside it; `quorum`, a majority of all regions with the primary; `all`. A "+
				"request may say another one; see [operating.md](operating.md#durable-in-other-regions)",
			func(c *Config) *string { return &c.Durability.Default }),
		durabilityOfEach("durability.prefixes",
			"the same for keys that begin with a prefix, of which the longest counts: no request is acknowledged "+
				"for less. Equal on all nodes: that counts of which a client asks",
			func(c *Config) *map[string]string { return &c.Durability.Prefixes }),
		duration("durability.timeout", etcdapi.DefaultDurabilityTimeout, 100*time.Millisecond, 24*time.Hour,
			"bound of a write that waits for other regions, if its client set no deadline, or a later one",
			func(c *Config) *time.Duration { return &c.Durability.Timeout }),
		size("durability.bytes", etcdapi.DefaultDurableBytes, 1<<20, unbounded,
			"memory of the writes at this node that wait for other regions, by their commands and 8 KiB for each; "+
				"beyond it one is refused, and not written",
			func(c *Config) *int64 { return &c.Limits.DurableBytes }),
		count("lag-gate.regions", 1, 1, 64,
			"how many other regions have to be within the bounds that follow before the primary takes writes as they "+
				"come; more than there are is all; see [operating.md](operating.md#bound-how-far-others-may-be-behind)",
			func(c *Config) *int { return &c.LagGate.Regions }),
		size("lag-gate.delay-bytes", 0, 0, unbounded,
			"of log that such a region has not acknowledged: from here on batches of writes wait for each other, up "+
				"to a second; 0 for no bound",
			func(c *Config) *int64 { return &c.LagGate.DelayBytes }),
		duration("lag-gate.delay-time", 0, 0, 24*time.Hour, "likewise, in time",
			func(c *Config) *time.Duration { return &c.LagGate.DelayTime }),
		size("lag-gate.refuse-bytes", 0, 0, unbounded, "likewise, from where no write is taken any more",
			func(c *Config) *int64 { return &c.LagGate.RefuseBytes }),
		duration("lag-gate.refuse-time", 0, 0, 24*time.Hour, "likewise, in time",
			func(c *Config) *time.Duration { return &c.LagGate.RefuseTime }),
		size("peer-window-bytes", grpctransport.DefaultWindowBytes, 64<<10, 1<<30,
			"receive window of a connection between nodes, and of each stream on it",
			func(c *Config) *int32 { return &c.Peers.WindowBytes }),
		text("peer-congestion-control", grpctransport.DefaultCongestionControl,
			"what is asked of the system for sockets between nodes; "+
				"`"+grpctransport.SystemCongestionControl+"` asks for nothing",
			func(c *Config) *string { return &c.Peers.CongestionControl }),
	}},
	{"Timing", []setting{
		duration("tick-interval", replication.DefaultTickInterval, time.Millisecond, 10*time.Second,
			"unit of Raft time: leaders send heartbeats at this pace; equal in a region",
			func(c *Config) *time.Duration { return &c.Replication.TickInterval }),
		count("election-ticks", replication.DefaultElectionTicks, replication.MinElectionTicks, 1000,
			"ticks without a leader that start an election",
			func(c *Config) *int { return &c.Replication.ElectionTicks }),
		duration("peer-dead-after", grpctransport.DefaultDeadAfter, grpctransport.MinDeadAfter, time.Hour,
			"how long another node may be silent on an idle connection before it is given up",
			func(c *Config) *time.Duration { return &c.Peers.DeadAfter }),
		duration("request-timeout", etcdapi.DefaultRequestTimeout, 100*time.Millisecond, 24*time.Hour,
			"bound of a request whose client set no deadline, or a later one; what needs a primary that has been "+
				"silent for so long waits for a third of leader-timeout instead",
			func(c *Config) *time.Duration { return &c.Limits.RequestTimeout }),
		duration("max-staleness", 0, 0, 24*time.Hour,
			"what a serializable read of this node may miss: nothing that was acknowledged longer ago, else it is "+
				"refused; clients may ask for less, see [operating.md](operating.md#reads-that-may-be-stale); 0 for "+
				"no bound",
			func(c *Config) *time.Duration { return &c.Limits.Staleness }),
		duration("watch-progress-interval", etcdapi.DefaultProgressInterval, 100*time.Millisecond, 24*time.Hour,
			"how often a quiet watch that asked for it is told of its progress",
			func(c *Config) *time.Duration { return &c.Limits.ProgressInterval }),
		duration("warning-unary-request-duration", 300*time.Millisecond, 0, time.Hour,
			"the log is told of a request that takes longer, of ten in ten seconds at most, and of how many others "+
				"did; not of watches and other streams; 0 for none",
			func(c *Config) *time.Duration { return &c.SlowRequest }),
		duration("grpc-keepalive-interval", defaultKeepaliveInterval, time.Second, 24*time.Hour,
			"for how long a client over gRPC may say nothing before it is asked whether it lives; less than what "+
				"stands between takes for the end of a connection, as a load balancer or NAT",
			func(c *Config) *time.Duration { return &c.Keepalive.Interval }),
		duration("grpc-keepalive-timeout", defaultKeepaliveTimeout, time.Second, time.Hour,
			"how long it has to answer, before its connection is closed",
			func(c *Config) *time.Duration { return &c.Keepalive.Timeout }),
		duration("grpc-keepalive-min-time", defaultKeepaliveMinTime, 10*time.Millisecond, 24*time.Hour,
			"what has to pass between two questions by which a client finds out whether the node lives; who asks more "+
				"often is closed",
			func(c *Config) *time.Duration { return &c.Keepalive.MinTime }),
		duration("leader-timeout", etcdapi.DefaultLeaderTimeout, time.Millisecond, time.Hour,
			"how long a stream that requires a leader outlives the loss of it, and, five times as long, that of the "+
				"primary, where the region's own leader is there",
			func(c *Config) *time.Duration { return &c.Limits.LeaderTimeout }),
		duration("shutdown-timeout", 10*time.Second, 2*drainTime, 24*time.Hour,
			"bound of a stop in good order; beyond it the node stops at once, which loses nothing",
			func(c *Config) *time.Duration { return &c.ShutdownTimeout }),
	}},
}

// Values of advertise-regions.
const (
	advertiseOwn = "own"
	advertiseAll = "all"
)

// Values of initial-cluster-state, which are those of etcd.
const (
	stateNew      = "new"
	stateExisting = "existing"
)

// settings are those of all sections.
var settings = func() (all []setting) {
	for _, s := range sections {
		all = append(all, s.settings...)
	}
	return all
}()

// ascending are pairs of settings of which the first must not be above the second.
var ascending = [][2]string{
	{"max-request-bytes", "max-command-bytes"},
	{"max-request-bytes", "max-effect-bytes"},
	{"max-request-bytes", "max-answer-bytes"},
	{"max-frame-bytes", "max-inflight-bytes"},
	{"segment-bytes", "retain-bytes"},
}
