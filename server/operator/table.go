package operator

import (
	"iter"
	"maps"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Right is what a call needs.
type Right int

const (
	// Operator is the right of operators. It is the zero value, and so that of what nobody thought of.
	Operator Right = iota
	// Client is the right to connect, and what users and roles say of the call.
	Client
	// Anyone is the right of whoever reaches the port.
	Anyone
)

// Call is what a call needs, and what the audit log says of it.
type Call struct {
	Right Right
	// Long says that it may take long: its beginning is told too.
	Long bool
	// Args are the fields of the request, of its path or its query that are told. None is a value or a secret, and keys
	// are only those that bound a permission.
	Args []string
	// Reads says that it changes nothing: of those who had to show no right it is told no more often than refusals.
	Reads bool
	// harmless says of a request of a call for operators that any client may make it; nil: of none.
	harmless func(request any) bool
}

// Of returns what a gRPC method, by its full name, or a pattern of HTTP needs.
func Of(name string) (call Call, known bool) {
	call, known = table[name]
	return call, known
}

// All returns every call that is known.
func All() iter.Seq2[string, Call] { return maps.All(table) }

// Names of services.
const (
	kv          = "/etcdserverpb.KV/"
	watch       = "/etcdserverpb.Watch/"
	lease       = "/etcdserverpb.Lease/"
	cluster     = "/etcdserverpb.Cluster/"
	maintenance = "/etcdserverpb.Maintenance/"
	auth        = "/etcdserverpb.Auth/"
	lock        = "/v3lockpb.Lock/"
	election    = "/v3electionpb.Election/"
	health      = "/grpc.health.v1.Health/"
	imports     = "/mimir.v1.Import/"
	partial     = "/mimir.v1.Partial/"
)

// votes and changes are the fields of what is ordered about votes.
var (
	votes   = []string{"automatic", "lease", "patience", "drift", "maxLoss", "stopWrites", "witnesses"}
	changes = []string{"remove", "add", "witness", "addrs", "automatic", "lease", "patience", "maxLoss", "stopWrites",
		"flapMoves", "flapWithin", "failback", "priorities"}
)

// table has every call.
var table = map[string]Call{
	kv + "Range":       {Right: Client},
	kv + "RangeStream": {Right: Client},
	kv + "Put":         {Right: Client},
	kv + "DeleteRange": {Right: Client},
	kv + "Txn":         {Right: Client},
	// Clients compact their own history: a Kubernetes API server does every five minutes.
	kv + "Compact": {Right: Client},

	watch + "Watch": {Right: Client},

	lease + "LeaseGrant":      {Right: Client},
	lease + "LeaseRevoke":     {Right: Client},
	lease + "LeaseKeepAlive":  {Right: Client},
	lease + "LeaseTimeToLive": {Right: Client},
	lease + "LeaseLeases":     {Right: Client},

	cluster + "MemberList":    {Right: Client},
	cluster + "MemberAdd":     {Args: []string{"peerURLs", "isLearner"}},
	cluster + "MemberRemove":  {Args: []string{"ID"}},
	cluster + "MemberUpdate":  {Args: []string{"ID", "peerURLs"}},
	cluster + "MemberPromote": {Args: []string{"ID"}},

	maintenance + "Status":     {Right: Client},
	maintenance + "Alarm":      {Args: []string{"action", "memberID", "alarm"}, harmless: listsAlarms},
	maintenance + "Defragment": {},
	// The hashes read everything, and tell whether it is what somebody guessed.
	maintenance + "Hash":       {Reads: true},
	maintenance + "HashKV":     {Reads: true, Args: []string{"revision"}},
	maintenance + "Snapshot":   {Long: true},
	maintenance + "MoveLeader": {Args: []string{"targetID"}},
	maintenance + "Downgrade":  {Args: []string{"action", "version"}},

	// Whoever makes users makes root, who is an operator.
	auth + "AuthEnable":           {},
	auth + "AuthDisable":          {},
	auth + "AuthStatus":           {Right: Client},
	auth + "Authenticate":         {Right: Anyone},
	auth + "UserAdd":              {Args: []string{"name"}},
	auth + "UserGet":              {Right: Client},
	auth + "UserList":             {Right: Client},
	auth + "UserDelete":           {Args: []string{"name"}},
	auth + "UserChangePassword":   {Args: []string{"name"}},
	auth + "UserGrantRole":        {Args: []string{"user", "role"}},
	auth + "UserRevokeRole":       {Args: []string{"name", "role"}},
	auth + "RoleAdd":              {Args: []string{"name"}},
	auth + "RoleGet":              {Right: Client},
	auth + "RoleList":             {Right: Client},
	auth + "RoleDelete":           {Args: []string{"role"}},
	auth + "RoleGrantPermission":  {Args: []string{"name", "perm"}},
	auth + "RoleRevokePermission": {Args: []string{"role", "key", "range_end"}},

	// They read and write keys of who asks, as he may.
	lock + "Lock":         {Right: Client},
	lock + "Unlock":       {Right: Client},
	election + "Campaign": {Right: Client},
	election + "Proclaim": {Right: Client},
	election + "Leader":   {Right: Client},
	election + "Observe":  {Right: Client},
	election + "Resign":   {Right: Client},

	imports + "Follow": {Long: true},
	// Who follows shows a secret of his own.
	partial + "Follow": {Right: Anyone},

	health + "Check": {Right: Anyone},
	health + "List":  {Right: Anyone},
	health + "Watch": {Right: Anyone},

	"/health":      {Right: Anyone},
	"/version":     {Right: Anyone},
	"/v3/":         {Right: Anyone}, // the JSON gateway: what it calls needs what it needs over gRPC
	"/v3beta/":     {Right: Anyone}, // the same
	"GET /metrics": {Right: Anyone},

	"/livez":                    {Right: Anyone},
	"/livez/serializable_read":  {Right: Anyone},
	"/readyz":                   {Right: Anyone},
	"/readyz/data_corruption":   {Right: Anyone},
	"/readyz/serializable_read": {Right: Anyone},
	"/readyz/linearizable_read": {Right: Anyone},
	"/readyz/non_learner":       {Right: Anyone},
	"/readyz/node_health":       {Right: Anyone},

	// The page has nothing of the fleet in it; what it shows is what status does, and for operators also where that is
	// for nobody else.
	"GET /console/":                  {Right: Anyone},
	"GET /console/events":            {Right: Client},
	"GET /console/operator/events":   {Reads: true, Long: true},
	"GET /console/operator/settings": {Reads: true},
	"GET /console/operator/slow":     {Reads: true},   // with keys of clients in it
	"POST /v3/auth/authenticate":     {Right: Anyone}, // on listen-http, as over gRPC

	// The arguments of the process, and the inside of its memory; each costs the node something.
	"GET /debug/vars":      {Reads: true},
	"/debug/pprof/":        {Reads: true},
	"/debug/pprof/cmdline": {Reads: true},
	"/debug/pprof/profile": {Reads: true, Long: true, Args: []string{"seconds"}},
	"/debug/pprof/symbol":  {Reads: true},
	"/debug/pprof/trace":   {Reads: true, Long: true, Args: []string{"seconds"}},

	"/mimir/v1/":                       {Right: Anyone}, // there is no such call
	"GET /mimir/v1/node":               {Right: Client},
	"GET /mimir/v1/fleet":              {Right: Client},
	"GET /mimir/v1/events":             {Reads: true, Args: []string{"after", "since", "region"}},
	"GET /mimir/v1/log":                {Reads: true},
	"POST /mimir/v1/log":               {Args: []string{"level", "format"}},
	"POST /mimir/v1/switchover":        {Long: true, Args: []string{"to"}},
	"POST /mimir/v1/switchover/abort":  {Long: true},
	"POST /mimir/v1/failover":          {Long: true, Args: []string{"to", "force", "acceptLoss", "at"}},
	"POST /mimir/v1/fleet/init":        {Long: true, Args: []string{"primary"}},
	"POST /mimir/v1/votes/enable":      {Long: true, Args: votes},
	"POST /mimir/v1/votes/pause":       {Long: true, Args: []string{"reason"}},
	"POST /mimir/v1/votes/hold":        {Long: true, Args: []string{"forNanos"}},
	"POST /mimir/v1/votes/change":      {Long: true, Args: changes},
	"POST /mimir/v1/votes/recover":     {Long: true, Args: []string{"keep", "at"}},
	"POST /mimir/v1/regions/add":       {Long: true, Args: []string{"region", "peers", "source", "try"}},
	"POST /mimir/v1/regions/remove":    {Long: true, Args: []string{"region", "gone", "loseTail", "try"}},
	"POST /mimir/v1/regions/move":      {Long: true, Args: []string{"region", "source", "try"}},
	"POST /mimir/v1/digest":            {Reads: true},
	"POST /mimir/v1/digest/beside":     {Reads: true},
	"POST /mimir/v1/rebuild":           {Long: true},
	"GET /mimir/v1/tails":              {Reads: true},
	"GET /mimir/v1/tails/{name}":       {Long: true, Args: []string{"name", "most"}},
	"GET /mimir/v1/tails/{name}/state": {Long: true, Args: []string{"name", "after"}},
	"GET /mimir/v1/tails/{name}/fork":  {Reads: true, Args: []string{"name"}},
	"DELETE /mimir/v1/tails/{name}":    {Long: true, Args: []string{"name"}},

	"GET /mimir/v1/replay":              {Reads: true, Args: []string{"follow"}},
	"POST /mimir/v1/replay":             {Long: true, Args: []string{"tail", "dryRun", "region", "epoch"}},
	"POST /mimir/v1/replay/stop":        {},
	"GET /mimir/v1/replay/tails":        {Reads: true},
	"GET /mimir/v1/replay/tails/{name}": {Long: true, Args: []string{"name"}},
}

// listsAlarms reports whether a request for alarms changes none.
func listsAlarms(request any) bool {
	r, ok := request.(*pb.AlarmRequest)
	return ok && r.Action == pb.AlarmRequest_GET
}
