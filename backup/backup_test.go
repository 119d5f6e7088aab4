package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// file returns what a node sends of a store in which three keys were put, one of them twice.
func file(t testing.TB) []byte {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, key := range []string{"a", "b", "a", "c"} {
		put(t, s, i, key)
	}
	var archive bytes.Buffer
	note := snapshot.Note{Fleet: "old", Region: "us", Node: "us-1"}.Encode()
	if err := s.SnapshotTo(&archive, note); err != nil {
		t.Fatal(err)
	}
	return complete(archive.Bytes())
}

func put(t testing.TB, s *kv.Store, at int, key string) {
	t.Helper()
	apply(t, s, at, command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: fmt.Append(nil, at)}))
}

func apply(t testing.TB, s *kv.Store, at int, text []byte) {
	t.Helper()
	state := &replication.Metadata{AppliedIndex: uint64(at) + 1, Epoch: 3, Position: replication.Position(at) + 1}
	state.Record = append([]byte{1}, `{"Region":"us","Reigns":[{"Epoch":3,"First":1,"Primary":"us"}]}`...)
	_, err := s.Apply(&replication.Batch{
		Epoch: 3, First: replication.Position(at) + 1, Commands: []replication.Command{{Data: text}}, Metadata: state,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// complete adds what the API adds to an archive.
func complete(archive []byte) []byte {
	whole := append(bytes.Clone(archive), make([]byte, -len(archive)&(blockBytes-1))...)
	sum := sha256.Sum256(whole)
	return append(whole, sum[:]...)
}

func keep(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// describe is what the library does, for a content of which only the seed matters.
func describe(seeds *[]replication.Seed) func(replication.Seed) (*replication.Metadata, error) {
	return func(s replication.Seed) (*replication.Metadata, error) {
		*seeds = append(*seeds, s)
		return &replication.Metadata{AppliedIndex: 2, Epoch: s.Epoch + 1, Position: s.Position}, nil
	}
}

func TestRestore(t *testing.T) {
	whole := keep(t, file(t))
	s, err := Open(whole)
	if err != nil || s.Note.Fleet != "old" {
		t.Fatal(s, err)
	}
	looked, err := s.Look(t.Context(), t.TempDir())
	if err != nil || looked.Revision != 5 || looked.Keys != 3 || looked.Compact != -1 {
		t.Fatalf("%+v, %v", looked, err)
	}
	var seeds []replication.Seed
	for _, c := range []struct {
		move              kv.Move
		revision, compact int64
	}{{kv.Move{}, 5, -1}, {kv.Move{Bump: 10}, 15, -1}, {kv.Move{Bump: 10, Compact: true}, 15, 15}} {
		disk := vfs.NewCrashableMem()
		o := kv.Options{FS: disk, Dir: "kv", Logger: quiet}
		if err := (&Restoring{Context: t.Context(), Snapshot: s, Move: c.move}).Put(o, describe(&seeds)); err != nil {
			t.Fatal(err)
		}
		store, err := kv.Open(kv.Options{FS: disk.CrashClone(vfs.CrashCloneCfg{}), Dir: "kv", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		got, err := kv.Summarize(t.Context(), store)
		if err != nil || got.Revision != c.revision || got.Compact != c.compact || got.Keys != 3 ||
			got.Metadata.Epoch != 4 || got.Metadata.Position != 4 {
			t.Errorf("%+v: %+v, %v", c.move, got, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if seeds[0].Origin == seeds[1].Origin || seeds[1].Origin == seeds[2].Origin {
		t.Error("what is restored otherwise is not told apart")
	}
}

// Contents with the same keys, as many leases and some users are equal only if leases and users are.
func TestLeasesAndUsersAreCompared(t *testing.T) {
	holding := func(ttl int64, hash string) *kv.Summary {
		s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		user, err := command.EncodeAuth(&pb.AuthUserAddRequest{Name: "root", HashedPassword: hash})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, 0, "a")
		apply(t, s, 1, command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: ttl}))
		apply(t, s, 2, user)
		sum, err := kv.Summarize(t.Context(), s)
		if err != nil || sum.Leases != 1 || !sum.Users {
			t.Fatalf("%+v, %v", sum, err)
		}
		return &sum
	}
	want := holding(1000, "eA==")
	if err := differ(holding(1000, "eA=="), want); err != nil {
		t.Error(err)
	}
	for what, got := range map[string]*kv.Summary{
		"leases": holding(2000, "eA=="), "users": holding(1000, "eQ=="),
	} {
		if err := differ(got, want); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), what) {
			t.Errorf("other %s: %v", what, err)
		}
	}
}

// What follows an etcd is opened only by who says so.
func TestRestoreOfWhatFollows(t *testing.T) {
	store, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l, err := kv.NewLoader(store)
	if err != nil {
		t.Fatal(err)
	}
	meta := &replication.Metadata{AppliedIndex: 2, Epoch: 3, Position: 2}
	meta.Record = append([]byte{1}, `{"Region":"us","Reigns":[{"Epoch":3,"First":1,"Primary":"us"}]}`...)
	var archive bytes.Buffer
	note := snapshot.Note{Fleet: "old"}.Encode()
	if err := errors.Join(l.Follow(), l.Finish(2, -1, meta), l.Close(), store.SnapshotTo(&archive, note)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(keep(t, complete(archive.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	looked, err := s.Look(t.Context(), t.TempDir())
	if err != nil || !looked.Follows {
		t.Fatalf("%+v, %v", looked, err)
	}
	opened := looked
	if opened.Follows = false; !errors.Is(differ(&opened, &looked), ErrDiffers) {
		t.Error("one that follows is as one that does not")
	}
	var seeds []replication.Seed
	put := func(open bool) (*vfs.MemFS, error) {
		disk := vfs.NewMem()
		r := &Restoring{Context: t.Context(), Snapshot: s, Open: open}
		return disk, r.Put(kv.Options{FS: disk, Dir: "kv", Logger: quiet}, describe(&seeds))
	}
	if _, err := put(false); !errors.Is(err, ErrFollows) || len(seeds) > 0 {
		t.Errorf("restored as any other: %v", err)
	}
	disk, err := put(true)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := kv.Open(kv.Options{FS: disk, Dir: "kv", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if kv.Follows(restored) {
		t.Error("it follows on")
	}
	if err := restored.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever is not a file as it was sent is refused, and says why.
func TestBrokenFilesAreRefused(t *testing.T) {
	whole := file(t)
	refused := func(what string, content []byte) {
		t.Helper()
		if s, err := Open(keep(t, content)); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	for at := 0; at < len(whole); at += 97 {
		refused(fmt.Sprintf("cut at %d", at), whole[:at])
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		refused(fmt.Sprintf("byte %d is another", at), damaged)
	}
	refused("too long", append(bytes.Clone(whole), make([]byte, blockBytes)...))
	refused("twice", complete(append(bytes.Clone(whole), whole...)))
	refused("of etcd", complete(append(make([]byte, etcdMagicAt), etcdMagic...)))
	refused("with a note of no format", complete(archiveOf(t, []byte(`{"format":0}`))))
}

// TestAFileOfANewerVersionIsNotBroken: whoever hears that it is might throw it away.
func TestAFileOfANewerVersionIsNotBroken(t *testing.T) {
	content := complete(archiveOf(t, []byte(`{"format":2}`)))
	if s, err := Open(keep(t, content)); !errors.Is(err, snapshot.ErrNewer) || errors.Is(err, ErrBroken) {
		t.Errorf("%+v, %v", s, err)
	}
}

func archiveOf(t *testing.T, note []byte) []byte {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var archive bytes.Buffer
	if err := s.SnapshotTo(&archive, note); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// breaking is a node of which the stream ends after so many messages, with an error or as if all was sent.
type breaking struct {
	pb.UnimplementedMaintenanceServer
	content []byte
	after   int
	err     error
	silent  int // after so many messages it says nothing any more; 0: it does not fall silent
}

type local struct {
	grpc.ClientConnInterface
	breaking
}

func (l *local) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return &localStream{l: l, ctx: ctx}, nil
}

type localStream struct {
	grpc.ClientStream
	l    *local
	ctx  context.Context
	sent int
}

func (s *localStream) SendMsg(any) error { return nil }
func (s *localStream) CloseSend() error  { return nil }

func (s *localStream) RecvMsg(m any) error {
	const size = 1000
	from := s.sent * size
	if s.sent == s.l.after || from >= len(s.l.content) {
		return s.l.err
	}
	if s.sent == s.l.silent && s.l.silent > 0 {
		<-s.ctx.Done()
		return s.ctx.Err()
	}
	s.sent++
	proto.Merge(m.(proto.Message), &pb.SnapshotResponse{Blob: s.l.content[from:min(from+size, len(s.l.content))]})
	return nil
}

// A snapshot that breaks off, however, leaves no file; one that is there is not replaced.
func TestSave(t *testing.T) {
	whole := file(t)
	for _, end := range []error{io.EOF, errors.New("cut")} {
		for after := 0; after*1000 < len(whole); after++ {
			dir := t.TempDir()
			conn := &local{breaking: breaking{content: whole, after: after, err: end}}
			s, err := Save(t.Context(), conn, filepath.Join(dir, "s"))
			left, _ := os.ReadDir(dir)
			if err == nil || len(left) > 0 || !strings.Contains(err.Error(), "after") {
				t.Errorf("%d messages, then %v: %+v, %v, %v", after, end, s, err, left)
			}
		}
	}
	conn := &local{breaking: breaking{content: whole, after: -1, err: io.EOF}}
	path := filepath.Join(t.TempDir(), "s")
	if s, err := Save(t.Context(), conn, path); err != nil || s.Path != path {
		t.Fatal(s, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes of %d: %v", len(got), len(whole), err)
	}
	if _, err := Save(t.Context(), conn, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("over another: %v", err)
	}
	if _, err := Open(path); err != nil {
		t.Error(err)
	}
}

// A node that falls silent is given up, however long it has sent before; who waits no more is heard at once. What came
// is removed, and it is said how far it was.
func TestASilentNodeIsGivenUp(t *testing.T) {
	whole := file(t)
	dir := t.TempDir()
	virtual.Test(t, func(t *testing.T) {
		conn := &local{breaking: breaking{content: whole, after: -1, err: io.EOF, silent: 3}}
		began := time.Now()
		_, err := Save(t.Context(), conn, filepath.Join(dir, "s"))
		if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "after 3000 bytes") ||
			time.Since(began) != Patience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = Save(ctx, conn, filepath.Join(dir, "s"))
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrBroken) {
			t.Errorf("who waits no more: %v", err)
		}
	})
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Saves to one name do not damage one another: one of them has it.
func TestSavesDoNotMeet(t *testing.T) {
	content := file(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	all := make(chan error)
	for range 8 {
		go func() {
			conn := &local{breaking: breaking{content: content, after: -1, err: io.EOF}}
			_, err := Save(t.Context(), conn, path)
			all <- err
		}()
	}
	saved := 0
	for range 8 {
		if err := <-all; err == nil {
			saved++
		} else if !errors.Is(err, os.ErrExist) {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(dir)
	if saved != 1 || len(left) != 1 || err != nil {
		t.Errorf("%d were saved: %v, %v", saved, left, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d: %v", len(got), len(content), err)
	}
}

// What keeps a file from being read, and what a disk lacks, says nothing of the file.
func TestOnlyAContentIsBroken(t *testing.T) {
	path := keep(t, file(t))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, opened := OpenUntil(ended, path)
	_, looked := s.Look(ended, t.TempDir())
	restored := (&Restoring{Context: ended, Snapshot: s}).Put(
		kv.Options{FS: vfs.NewMem(), Dir: "kv", Logger: quiet}, describe(new([]replication.Seed)))
	for what, err := range map[string]error{"open": opened, "look": looked, "restore": restored} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	full := &os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}
	if err := broken(fmt.Errorf("%w: %w", mvcc.ErrCorrupt, full)); errors.Is(err, ErrBroken) {
		t.Errorf("a full disk: %v", err)
	}
	if err := broken(fmt.Errorf("the manifest is lost: %w", os.ErrNotExist)); !errors.Is(err, ErrBroken) {
		t.Errorf("a content that names what is not there: %v", err)
	}
	if _, err := s.Look(t.Context(), filepath.Join(t.TempDir(), "none")); errors.Is(err, ErrBroken) || err == nil {
		t.Errorf("no place to unpack: %v", err)
	}
}

// Where TLS was asked for, nothing that is secret goes without.
func TestNothingIsShownInClear(t *testing.T) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, who := range []Who{{User: "root", Password: "r"}, {Token: "t"}} {
		if _, err := Dial(t.Context(), "http://127.0.0.1:1", secure, who); !errors.Is(err, ErrClear) {
			t.Errorf("%+v: %v", who, err)
		}
	}
	c, err := Dial(t.Context(), "http://127.0.0.1:1", secure, Who{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// FuzzFile: bytes of which the digests are right, but that nobody sent, are refused or looked at, and never more.
func FuzzFile(f *testing.F) {
	whole := file(f)
	archive := whole[:len(whole)-blockBytes-sha256.Size]
	f.Add(30, byte(1), archive[:200])
	f.Add(700, byte(255), archive)
	f.Fuzz(func(t *testing.T, at int, by byte, content []byte) {
		if _, err := Verify(bytes.NewReader(content), int64(len(content))); err != nil && !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
		content = complete(content)
		if _, err := Verify(bytes.NewReader(content), int64(len(content))); err != nil && !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
		forged := bytes.Clone(archive)
		if at < 8 || at >= len(forged) {
			return
		}
		forged[at] ^= by
		sum := sha256.Sum256(forged)
		s, err := Open(keep(t, complete(append(forged, sum[:]...))))
		if err != nil {
			if !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
			return
		}
		if _, err := s.Look(t.Context(), t.TempDir()); err != nil && !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
	})
}
