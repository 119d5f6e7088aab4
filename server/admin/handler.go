package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/patrol"
	"github.com/mimir-kv/mimir/server/plain"
	"github.com/mimir-kv/mimir/server/trust"
	"github.com/mimir-kv/mimir/server/verify"
)

// Replicator is what this package needs of replication.MultiRegionReplicator.
type Replicator interface {
	Health() *replication.HealthStatus
	Fleet(ctx context.Context) *replication.FleetStatus
	Switchover(ctx context.Context, to string) (*replication.MoveReport, error)
	AbortSwitchover(ctx context.Context) (replication.Position, error)
	Found(ctx context.Context, primary string) (*replication.Reign, error)
	FormRegion(ctx context.Context) (*replication.Formation, error)
	Failover(ctx context.Context, to string, force bool) (*replication.MoveReport, error)
	FailoverWithin(ctx context.Context, to string, accept uint64) (*replication.MoveReport, error)
	FailoverAt(ctx context.Context, to string, at replication.Point) (*replication.MoveReport, error)
	Tails(ctx context.Context) ([]replication.TailInfo, error)
	ReadTail(
		ctx context.Context, name string,
		visit func(replication.Epoch, replication.Position, replication.Command) error,
	) error
	TailState(ctx context.Context, name string) (dir string, state *replication.TailState, err error)
	TailReigns(ctx context.Context, name string) (lost, today []replication.Reign, err error)
	DiscardTail(ctx context.Context, name string) error
}

// Voting is what this package needs of replication.Voting.
type Voting interface {
	Enable(ctx context.Context, s replication.VoteSettings) (*replication.Charter, error)
	Pause(ctx context.Context, reason string) (*replication.Charter, error)
	Hold(ctx context.Context, d time.Duration) (*replication.Charter, error)
	Change(ctx context.Context, c replication.VoteChange) (*replication.Charter, error)
	Recover(ctx context.Context, region string) (*replication.Reign, error)
	RecoverAt(ctx context.Context, region string, at replication.Point) (*replication.Reign, error)
}

// Topology is what this package needs of replication.Topology.
type Topology interface {
	Add(ctx context.Context, a replication.RegionAddition) (*replication.RegionChange, error)
	Remove(ctx context.Context, r replication.RegionRemoval) (*replication.RegionChange, error)
	Follow(ctx context.Context, o replication.RegionSourcing) (*replication.RegionChange, error)
}

// Node is one node's picture of itself.
type Node struct {
	*replication.HealthStatus
	Version         string   `json:"version"`
	Revision        Revision `json:"revision"`
	CompactRevision Revision `json:"compactRevision"`
	StoreBytes      int64    `json:"storeBytes"`
	// Alarms are those of the whole fleet, as this node has them.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Open says what is open to others on this node, and what to change.
	Open []string `json:"open,omitempty"`
	// AuditProblem says why the audit log cannot be written. Open says it too, for those that do not know this field.
	AuditProblem string `json:"auditProblem,omitempty"`
	// IdleSettings says which settings of this node mean nothing in the fleet as it knows it.
	IdleSettings []string `json:"idleSettings,omitempty"`
	// Operators says who is an operator: the settings that name them, root, or [Everybody]. Empty: the node is of a
	// version that asks nobody.
	Operators string `json:"operators,omitempty"`
	// TLS is what this node shows and trusts. Nil without TLS, and of nodes that do not tell.
	TLS *trust.Report `json:"tls,omitempty"`
	// Archive is how the log is archived, as this node has it. Nil where it is not to be; and where another region is
	// to do it, of nodes of versions before.
	Archive *archive.Status `json:"archive,omitempty"`
	// Backup is what this node knows of backups. Nil where the settings have none, and of nodes that do not tell.
	Backup *schedule.Report `json:"backup,omitempty"`
	// TellsPlaces says that this node would tell of Archive and Backup if its settings had them: it is of a version
	// that knows both.
	TellsPlaces bool `json:"tellsPlaces,omitempty"`
	// FleetWithin is within how many seconds this node tells of the fleet, whoever of it stands still. Zero: it does
	// not say.
	FleetWithin float64 `json:"fleetWithinSeconds,omitempty"`
	// Partial are the partial regions that may follow this node, with who does.
	Partial []partial.Report `json:"partial,omitempty"`
	// Compare is what this node knows of how equal all nodes are. Nil of nodes that never compared them.
	Compare *patrol.Report `json:"compare,omitempty"`
}

// Everybody is who is an operator on a node where nothing says who is.
const Everybody = "everybody"

// Follows is the kind of an alarm of nobody's: the fleet follows an etcd, and takes no writes of clients.
const Follows = "FOLLOWS"

// Kinds of alarms about a member that was compared with others: it holds something else than its region; or than
// others, and it is not known who is right.
const (
	Differs = "DIFFERS"
	Unsure  = "UNSURE"
)

// Alarm is one that a member has raised, NOSPACE, or that was raised about it.
type Alarm struct {
	Kind   string `json:"kind"`
	Member uint64 `json:"member"` // its Raft identity
}

// Write is one command of a tail.
type Write struct {
	Epoch    replication.Epoch    `json:"epoch"`
	Position replication.Position `json:"position"`
	// Op is put, delete-range, txn, compact, lease-grant, lease-revoke, lease-expiry, lease-expiry-part or alarm, and
	// Request what it was asked to do, as the etcd API's JSON: keys and values in base64. A lease-expiry is no request:
	// the primary revoked a lease that nobody renewed there; nor is a part of one, a transaction that deletes some of
	// the keys of such a lease. They are not to be replayed. What changes users and roles is auth-enable, user-add and
	// so on; no passwords are shown, nor what was made of them.
	Op      string          `json:"op"`
	Request json.RawMessage `json:"request"`
	// User is in whose name it was asked for, while authentication was enabled. Refused says why it was not done, Doubt
	// why it is not known whether it was: whether the user was permitted to.
	User    string `json:"user,omitempty"`
	Refused string `json:"refused,omitempty"`
	Doubt   string `json:"doubt,omitempty"`
}

// Move is the body of a switchover or failover.
type Move struct {
	To    string `json:"to"`
	Force bool   `json:"force,omitempty"`
	// AcceptLoss is how many acknowledged writes a failover may lose, without Force, where votes are taken.
	AcceptLoss *uint64 `json:"acceptLoss,omitempty"`
	// At is where a region that is kept delayed begins, with Force: a failover to the past.
	At *replication.Point `json:"at,omitempty"`
}

// HandlerOptions are what a handler answers from. All must be set, but for those that say otherwise.
type HandlerOptions struct {
	Replicator Replicator
	Voting     Voting
	Topology   Topology
	Node       func() Node
	States     States
	// Beside sums what the store holds beside its keys.
	Beside func(ctx context.Context, w *verify.Wait) (*verify.Beside, error)
	// Rebuild has this node take the state of a sibling, and returns where what it held is kept.
	Rebuild func(ctx context.Context) (kept string, err error)
	Events  Events
	// NotPartial says why a name that is a partial region's cannot be that of a region. May be nil.
	NotPartial func(region string) error
	// WriteLog sets how the node's log is written, as far as it is told, and returns how it is.
	WriteLog func(Log) (Log, error)
	Logger   *slog.Logger
	// Guard returns the handler of a pattern with what checks that the caller may call it before it.
	Guard func(pattern string, h http.Handler) http.Handler
}

// maxBodyBytes bounds what a call may send.
const maxBodyBytes = 64 << 10

const (
	// mostLooks is how many questions about all tails are answered at a time: each reads every one of them whole, also
	// when who asked has left.
	mostLooks = 2
	// mostDigests is how many questions about what the store holds are answered at a time: each reads much of it.
	mostDigests = 1
)

// MoveTime is how long a node lets a move take, or a change of who votes: far longer than one does.
const MoveTime = 5 * time.Minute

// longestLease is the longest that a fleet can have.
const longestLease = time.Hour

// RecoveryTime is how long a node lets a recovery take that knows so much of the votes: a recovery waits until no
// promise is left. Nil is a region that does not know for how long they are any more, as one whose ballot is lost.
func RecoveryTime(v *replication.VoteStatus) time.Duration {
	if v == nil {
		return MoveTime + longestLease
	}
	return MoveTime + max(v.Lease, v.Former)
}

type handler struct {
	HandlerOptions
	tails, states  *places
	looks, digests *semaphore.Weighted
	looking        *looking
}

// lasting returns a context for what goes on if its caller hangs up.
func lasting(r *http.Request) (context.Context, context.CancelFunc) { return lastingFor(r, MoveTime) }

func lastingFor(r *http.Request, bound time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), bound)
}

// NewHandler returns the handler of everything under /mimir/v1/.
func NewHandler(o HandlerOptions) http.Handler {
	h := &handler{
		HandlerOptions: o, tails: newPlaces(mostTails), states: newPlaces(stateRoom),
		looks: semaphore.NewWeighted(mostLooks), digests: semaphore.NewWeighted(mostDigests),
	}
	h.looking = &looking{look: func(ctx context.Context) *replication.FleetStatus {
		return o.Replicator.Fleet(ctx)
	}, logger: o.Logger}
	mux := http.NewServeMux()
	on := func(pattern string, f http.HandlerFunc) { mux.Handle(pattern, o.Guard(pattern, f)) }
	on("GET /mimir/v1/node", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Node(), nil) })
	on("GET /mimir/v1/fleet", func(w http.ResponseWriter, r *http.Request) {
		f, err := h.looking.fleet(r.Context())
		answer(w, f, err)
	})
	on("GET /mimir/v1/events", h.tellEvents)
	on("GET /mimir/v1/log", h.tellLog)
	on("POST /mimir/v1/log", h.setLog)
	on("POST /mimir/v1/switchover", h.move)
	on("POST /mimir/v1/switchover/abort", h.abort)
	on("POST /mimir/v1/fleet/init", h.found)
	on("POST /mimir/v1/failover", h.move)
	on("POST /mimir/v1/votes/enable", h.enableVotes)
	on("POST /mimir/v1/votes/recover", h.recoverVotes)
	on("POST /mimir/v1/votes/pause", h.pauseFailover)
	on("POST /mimir/v1/votes/hold", h.holdPrimary)
	on("POST /mimir/v1/votes/change", h.changeVotes)
	on("POST /mimir/v1/regions/add", h.addRegion)
	on("POST /mimir/v1/regions/remove", h.removeRegion)
	on("POST /mimir/v1/regions/move", h.moveRegion)
	on("GET /mimir/v1/tails", h.listTails)
	on("GET /mimir/v1/tails/{name}", h.readTail)
	on("GET /mimir/v1/tails/{name}/state", h.readState)
	on("GET /mimir/v1/tails/{name}/fork", h.fork)
	on("DELETE /mimir/v1/tails/{name}", h.discardTail)
	on("POST /mimir/v1/digest", h.digest)
	on("POST /mimir/v1/digest/beside", h.beside)
	on("POST /mimir/v1/rebuild", h.rebuild)
	on("/mimir/v1/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Sprintf("no such call: %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// fault says what of a move contradicts itself, "" if nothing: what would not be heeded is refused, so that nobody
// takes a bound for one that holds.
func (m *Move) fault(failover bool) string {
	switch {
	case m.To == "":
		return `"to" names no region`
	case m.At != nil && (!m.Force || m.AcceptLoss != nil || !failover):
		return `"at" is of a failover by force`
	case !failover && (m.Force || m.AcceptLoss != nil):
		return `"force" and "acceptLoss" are of a failover: a switchover loses nothing`
	case m.Force && m.AcceptLoss != nil:
		return `either "force", which accepts any loss, or "acceptLoss", which bounds it`
	}
	return ""
}

func (h *handler) move(w http.ResponseWriter, r *http.Request) {
	var in Move
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	if fault := in.fault(r.URL.Path == "/mimir/v1/failover"); fault != "" {
		refuse(w, http.StatusBadRequest, "body: "+fault)
		return
	}
	if h.isPartial(w, in.To) {
		return
	}
	// A move goes on if the caller hangs up: only the replicator decides how it ends.
	ctx, cancel := lasting(r)
	defer cancel()
	var report *replication.MoveReport
	var err error
	op := "failover"
	if in.At != nil {
		report, err = h.Replicator.FailoverAt(ctx, in.To, *in.At)
	} else if r.URL.Path == "/mimir/v1/switchover" {
		op = "switchover"
		report, err = h.Replicator.Switchover(ctx, in.To)
	} else if in.AcceptLoss != nil {
		report, err = h.Replicator.FailoverWithin(ctx, in.To, *in.AcceptLoss)
	} else {
		report, err = h.Replicator.Failover(ctx, in.To, in.Force)
	}
	h.orderedMove(r, op, &in, report, err)
	answer(w, report, err)
}

// isPartial refuses what names a partial region, and reports whether one of these is.
func (h *handler) isPartial(w http.ResponseWriter, regions ...string) bool {
	for _, name := range regions {
		if h.NotPartial == nil || name == "" {
			continue
		}
		if err := h.NotPartial(name); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return true
		}
	}
	return false
}

// Aborted is the answer to an order to take the switchover under way back: where the primary, which goes on, was then.
type Aborted struct {
	Position replication.Position `json:"position"`
}

func (h *handler) abort(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := lasting(r)
	defer cancel()
	at, err := h.Replicator.AbortSwitchover(ctx)
	h.ordered(r, replication.Order{Op: "switchover abort"}, replication.Event{Position: at}, err)
	answer(w, Aborted{at}, err)
}

func (h *handler) listTails(w http.ResponseWriter, r *http.Request) {
	if h.looks.Acquire(r.Context(), 1) != nil {
		return // the client has left
	}
	answerOf(w, h.looks, func() (any, error) { return h.Replicator.Tails(r.Context()) })
}

// errEnough ends the reading of a tail of which no more is wanted.
var errEnough = errors.New("enough")

// readTail sends one JSON object a line, as many as the caller names, or all. An error on the way ends the connection,
// so that a cut tail is never taken for a whole one.
func (h *handler) readTail(w http.ResponseWriter, r *http.Request) {
	most := uint64(math.MaxUint64)
	if text := r.URL.Query().Get("most"); text != "" {
		var err error
		if most, err = strconv.ParseUint(text, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "most: not a number: "+text)
			return
		}
	}
	leave, ok := h.tails.take(w, r, "tail "+r.PathValue("name"))
	if !ok {
		return
	}
	defer leave()
	out := json.NewEncoder(w)
	began := false
	rights := newRights(h.States)
	err := h.Replicator.ReadTail(r.Context(), r.PathValue("name"),
		func(e replication.Epoch, p replication.Position, c replication.Command) error {
			if most == 0 {
				return errEnough
			}
			most--
			write, err := describe(e, p, c.Data)
			if err == nil {
				err = rights.judge(write, c.Data)
			}
			if err != nil {
				return err
			}
			if !began {
				w.Header().Set("Content-Type", "application/x-ndjson")
				began = true
			}
			return out.Encode(write)
		})
	switch {
	case errors.Is(err, errEnough):
	case err != nil && began:
		h.Logger.Warn("tail not sent to its end", "tail", r.PathValue("name"), "err", err)
		panic(http.ErrAbortHandler)
	case err != nil:
		refuse(w, statusOf(err), err.Error())
	}
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	text, err := Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n')) //nolint:errcheck // the client is gone
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Error{Text: plain.Words(text)}) //nolint:errcheck // the client is gone
}

// statusOf gives the status under which an error is reported; the text says the rest.
func statusOf(err error) int {
	for _, c := range []struct {
		err    error
		status int
	}{
		{replication.ErrUnknownRegion, http.StatusNotFound},
		{replication.ErrTailNotFound, http.StatusNotFound},
		{replication.ErrTailForeign, http.StatusConflict},
		{replication.ErrAlreadyPrimary, http.StatusConflict},
		{replication.ErrNeedsForce, http.StatusConflict},
		{replication.ErrHandoff, http.StatusConflict},
		{replication.ErrAlreadyBegun, http.StatusConflict},
		{replication.ErrRejected, http.StatusConflict},
		{replication.ErrArgument, http.StatusBadRequest},
		{replication.ErrDiverged, http.StatusConflict},
		{replication.ErrNotReady, http.StatusServiceUnavailable},
		{replication.ErrNotLeader, http.StatusServiceUnavailable},
		{replication.ErrClosed, http.StatusServiceUnavailable},
		{command.ErrCompacted, http.StatusGone},
		{kv.ErrNotHere, http.StatusPreconditionFailed},
		{command.ErrFutureRevision, http.StatusConflict},
		{verify.ErrQuestion, http.StatusBadRequest},
		{context.DeadlineExceeded, http.StatusGatewayTimeout},
	} {
		if errors.Is(err, c.err) {
			return c.status
		}
	}
	return http.StatusInternalServerError
}
