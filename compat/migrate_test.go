package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/backup/etcd"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
)

// TestMigrate brings random histories of a real etcd into Mimir by a snapshot, and back: what can be read and watched
// at every revision that is not compacted, leases, users and roles are the same; and so, in etcd, is the hash of every
// revision.
func TestMigrate(t *testing.T) {
	for _, seed := range seeds()[:(len(seeds())+1)/2] {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { migrate(t, seed) })
	}
}

func migrate(t *testing.T, seed uint64) {
	m := &migration{T: t, generator: newGenerator(seed)}
	m.etcd = dial(t, "etcd", startEtcd(t, "simple"))
	m.fill(150)
	if seed%2 == 0 {
		m.enable()
	}
	file := m.save(m.etcd)
	disk := vfs.NewMem()
	m.importInto(disk, file, false)
	node := etcdapitest.StartOn(t, disk, etcdapi.Options{})
	m.same(m.etcd, dial(t, "mimir", node.Endpoint))

	exported := filepath.Join(t.TempDir(), "exported")
	if _, err := etcd.Export(t.Context(), node.Store, exported); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	restore(t, exported, dir)
	again := dial(t, "etcd again", startEtcdIn(t, "simple", "127.0.0.1:0", dir))
	m.same(m.etcd, again)
	m.sameHashes(m.etcd, again)
}

// TestMigrateEnds: the last changes are compacted away, so that nothing tells the revision but the compaction; then
// etcd's own tool moves it, and leaves an entry that is of no key; then a reign of Mimir's that may have lost something
// moves it, and what etcd is given has that revision too.
func TestMigrateEnds(t *testing.T) {
	m := &migration{T: t, generator: newGenerator(1)}
	m.etcd = dial(t, "etcd", startEtcd(t, "simple"))
	m.must(m.etcd, &pb.PutRequest{Key: []byte("stays")})
	m.must(m.etcd, &pb.PutRequest{Key: []byte("goes")})
	m.must(m.etcd, &pb.DeleteRangeRequest{Key: []byte("goes")})
	m.must(m.etcd, &pb.CompactionRequest{Revision: 4, Physical: true})
	m.revision, m.compacted = 4, 4
	m.importInto(vfs.NewMem(), m.save(m.etcd), false)

	dir := filepath.Join(t.TempDir(), "restored")
	restore(t, m.save(m.etcd), dir, func(c *snapshot.RestoreConfig) { c.RevisionBump, c.MarkCompacted = 1000, true })
	bumped := dial(t, "etcd bumped", startEtcdIn(t, "simple", "127.0.0.1:0", dir))
	m.revision, m.compacted = 1004, 1004
	disk := vfs.NewMem()
	m.importInto(disk, m.save(bumped), false)
	node := etcdapitest.StartOn(t, disk, etcdapi.Options{})
	get := func(s *side, revision int64, keys int) {
		t.Helper()
		r := m.must(s, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}).(*pb.RangeResponse)
		if r.Header.Revision != revision || len(r.Kvs) != keys {
			t.Errorf("%s: %v, want %d keys at %d", s.name, r, keys, revision)
		}
	}
	mimir := dial(t, "mimir", node.Endpoint)
	get(mimir, 1004, 1)
	m.must(mimir, &pb.PutRequest{Key: []byte("more")})
	meta := &replication.Metadata{AppliedIndex: 9, Epoch: 2, Position: 2000}
	if err := node.Store.Begin(replication.Reign{Epoch: 2, First: 2001, Lossy: true}, meta); err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(t.TempDir(), "exported")
	if _, err := etcd.Export(t.Context(), node.Store, exported); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "again")
	restore(t, exported, dir)
	get(dial(t, "etcd again", startEtcdIn(t, "simple", "127.0.0.1:0", dir)), 1005+1_000_000_000, 2)
}

// migration is one history on its way.
type migration struct {
	*testing.T
	*generator
	etcd *side
	root bool            // authentication is on
	as   context.Context // in which it is written then
	// there returns the revision of a fleet that follows; nil if none does. No further is compacted, and users and
	// roles stay as they are.
	there func() int64
}

// must sends a request whose answer is of no interest, or has to be one.
func (m *migration) must(s *side, request proto.Message) proto.Message {
	m.Helper()
	a := s.do(m.at(s), request)
	if a.code != "" {
		m.Fatalf("%s: %T %v: %s %s", s.name, request, request, a.code, a.text)
	}
	return a.response
}

// at returns a context in which root asks, if somebody has to.
func (m *migration) at(s *side) context.Context {
	if !m.root {
		return m.Context()
	}
	a := s.do(m.Context(), &pb.AuthenticateRequest{Name: "root", Password: "secret"})
	r, ok := a.response.(*pb.AuthenticateResponse)
	if !ok {
		m.Fatalf("%s: %s %s", s.name, a.code, a.text)
	}
	return (&tokens{user: "root", etcd: r.Token, mimir: r.Token}).at(s, m.Context())
}

// fill makes a history of so many requests, of which some are refused.
func (m *migration) fill(requests int) {
	if m.as == nil {
		m.as = m.Context()
	}
	for range requests {
		var request proto.Message
		switch n := m.IntN(100); {
		case n < 50:
			request = m.put()
		case n < 65:
			request = m.deleteRange()
		case n < 85:
			request = m.txn(2)
		case n < 92:
			request = m.grant()
		case n < 95:
			request = &pb.LeaseRevokeRequest{ID: m.leaseID()}
		case n < 97:
			there := m.revision
			if m.there != nil {
				there = m.there()
			}
			request = &pb.CompactionRequest{
				Revision: m.compacted + m.Int64N(max(there-m.compacted, 1)) + 1, Physical: m.oneIn(2)}
		case m.there != nil:
			request = m.put()
		default:
			request = pick[proto.Message](m.generator, &pb.AuthUserAddRequest{Name: "u", Password: "p"},
				&pb.AuthRoleAddRequest{Name: "r"}, &pb.AuthUserGrantRoleRequest{User: "u", Role: "r"},
				&pb.AuthRoleGrantPermissionRequest{Name: "r", Perm: &authpb.Permission{
					Key: m.key(), RangeEnd: []byte("z"), PermType: authpb.READWRITE}})
		}
		a := m.etcd.do(m.as, request)
		if c, ok := request.(*pb.CompactionRequest); ok && a.code == "" {
			m.compacted = c.Revision
		}
		if h, ok := a.response.(interface{ GetHeader() *pb.ResponseHeader }); ok {
			m.revision = max(m.revision, h.GetHeader().GetRevision())
		}
	}
	m.revision = m.must(m.etcd, &pb.PutRequest{Key: []byte("last")}).(*pb.PutResponse).Header.Revision
}

func (m *migration) enable() {
	for _, request := range []proto.Message{
		&pb.AuthUserAddRequest{Name: "root", Password: "secret"}, &pb.AuthRoleAddRequest{Name: "root"},
		&pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}, &pb.AuthEnableRequest{},
	} {
		m.must(m.etcd, request)
	}
	m.root = true
	m.as = m.at(m.etcd)
}

// save does what etcdctl snapshot save does.
func (m *migration) save(s *side) string {
	m.Helper()
	stream, err := s.maintain.Snapshot(m.at(s), &pb.SnapshotRequest{})
	if err != nil {
		m.Fatal(err)
	}
	path := filepath.Join(m.TempDir(), "saved")
	f, err := os.Create(path)
	if err != nil {
		m.Fatal(err)
	}
	defer f.Close()
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return path
		}
		if err == nil {
			_, err = f.Write(r.Blob)
		}
		if err != nil {
			m.Fatal(err)
		}
	}
}

func (m *migration) importInto(disk vfs.FS, file string, follow bool) {
	m.Helper()
	s, err := etcd.Open(file, false)
	if err != nil {
		m.Fatal(err)
	}
	i := &etcd.Import{Snapshot: s, Follow: follow}
	err = i.Put(kv.Options{FS: disk, Dir: etcdapitest.StoreDir},
		func(s replication.Seed) (*replication.Metadata, error) {
			return &replication.Metadata{AppliedIndex: 2, Position: s.Position}, nil
		})
	if err != nil {
		m.Fatal(err)
	}
	if i.Found.Revision != m.revision || m.compacted > 0 && i.Found.Compact != m.compacted {
		m.Errorf("found %+v, at revision %d, compacted at %d", i.Found, m.revision, m.compacted)
	}
}

// same compares all that two sides say of the history.
func (m *migration) same(a, b *side) {
	m.Helper()
	ask := func(request proto.Message) {
		m.Helper()
		x, y := a.do(m.at(a), request), b.do(m.at(b), request)
		if x.code != y.code || x.text != y.text || !proto.Equal(x.response, y.response) {
			m.Fatalf("%T %v\n%s: %v %s\n%s: %v %s", request, request, a.name, x.response, x.text, b.name, y.response,
				y.text)
		}
	}
	for at := max(m.compacted-1, 1); at <= m.revision; at++ {
		ask(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: at})
	}
	ask(&pb.LeaseLeasesRequest{})
	for id := range int64(8) {
		ask(&pb.LeaseTimeToLiveRequest{ID: id + 1, Keys: true})
	}
	ask(&pb.AuthStatusRequest{})
	ask(&pb.AuthUserListRequest{})
	ask(&pb.AuthRoleListRequest{})
	ask(&pb.AuthUserGetRequest{Name: "u"})
	ask(&pb.AuthRoleGetRequest{Role: "r"})
	x, y := m.events(a), m.events(b)
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || !proto.Equal(x[i], y[i]) {
			m.Fatalf("event %d of %d at %s and %d at %s, compacted at %d: %v, %v", i, len(x), a.name, len(y), b.name,
				m.compacted, x[min(i, len(x)-1)], y[min(i, len(y)-1)])
		}
	}
}

// events are all that can be watched behind the compaction.
func (m *migration) events(s *side) (all []*mvccpb.Event) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.at(s), 2*time.Minute)
	defer cancel()
	stream, err := s.watch.Watch(ctx)
	if err == nil {
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{
				Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: m.compacted + 1, PrevKv: true,
			},
		}})
	}
	if err != nil {
		m.Fatal(err)
	}
	for len(all) == 0 || all[len(all)-1].Kv.ModRevision < m.revision {
		r, err := stream.Recv()
		if err != nil || r.Canceled {
			m.Fatalf("%s: watch from %d: %v, %v", s.name, m.compacted+1, r, err)
		}
		all = append(all, r.Events...)
	}
	return all
}

func (m *migration) sameHashes(a, b *side) {
	m.Helper()
	for at := m.compacted + 1; at <= m.revision; at++ {
		request := &pb.HashKVRequest{Revision: at}
		x, err := a.maintain.HashKV(m.at(a), request)
		y, other := b.maintain.HashKV(m.at(b), request)
		if err != nil || other != nil || x.Hash != y.Hash || x.CompactRevision != y.CompactRevision {
			m.Errorf("hash at %d, compacted at %d: %v, %v; %v, %v", at, m.compacted, x, err, y, other)
		}
	}
}

// restore does what etcdutl snapshot restore does.
func restore(t *testing.T, file, dir string, more ...func(*snapshot.RestoreConfig)) {
	t.Helper()
	c := snapshot.RestoreConfig{
		SnapshotPath: file, Name: "default", OutputDataDir: dir, PeerURLs: []string{"http://127.0.0.1:0"},
		InitialCluster: "default=http://127.0.0.1:0", InitialClusterToken: "etcd-cluster",
	}
	for _, change := range more {
		change(&c)
	}
	if err := snapshot.NewV3(zap.NewNop()).Restore(c); err != nil {
		t.Fatal(err)
	}
}
