package kv

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// The store keeps the contract of an engine: puts, deletes, transactions and compactions, over a disk that loses what
// was not synced.
func TestTheStoreKeepsTheContract(t *testing.T) {
	for name, over := range map[string]func(vfs.FS) vfs.FS{
		"plain": func(fs vfs.FS) vfs.FS { return fs }, "encrypted": encrypted(t),
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, storagetest.Suite{
				New: func(t testing.TB) storagetest.Engine {
					return openStoreEngine(t, vfs.NewCrashableMem(), over)
				},
				Command:     someCommand,
				CrashInside: true,
			})
		})
	}
}

func someCommand(r *rand.Rand) []byte {
	key := fmt.Sprintf("key-%d", r.IntN(6))
	switch r.IntN(7) {
	case 0:
		return del(key, "")
	case 1:
		return compact(r.Int64N(100)) // the future and the past are refused alike everywhere
	case 2:
		return command.EncodeTxn(&pb.TxnRequest{
			Compare: []*pb.Compare{{
				Key: []byte(key), Target: pb.Compare_VERSION, Result: pb.Compare_GREATER,
				TargetUnion: &pb.Compare_Version{Version: r.Int64N(3)},
			}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte(key), Value: fmt.Append(nil, r.IntN(1000))},
			}}},
		})
	case 3:
		return someChange(r)
	default:
		return put(key, fmt.Sprint(r.IntN(1000)))
	}
}

// someChange is one of users and roles, none of which has to be anybody's.
func someChange(r *rand.Rand) []byte {
	name := fmt.Sprint("u", r.IntN(4))
	switch r.IntN(6) {
	case 0:
		return addUser(name)
	case 1:
		return change(&pb.AuthUserDeleteRequest{Name: name})
	case 2:
		return change(&pb.AuthRoleAddRequest{Name: name})
	case 3:
		return grantRole(name, fmt.Sprint("u", r.IntN(4)))
	case 4:
		return change(&pb.AuthRoleDeleteRequest{Role: name})
	default:
		return permit(name, fmt.Sprint(r.IntN(9)), "")
	}
}

type storeEngine struct {
	*Store
	t    testing.TB
	disk *vfs.MemFS
	over func(vfs.FS) vfs.FS // the disk
	dirs int
}

func openStoreEngine(t testing.TB, disk *vfs.MemFS, over func(vfs.FS) vfs.FS) *storeEngine {
	t.Helper()
	s, err := Open(Options{
		FS: over(disk), Dir: "/kv", CacheBytes: 1 << 20, MemTableBytes: 256 << 10,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &storeEngine{Store: s, t: t, disk: disk, over: over}
}

func (e *storeEngine) Storage() replication.Storage { return e.Store }

// Contents are every key with its versions, and where the history stands.
func (e *storeEngine) Contents() ([]byte, error) {
	var b bytes.Buffer
	r, err := e.Range(e.t.Context(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		return nil, err
	}
	for _, kv := range r.Kvs {
		fmt.Fprintf(&b, "%s=%s created %d modified %d version %d\n", kv.Key, kv.Value, kv.CreateRevision,
			kv.ModRevision, kv.Version)
	}
	fmt.Fprintf(&b, "revision %d, users %x", e.Revision(), e.Auth().Append(nil))
	return b.Bytes(), nil
}

func (e *storeEngine) Crashed(t testing.TB) storagetest.Engine {
	return openStoreEngine(t, e.disk.CrashClone(vfs.CrashCloneCfg{}), e.over)
}

func (e *storeEngine) FS() durable.FS { return pebblefs.New(e.over(e.disk)) }

func (e *storeEngine) NewDir() string {
	e.dirs++
	return fmt.Sprintf("/checkpoints-%d", e.dirs)
}
