package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

const service = "checkpoint-test/1"

var contents = map[string][]byte{
	"CURRENT":     []byte("MANIFEST-000007\n"),
	"empty":       {},
	"000012.sst":  noise(1, 1<<20+17),
	"000013.sst":  noise(2, 512<<10),
	"log/000.seg": noise(3, 700<<10),
	"log/001.seg": noise(4, 1),
}

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(p)
	return p
}

func write(t testing.TB, fs vfs.FS, name string, data []byte) {
	t.Helper()
	if err := fs.MkdirAll(fs.PathDir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(data)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, info.Size())
	if _, err := io.ReadFull(f, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func describe(fs vfs.FS, dir string, id [16]byte, meta []byte) (*checkpoint.Manifest, error) {
	return checkpoint.Describe(context.Background(), pebblefs.New(fs), dir, id, meta, nil)
}

// source returns a filesystem with a checkpoint in "source", and its manifest.
func source(t testing.TB) (vfs.FS, *checkpoint.Manifest) {
	t.Helper()
	fs := vfs.NewMem()
	for name, data := range contents {
		write(t, fs, "source/"+name, data)
	}
	m, err := describe(fs, "source", [16]byte{1, 2, 3}, []byte("index 42"))
	if err != nil {
		t.Fatal(err)
	}
	return fs, m
}

func checkComplete(t testing.TB, fs vfs.FS, dir string, want *checkpoint.Manifest) {
	t.Helper()
	m, err := checkpoint.Load(pebblefs.New(fs), dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Meta) != string(want.Meta) || m.ID != want.ID || !slices.Equal(m.Files, want.Files) {
		t.Fatalf("loaded %v", m)
	}
	again, err := describe(fs, dir, m.ID, m.Meta)
	if err != nil || !slices.Equal(again.Files, m.Files) {
		t.Fatalf("the manifest changes what is described: %v, %v", again, err)
	}
	for name, data := range contents {
		if !bytes.Equal(read(t, fs, dir+"/"+name), data) {
			t.Fatalf("%s differs", name)
		}
	}
}

// limited is a stream that breaks after so many messages in both directions together.
type limited struct {
	transport.Stream
	left   int
	broken context.CancelFunc
	change func(p []byte) // applied to what is received, may be nil
}

func (l *limited) spend() error {
	if l.left--; l.left < 0 {
		l.broken()
		return transport.ErrUnreachable
	}
	return nil
}

func (l *limited) Send(p []byte) error {
	if err := l.spend(); err != nil {
		return err
	}
	return l.Stream.Send(p)
}

func (l *limited) Recv() ([]byte, error) {
	if err := l.spend(); err != nil {
		return nil, err
	}
	p, err := l.Stream.Recv()
	if err == nil && l.change != nil {
		l.change(p)
	}
	return p, err
}

// line is a stream whose sides both say when they work.
func line(s transport.Stream) checkpoint.Line {
	return checkpoint.Line{Stream: s, Clock: clock.Real, Works: true}
}

const unlimited = 1 << 30

type outcome struct {
	manifest *checkpoint.Manifest
	err      error
	sendErr  error
	messages int
	bytes    int64
}

// transfer moves m from the directory "source" of from into "target" of to, over a stream that breaks after limit
// messages.
func transfer(
	t testing.TB, from vfs.FS, m *checkpoint.Manifest, to vfs.FS, limit int, change func([]byte),
) (o outcome) {
	t.Helper()
	n := memory.NewNetwork(clock.Real, 1)
	n.SetPoison(true)
	a, b := n.Node("a"), n.Node("b")
	defer a.Close()
	defer b.Close()
	sent := make(chan error, 1)
	b.Serve(map[string]transport.Handler{service: func(ctx context.Context, s transport.Stream) error {
		err := checkpoint.Send(ctx, line(s), pebblefs.New(from), "source", m)
		sent <- err
		return err
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := a.Open(ctx, "b", service)
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Stream: s, left: limit, broken: cancel, change: func(p []byte) {
		o.bytes += int64(len(p))
		if change != nil {
			change(p)
		}
	}}
	o.manifest, o.err = checkpoint.Receive(t.Context(), line(l), pebblefs.New(to), "target", nil, nil)
	o.messages = limit - l.left
	virtual.Wait()
	b.Close()
	if len(sent) > 0 { // else the stream broke before the handler began
		o.sendErr = <-sent
	}
	return o
}

func TestTransfer(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		to := vfs.NewCrashableMem()
		o := transfer(t, from, m, to, unlimited, nil)
		if o.err != nil || o.sendErr != nil {
			t.Fatal(o.err, o.sendErr)
		}
		// Nothing may depend on what was not synced.
		checkComplete(t, to.CrashClone(vfs.CrashCloneCfg{}), "target", m)

		again := transfer(t, from, m, to, unlimited, nil)
		if again.err != nil || again.sendErr != nil || again.bytes > 4096 {
			t.Fatalf("a complete checkpoint was sent again: %+v", again)
		}
		if err := checkpoint.Remove(pebblefs.New(to), "target"); err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.Remove(pebblefs.New(to), "target"); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoint.Load(pebblefs.New(to), "target"); !errors.Is(err, checkpoint.ErrIncomplete) {
			t.Fatal(err)
		}
	})
}

// Broken after every message in turn, with a crash of the receiver that keeps a random part of what was not synced,
// each further attempt must go on and finish.
func TestInterruptedAtEveryMessageAndResumed(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		whole := transfer(t, from, m, vfs.NewMem(), unlimited, nil)
		if whole.err != nil || whole.messages < 8 {
			t.Fatalf("%+v", whole)
		}
		for limit := range whole.messages - 1 { // the last message is only for the sender
			for seed := range uint64(3) {
				if int(seed)%raceShare != limit%raceShare {
					continue
				}
				to := vfs.NewCrashableMem()
				if o := transfer(t, from, m, to, limit, nil); !errors.Is(o.err, transport.ErrUnreachable) {
					t.Fatalf("limit %d: %v", limit, o.err)
				}
				random := rand.New(rand.NewPCG(seed, uint64(limit)))
				to = to.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 50, RNG: random})
				if _, err := checkpoint.Load(pebblefs.New(to), "target"); !errors.Is(err, checkpoint.ErrIncomplete) {
					t.Fatalf("limit %d: an unfinished checkpoint has a manifest: %v", limit, err)
				}
				if o := transfer(t, from, m, to, unlimited, nil); o.err != nil {
					t.Fatalf("limit %d: second attempt: %v", limit, o.err)
				}
				checkComplete(t, to.CrashClone(vfs.CrashCloneCfg{}), "target", m)
			}
		}
	})
}

func TestResumeFetchesOnlyTheRest(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		to := vfs.NewMem()
		first := transfer(t, from, m, to, 6, nil)
		second := transfer(t, from, m, to, unlimited, nil)
		if second.err != nil {
			t.Fatal(second.err)
		}
		if total := first.bytes + second.bytes; total > m.Bytes()+8192 || second.bytes >= m.Bytes() {
			t.Fatalf("%d and then %d bytes for a checkpoint of %d", first.bytes, second.bytes, m.Bytes())
		}
		checkComplete(t, to, "target", m)
	})
}

func TestAnotherCheckpointReplacesTheUnfinishedOne(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		to := vfs.NewMem()
		other := *m
		other.ID[0]++
		transfer(t, from, &other, to, 6, nil)
		write(t, to, "target/stranger", []byte("x"))
		if o := transfer(t, from, m, to, unlimited, nil); o.err != nil {
			t.Fatal(o.err)
		}
		checkComplete(t, to, "target", m)
		if _, err := to.Stat("target/stranger"); err == nil {
			t.Fatal("a file of something else was left")
		}
	})
}

// What came of a checkpoint before it broke off, or of one that is there, is not fetched again with the next one of the
// same source, as far as that has it as well: the source has made another one meanwhile. What differs under the same
// name is.
func TestWhatAnotherCheckpointHasAsWellIsNotFetchedAgain(t *testing.T) {
	made := func(id byte, files map[string][]byte) (vfs.FS, *checkpoint.Manifest) {
		fs := vfs.NewMem()
		for name, data := range files {
			write(t, fs, "source/"+name, data)
		}
		m, err := describe(fs, "source", [16]byte{id}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return fs, m
	}
	const size = 32 << 10
	for _, limit := range []int{5, unlimited} {
		virtual.Test(t, func(t *testing.T) {
			files := map[string][]byte{"CURRENT": []byte("MANIFEST-000003\n"), "000009.sst": noise(5, size)}
			for i := range 4 {
				files[fmt.Sprintf("log/%03d.seg", i)] = noise(uint64(6+i), size)
			}
			older, before := made(1, files)
			files["CURRENT"], files["log/004.seg"] = []byte("MANIFEST-000007\n"), noise(10, size)
			delete(files, "000009.sst")
			from, m := made(2, files)
			to := vfs.NewMem()
			transfer(t, older, before, to, limit, nil)
			kept := int64(0)
			for name := range files {
				if info, err := to.Stat("target/" + name); err == nil && name != "CURRENT" {
					kept += info.Size()
				}
			}
			again := transfer(t, from, m, to, unlimited, nil)
			if again.err != nil {
				t.Fatal(again.err)
			}
			if kept < size || again.bytes > m.Bytes()-kept+4096 {
				t.Errorf("%d bytes were there, and %d came of %d", kept, again.bytes, m.Bytes())
			}
			got, err := describe(to, "target", m.ID, nil)
			if err != nil || !slices.Equal(got.Files, m.Files) {
				t.Errorf("it holds %v, %v", got, err)
			}
		})
	}
}

// A file that a crash, or a disk, damaged after it was received is fetched again, whether the rest was complete or not.
func TestDamagedPartIsFetchedAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		damage := map[string]func(p []byte) []byte{
			"flipped":  func(p []byte) []byte { p[100] ^= 1; return p },
			"too long": func(p []byte) []byte { return append(p, contents["000012.sst"]...) },
		}
		for what, damaged := range damage {
			for _, limit := range []int{6, unlimited} {
				to := vfs.NewMem()
				transfer(t, from, m, to, limit, nil)
				name := "target/000012.sst"
				write(t, to, name, damaged(read(t, to, name)))
				if o := transfer(t, from, m, to, unlimited, nil); o.err != nil {
					t.Fatalf("%s, limit %d: %v", what, limit, o.err)
				}
				checkComplete(t, to, "target", m)
			}
		}
	})
}

func TestCorruptionIsRefusedAndRemoved(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		p := bytes.Clone(contents["000012.sst"])
		p[len(p)-1] ^= 1
		write(t, from, "source/000012.sst", p) // after it was described
		to := vfs.NewMem()
		o := transfer(t, from, m, to, unlimited, nil)
		if !errors.Is(o.err, checkpoint.ErrCorrupt) || !errors.Is(o.sendErr, checkpoint.ErrReceiver) {
			t.Fatal(o.err, o.sendErr)
		}
		if _, err := to.Stat("target/000012.sst"); err == nil {
			t.Fatal("the damaged file is still there")
		}
		if _, err := checkpoint.Load(pebblefs.New(to), "target"); !errors.Is(err, checkpoint.ErrIncomplete) {
			t.Fatal(err)
		}
	})
}

func TestDamageOnTheWayIsRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		for message := range 4 {
			i := 0
			o := transfer(t, from, m, vfs.NewMem(), unlimited, func(p []byte) {
				if i == message {
					p[len(p)/2] ^= 4
				}
				i++
			})
			if !errors.Is(o.err, checkpoint.ErrCorrupt) {
				t.Fatalf("message %d: %v", message, o.err)
			}
		}
	})
}

func TestShortSourceFile(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		write(t, from, "source/000013.sst", []byte("short"))
		o := transfer(t, from, m, vfs.NewMem(), unlimited, nil)
		if o.err == nil || !errors.Is(o.sendErr, checkpoint.ErrCorrupt) {
			t.Fatal(o.err, o.sendErr)
		}
	})
}

func TestFullDisk(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		mem := vfs.NewMem()
		full := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWriteAt && op.Offset > 0 {
				return syscall.ENOSPC
			}
			return nil
		}))
		o := transfer(t, from, m, full, unlimited, nil)
		if !errors.Is(o.err, syscall.ENOSPC) || !strings.Contains(fmt.Sprint(o.sendErr), "no space") {
			t.Fatal(o.err, o.sendErr)
		}
		if _, err := checkpoint.Load(pebblefs.New(mem), "target"); !errors.Is(err, checkpoint.ErrIncomplete) {
			t.Fatal(err)
		}
		if names, err := mem.List("target"); err == nil {
			t.Errorf("what was received takes the room that others need: %v", names)
		}
		mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000, TotalBytes: 1 << 30})
		if o := transfer(t, from, m, mem, unlimited, nil); !errors.Is(o.err, checkpoint.ErrNoSpace) {
			t.Fatal(o.err)
		}
		mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30})
		if o := transfer(t, from, m, mem, unlimited, nil); o.err != nil {
			t.Fatal(o.err)
		}
		checkComplete(t, mem, "target", m)
	})
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		defer a.Close()
		defer b.Close()
		var last checkpoint.Progress
		to := vfs.NewMem()
		// The other way round: the opener sends, and the handler receives.
		b.Serve(map[string]transport.Handler{service: func(ctx context.Context, s transport.Stream) error {
			_, err := checkpoint.Receive(ctx, line(s), pebblefs.New(to), "target", nil, func(p checkpoint.Progress) {
				if p.DoneBytes <= last.DoneBytes {
					t.Errorf("from %d to %d", last.DoneBytes, p.DoneBytes)
				}
				last = p
			})
			return err
		}})
		s, err := a.Open(t.Context(), "b", service)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.Send(t.Context(), line(s), pebblefs.New(from), "source", m); err != nil {
			t.Fatal(err)
		}
		if last.DoneBytes != m.Bytes() || last.TotalBytes != m.Bytes() {
			t.Fatalf("%+v of %d", last, m.Bytes())
		}
		checkComplete(t, to, "target", m)
	})
}
