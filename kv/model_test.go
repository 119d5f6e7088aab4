package kv

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
)

// model is etcd's data model in its plainest form: every version of every key in a list, and no thought for speed.
// Requests and responses share nothing with the store's code but the messages.
type model struct {
	revision, compact int64
	gaps              [][2]int64
	keys              map[string][]modelVersion
	leases            map[int64]int64
}

type modelVersion struct {
	mod, create, version, lease int64
	value                       []byte
	deleted                     bool
}

func newModel() *model {
	return &model{revision: 1, compact: -1, keys: map[string][]modelVersion{}, leases: map[int64]int64{}}
}

func (m *model) at(key string, rev int64) (modelVersion, bool) {
	versions := m.keys[key]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].mod <= rev {
			return versions[i], !versions[i].deleted
		}
	}
	return modelVersion{}, false
}

func inRange(key string, start, end []byte) bool {
	switch {
	case len(end) == 0:
		return key == string(start)
	case string(end) == "\x00":
		return key >= string(start)
	}
	return key >= string(start) && key < string(end)
}

func (m *model) live(start, end []byte, rev int64) (keys []string) {
	for key := range m.keys {
		if _, ok := m.at(key, rev); ok && inRange(key, start, end) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *model) kv(key string, rev int64) *mvccpb.KeyValue {
	v, ok := m.at(key, rev)
	if !ok {
		return nil
	}
	return &mvccpb.KeyValue{
		Key: []byte(key), Value: v.value,
		CreateRevision: v.create, ModRevision: v.mod, Version: v.version, Lease: v.lease,
	}
}

// modelTxn is a write transaction on the model.
type modelTxn struct {
	*model
	rev int64 // of its writes
	did bool
}

func (m *model) begin() *modelTxn { return &modelTxn{model: m, rev: m.revision + 1} }

func (t *modelTxn) now() int64 {
	if t.did {
		return t.rev
	}
	return t.rev - 1
}

func (t *modelTxn) end() {
	if t.did {
		t.revision = t.rev
	}
}

func (t *modelTxn) put(q *pb.PutRequest) *pb.PutResponse {
	old, exists := t.at(string(q.Key), t.now())
	v := modelVersion{mod: t.rev, create: t.rev, version: 1, lease: q.Lease, value: q.Value}
	resp := &pb.PutResponse{}
	if exists {
		v.create, v.version = old.create, old.version+1
		if q.IgnoreValue {
			v.value = old.value
		}
		if q.IgnoreLease {
			v.lease = old.lease
		}
		if q.PrevKv {
			resp.PrevKv = t.kv(string(q.Key), t.now())
		}
	}
	t.did = true
	t.keys[string(q.Key)] = append(t.keys[string(q.Key)], v)
	resp.Header = &pb.ResponseHeader{Revision: t.rev}
	return resp
}

func (t *modelTxn) deleteRange(q *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	resp := &pb.DeleteRangeResponse{}
	for _, key := range t.live(q.Key, q.RangeEnd, t.now()) {
		if q.PrevKv {
			resp.PrevKvs = append(resp.PrevKvs, t.kv(key, t.now()))
		}
		t.did = true
		t.keys[key] = append(t.keys[key], modelVersion{mod: t.rev, deleted: true})
		resp.Deleted++
	}
	resp.Header = &pb.ResponseHeader{Revision: t.now()}
	return resp
}

func (m *model) checkPut(q *pb.PutRequest) error {
	if _, ok := m.leases[q.Lease]; !ok && q.Lease != 0 {
		return command.ErrLeaseNotFound
	}
	if _, ok := m.at(string(q.Key), m.revision); !ok && (q.IgnoreValue || q.IgnoreLease) {
		return command.ErrKeyNotFound
	}
	return nil
}

func (m *model) readable(rev int64) error {
	if rev > m.revision {
		return command.ErrFutureRevision
	}
	if rev < m.compact {
		return command.ErrCompacted
	}
	for _, g := range m.gaps {
		if g[0] < rev && rev < g[1] {
			return command.ErrCompacted
		}
	}
	return nil
}

func (m *model) rangeKeys(q *pb.RangeRequest, now int64) *pb.RangeResponse {
	rev := q.Revision
	if rev == 0 {
		rev = now
	}
	keys := m.live(q.Key, q.RangeEnd, rev)
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: now}, Count: int64(len(keys))}
	if q.CountOnly {
		return resp
	}
	for _, key := range keys {
		kv := m.kv(key, rev)
		if (q.MinModRevision == 0 || kv.ModRevision >= q.MinModRevision) &&
			(q.MaxModRevision == 0 || kv.ModRevision <= q.MaxModRevision) &&
			(q.MinCreateRevision == 0 || kv.CreateRevision >= q.MinCreateRevision) &&
			(q.MaxCreateRevision == 0 || kv.CreateRevision <= q.MaxCreateRevision) {
			resp.Kvs = append(resp.Kvs, kv)
		}
	}
	filtered := q.MinModRevision+q.MaxModRevision+q.MinCreateRevision+q.MaxCreateRevision != 0
	if q.SortOrder == pb.RangeRequest_NONE && q.SortTarget != pb.RangeRequest_KEY && !filtered && q.Limit > 0 {
		// etcd fetches one more than the limit in order of keys, and sorts those.
		resp.Kvs = resp.Kvs[:min(int64(len(resp.Kvs)), q.Limit+1)]
	}
	slices.SortStableFunc(resp.Kvs, func(a, b *mvccpb.KeyValue) int {
		if q.SortOrder == pb.RangeRequest_DESCEND {
			a, b = b, a
		}
		return [...]int{
			bytes.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.CreateRevision, b.CreateRevision),
			cmp.Compare(a.ModRevision, b.ModRevision), bytes.Compare(a.Value, b.Value),
		}[q.SortTarget]
	})
	if q.Limit > 0 && int64(len(resp.Kvs)) > q.Limit {
		resp.Kvs, resp.More = resp.Kvs[:q.Limit], true
	}
	if q.KeysOnly {
		for _, kv := range resp.Kvs {
			kv.Value = nil
		}
	}
	return resp
}

func (m *model) compares(q *pb.TxnRequest) bool {
	for _, c := range q.Compare {
		keys := m.live(c.Key, c.RangeEnd, m.revision)
		if len(keys) == 0 && (c.Target == pb.Compare_VALUE || !modelCompare(c, &mvccpb.KeyValue{})) {
			return false
		}
		for _, key := range keys {
			if !modelCompare(c, m.kv(key, m.revision)) {
				return false
			}
		}
	}
	return true
}

func modelCompare(c *pb.Compare, kv *mvccpb.KeyValue) bool {
	result := map[pb.Compare_CompareTarget]int{
		pb.Compare_VALUE:   bytes.Compare(kv.Value, c.GetValue()),
		pb.Compare_CREATE:  cmp.Compare(kv.CreateRevision, c.GetCreateRevision()),
		pb.Compare_MOD:     cmp.Compare(kv.ModRevision, c.GetModRevision()),
		pb.Compare_VERSION: cmp.Compare(kv.Version, c.GetVersion()),
		pb.Compare_LEASE:   cmp.Compare(kv.Lease, c.GetLease()),
	}[c.Target]
	return [...]bool{result == 0, result > 0, result < 0, result != 0}[c.Result]
}

// plan is a transaction whose comparisons are made.
type plan struct {
	q         *pb.TxnRequest
	succeeded bool
	nested    map[*pb.RequestOp]*plan
}

func (p *plan) ops() []*pb.RequestOp {
	if p.succeeded {
		return p.q.Success
	}
	return p.q.Failure
}

func (m *model) plan(q *pb.TxnRequest) (*plan, error) {
	p := &plan{q: q, succeeded: m.compares(q), nested: map[*pb.RequestOp]*plan{}}
	for _, op := range p.ops() {
		var err error
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			err = m.readable(r.RequestRange.Revision)
			if r.RequestRange.Revision == 0 {
				err = nil
			}
		case *pb.RequestOp_RequestPut:
			err = m.checkPut(r.RequestPut)
		case *pb.RequestOp_RequestTxn:
			p.nested[op], err = m.plan(r.RequestTxn)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (t *modelTxn) do(p *plan) *pb.TxnResponse {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: p.succeeded}
	for _, op := range p.ops() {
		one := &pb.ResponseOp{}
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			one.Response = &pb.ResponseOp_ResponseRange{ResponseRange: t.rangeKeys(r.RequestRange, t.now())}
		case *pb.RequestOp_RequestPut:
			one.Response = &pb.ResponseOp_ResponsePut{ResponsePut: t.put(r.RequestPut)}
		case *pb.RequestOp_RequestDeleteRange:
			one.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: t.deleteRange(r.RequestDeleteRange)}
		case *pb.RequestOp_RequestTxn:
			one.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: t.do(p.nested[op])}
		}
		resp.Responses = append(resp.Responses, one)
	}
	return resp
}

// apply does a request as a command would, and returns the response or the refusal.
func (m *model) apply(q any) (any, error) {
	t := m.begin()
	defer t.end()
	switch q := q.(type) {
	case *pb.PutRequest:
		if _, ok := m.leases[q.Lease]; !ok && q.Lease != 0 {
			return nil, command.ErrLeaseNotFound
		}
		if err := m.checkPut(q); err != nil {
			return nil, err
		}
		return t.put(q), nil
	case *pb.DeleteRangeRequest:
		return t.deleteRange(q), nil
	case *pb.TxnRequest:
		p, err := m.plan(q)
		if err != nil {
			return nil, err
		}
		resp := t.do(p)
		resp.Header.Revision = t.now()
		return resp, nil
	case *pb.CompactionRequest:
		if q.Revision <= m.compact {
			return nil, command.ErrCompacted
		}
		if q.Revision > m.revision {
			return nil, command.ErrFutureRevision
		}
		m.compact = q.Revision
		return &pb.CompactionResponse{Header: &pb.ResponseHeader{Revision: m.revision}}, nil
	case *pb.LeaseGrantRequest:
		if _, ok := m.leases[q.ID]; ok {
			return nil, command.ErrLeaseExists
		}
		m.leases[q.ID] = max(q.TTL, lease.MinTTL)
		header := &pb.ResponseHeader{Revision: m.revision}
		return &pb.LeaseGrantResponse{Header: header, ID: q.ID, TTL: m.leases[q.ID]}, nil
	case *pb.LeaseRevokeRequest:
		if _, ok := m.leases[q.ID]; !ok {
			return nil, command.ErrLeaseNotFound
		}
		for _, key := range m.live([]byte{0}, []byte{0}, m.revision) {
			if v, _ := m.at(key, m.revision); v.lease == q.ID {
				t.deleteRange(&pb.DeleteRangeRequest{Key: []byte(key)})
			}
		}
		delete(m.leases, q.ID)
		return &pb.LeaseRevokeResponse{Header: &pb.ResponseHeader{Revision: t.now()}}, nil
	}
	panic("unknown request")
}

// events returns what a watch from revision start would yield, were nothing compacted.
func (m *model) events(start int64, key, end []byte, previous bool) (events []*mvccpb.Event) {
	for name, versions := range m.keys {
		for i, v := range versions {
			if v.mod < start || !inRange(name, key, end) {
				continue
			}
			e := &mvccpb.Event{Kv: m.kv(name, v.mod)}
			if v.deleted {
				e.Type, e.Kv = mvccpb.Event_DELETE, &mvccpb.KeyValue{Key: []byte(name), ModRevision: v.mod}
			}
			if previous && i > 0 && !versions[i-1].deleted {
				e.PrevKv = m.kv(name, versions[i-1].mod)
			}
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b *mvccpb.Event) int {
		return cmp.Or(cmp.Compare(a.Kv.ModRevision, b.Kv.ModRevision), bytes.Compare(a.Kv.Key, b.Kv.Key))
	})
	return events
}
