package etcdapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/mimir-kv/mimir/replication"
)

// DurabilityKey is the key of request metadata that says in which regions a write has to be durable before it is
// acknowledged, as [ParseDurability] reads it. It takes the place of DurabilityRules.Default, and asks for no less than
// the prefix of a key demands.
const DurabilityKey = "mimir-durability"

// DefaultDurabilityTimeout bounds the wait for other regions.
const DefaultDurabilityTimeout = 10 * time.Second

// Durability says in which regions a write has to be durable before it is acknowledged. The zero value is local: in
// the primary.
type Durability struct {
	others int // beside the primary, or one of those that follow
}

// maxOthers is how many regions beside the primary can be asked for by their number.
const maxOthers = replication.MaxRegions - 1

const (
	quorumOfRegions = -1
	allRegions      = -2
)

// ParseDurability reads local, regions=K, which is K regions beside the primary, quorum, which is a majority of the
// regions with the primary among them, or all.
func ParseDurability(text string) (Durability, error) {
	switch text {
	case "local":
		return Durability{}, nil
	case "quorum":
		return Durability{quorumOfRegions}, nil
	case "all":
		return Durability{allRegions}, nil
	}
	if number, ok := strings.CutPrefix(text, "regions="); ok {
		if k, err := strconv.ParseUint(number, 10, 8); err == nil && k > 0 && k <= maxOthers {
			return Durability{int(k)}, nil
		}
	}
	return Durability{}, fmt.Errorf("%q is none of local, regions=K (K regions beside the primary, 1 to %d), quorum "+
		"and all", text, maxOthers)
}

// kind is what d is, whatever the number: local, regions, quorum or all.
func (d Durability) kind() string {
	kind, _, _ := strings.Cut(d.String(), "=")
	return kind
}

// String returns d as ParseDurability reads it.
func (d Durability) String() string {
	switch d.others {
	case 0:
		return "local"
	case quorumOfRegions:
		return "quorum"
	case allRegions:
		return "all"
	}
	return "regions=" + strconv.Itoa(d.others)
}

// of returns how many regions beside the primary that is in a fleet of so many.
func (d Durability) of(regions int) int {
	switch d.others {
	case quorumOfRegions:
		return regions / 2
	case allRegions:
		return regions - 1
	}
	return d.others
}

// DurabilityRules say what holds for writes whose client says nothing, or less.
type DurabilityRules struct {
	// Default is of keys that no prefix has, and of writes without keys, if the request says nothing.
	Default Durability
	// Prefixes are the least for the keys that begin with them; of several the longest counts.
	Prefixes map[string]Durability
	// Timeout bounds a write that waits for other regions. Default DefaultDurabilityTimeout.
	Timeout time.Duration
}

// span is the keys that a write may touch, in the way of requests: to is empty for one key, and one zero byte where
// there is no end.
type span struct{ from, to []byte }

func (s span) endless() bool { return len(s.to) == 1 && s.to[0] == 0 }

// begins reports whether prefix begins inside of s, behind its first key.
func (s span) begins(prefix string) bool {
	p := []byte(prefix)
	return len(s.to) > 0 && bytes.Compare(p, s.from) > 0 && (s.endless() || bytes.Compare(p, s.to) < 0)
}

// within reports whether all keys of s, whose first one does, begin with prefix.
func (s span) within(prefix string) bool {
	if len(s.to) == 0 {
		return true
	}
	end := endOfPrefix(prefix)
	return end == nil || !s.endless() && bytes.Compare(s.to, end) <= 0
}

// endOfPrefix returns the first key behind those that begin with prefix, nil if there is none.
func endOfPrefix(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// governing returns what holds for keys of s by their prefixes, and whether some may have none.
func (r *DurabilityRules) governing(s span) (list []Durability, bare bool) {
	var around []string
	for prefix, d := range r.Prefixes {
		switch {
		case bytes.HasPrefix(s.from, []byte(prefix)):
			around = append(around, prefix)
		case s.begins(prefix):
			list = append(list, d)
		}
	}
	slices.SortFunc(around, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, prefix := range around {
		list = append(list, r.Prefixes[prefix])
		if s.within(prefix) {
			return list, false
		}
	}
	return list, true
}

// demands returns everything that holds for a write: by what its request says, nil if nothing, and by its keys.
func (r *DurabilityRules) demands(said []Durability, touched []span) []Durability {
	list, bare := slices.Clone(said), len(touched) == 0
	for _, s := range touched {
		more, some := r.governing(s)
		list, bare = append(list, more...), bare || some
	}
	if bare && len(said) == 0 {
		list = append(list, r.Default)
	}
	return list
}

// demand is in which regions a write has to be, and how many that are beside the primary, as far as this node knows:
// which regions there are the primary's leader knows first.
type demand struct {
	said   Durability
	others int
}

// local reports whether the write has to be in the primary alone.
func (d demand) local() bool { return d.said == Durability{} }

// saidDurability returns what the metadata of a request say.
func saidDurability(ctx context.Context) (list []Durability, err error) {
	for _, text := range metadata.ValueFromIncomingContext(ctx, DurabilityKey) {
		d, err := ParseDurability(text)
		if err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "mimir: metadata %s: %v", DurabilityKey, err)
		}
		list = append(list, d)
	}
	return list, nil
}

// strictestOf returns the one of a list that asks for most in a fleet of so many regions, of equal ones that which asks
// for more when regions come; the zero demand if none asks for more than the primary.
func strictestOf(list []Durability, regions int) (most demand) {
	for _, d := range list {
		if n := d.of(regions); n > most.others || n == most.others && d.others < most.said.others {
			most = demand{d, n}
		}
	}
	return most
}

// unknownOthers is taken for the other regions by a node that does not know them: more than there can be.
const unknownOthers = 255

// othersOf returns how many regions beside the primary count, as far as a node knows: where nothing may be lost, only
// those that vote.
func othersOf(h *replication.HealthStatus) int {
	switch {
	case h.State != replication.StateReady:
		return unknownOthers
	case h.Votes == nil || h.Votes.MaxLoss != 0:
		return len(h.Peers)
	}
	regions := 0
	for i := range h.Votes.Voters {
		id := h.Votes.Voters[i].ID
		if id == h.Region || slices.ContainsFunc(h.Peers, func(p replication.PeerStatus) bool { return p.ID == id }) {
			regions++
		}
	}
	return max(regions-1, 0)
}

// regionsIn says how many regions that are.
func regionsIn(n int) string {
	if n == 1 {
		return "1 region"
	}
	return strconv.Itoa(n) + " regions"
}

// demanded returns the strictest of what holds for a write, or why it cannot be had whatever happens.
func demanded(ctx context.Context, a *API, who *asker) (strictest demand, err error) {
	if who.local {
		return demand{}, nil
	}
	said, err := saidDurability(ctx)
	if err != nil {
		return demand{}, err
	}
	list := a.limits.now().Durability.demands(said, who.touches)
	if !slices.ContainsFunc(list, func(d Durability) bool { return d != Durability{} }) {
		return demand{}, nil
	}
	h := a.recentHealth()
	others := othersOf(h)
	strictest = strictestOf(list, others+1)
	if strictest.others > others {
		a.onDurable(strictest.said.kind(), DurableRefused, 0)
		return demand{}, strictest.impossible(others, h.Votes != nil && h.Votes.MaxLoss == 0)
	}
	return strictest, nil
}

// impossible says that the fleet has fewer regions.
func (d demand) impossible(others int, voting bool) error {
	which := ""
	if voting {
		which = " that vote, and nothing may be lost: others do not count"
	}
	return status.Errorf(codes.FailedPrecondition, "mimir: nothing was written: durability %s is asked for, and the "+
		"fleet has %s beside the primary%s", d.said, regionsIn(others), which)
}

// options are those of replication for a write.
func (d demand) options() []replication.ProposeOption {
	switch d.said.others {
	case 0:
		return nil
	case quorumOfRegions:
		return []replication.ProposeOption{replication.WithQuorumOfRegions()}
	case allRegions:
		return []replication.ProposeOption{replication.WithAllRegions()}
	}
	return []replication.ProposeOption{replication.WithRegions(d.said.others + 1)}
}

// propose proposes a command. A leader of an earlier version refuses to count the regions, and writes nothing: it is
// told a number then, by the regions that this node knows.
func (d demand) propose(ctx context.Context, a *API, c []byte) (*replication.Receipt, error) {
	cs := []*replication.Command{{Data: c}}
	receipt, err := a.replicator.Propose(ctx, cs, d.options()...)
	if d.said.others < 0 && errors.Is(err, replication.ErrRejected) {
		others := d.said.of(othersOf(a.recentHealth()) + 1)
		return a.replicator.Propose(ctx, cs, replication.WithRegions(min(others, maxOthers)+1))
	}
	return receipt, err
}

// told returns what a client is told of the error of a write that asks for further regions: err itself, unless it is
// about those. header is that of the answer, nil if nothing was written.
func (d demand) told(err error, who *asker, header *pb.ResponseHeader) error {
	switch {
	case d.local():
		return err
	case errors.Is(err, replication.ErrUnknownRegion), errors.Is(err, replication.ErrRejected):
		who.outcome = DurableRefused
		return status.Errorf(codes.FailedPrecondition, "mimir: nothing was written, durability %s is asked for: %v",
			d.said, err)
	case header == nil || !errors.Is(err, replication.ErrUnderReplicated):
		return err
	}
	// clientv3 does not repeat a write of keys that is Unavailable, as it would one whose deadline is said to be
	// exceeded before it is; it repeats all requests about leases that are Unavailable.
	code := codes.Unavailable
	if who.repeats {
		code = codes.FailedPrecondition
	}
	who.outcome = DurableLate
	s := status.Newf(code, "mimir: committed in the primary (revision %d), and not known in time to be durable as "+
		"asked for (%s): %s", header.Revision, d.said,
		strings.TrimPrefix(err.Error(), replication.ErrUnderReplicated.Error()+": "))
	if detailed, err := s.WithDetails(protoadapt.MessageV1Of(header)); err == nil {
		s = detailed
	}
	return s.Err()
}

// touchedBy returns what a transaction may write, in either branch.
func touchedBy(r *pb.TxnRequest) (list []span) {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if put := op.GetRequestPut(); put != nil {
				list = append(list, span{from: put.Key})
			}
			if gone := op.GetRequestDeleteRange(); gone != nil {
				list = append(list, span{gone.Key, gone.RangeEnd})
			}
			if nested := op.GetRequestTxn(); nested != nil {
				list = append(list, touchedBy(nested)...)
			}
		}
	}
	return list
}

// touchedByLease returns the keys that go with a lease, as far as they are here: behind a barrier.
func touchedByLease(a *API, id int64) (list []span) {
	if len(a.limits.now().Durability.Prefixes) == 0 {
		return nil
	}
	_, keys, _ := a.store.Lease(id)
	for _, key := range keys {
		list = append(list, span{from: key})
	}
	return list
}
