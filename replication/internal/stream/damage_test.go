package stream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// fake is a source that accepts everybody and sends what a test wants.
func (p *pair) fake(messages ...[]byte) {
	p.t.Helper()
	node := p.network.Node(usAddress)
	p.nodes = append(p.nodes, node)
	err := node.Serve(map[string]transport.Handler{Service: func(ctx context.Context, s transport.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		for _, m := range append([][]byte{encodeAnswer(&answer{verdict: verdictAccept})}, messages...) {
			if err := s.Send(append([]byte(nil), m...)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	if err != nil {
		p.t.Fatal(err)
	}
}

func pack(payloads ...[]byte) []byte {
	return (&packer{encoder: newEncoder()}).pack(payloads, 100)
}

// A sink hands over nothing of what does not continue its history, or of what came damaged, and says both sides'
// values.
func TestSinkRefuses(t *testing.T) {
	start := timeline.Cursor{}
	reign := reignAt(start, 1, "us")
	first := newTracker(start)
	if _, err := first.next(reign); err != nil {
		t.Fatal(err)
	}
	a := frame(first.at, "a")
	after := newTracker(first.at)
	if _, err := after.next(a); err != nil {
		t.Fatal(err)
	}
	b := frame(after.at, strings.Repeat("b", 10<<10))

	gap, chain, epoch := after.at, after.at, after.at
	gap.Position++
	chain.Chain[5] ^= 1
	epoch.Epoch++
	flipped := pack(b)
	flipped[len(flipped)/2] ^= 1
	lied := pack(b)
	lied[12] ^= 1 // the size it announces
	lied = finish(lied[:len(lied)-sumBytes])

	for name, c := range map[string]struct {
		second []byte
		want   error
		says   []string
	}{
		"gap":              {pack(frame(gap, "x")), ErrGap, []string{"positions 3 to 3", "up to 1"}},
		"gap before reign": {pack(reignAt(gap, 2, "us")), ErrGap, []string{"position 3", "up to 1"}},
		"chain": {pack(frame(chain, "x")), ErrChain,
			[]string{chain.Chain.String(), after.at.Chain.String()}},
		"chain of reign": {pack(reignAt(chain, 2, "us")), ErrChain,
			[]string{chain.Chain.String(), after.at.Chain.String()}},
		"chain after good":  {pack(b, frame(timeline.Cursor{Epoch: 1, Position: 2}, "x")), ErrChain, nil},
		"other epoch":       {pack(frame(epoch, "x")), ErrEpoch, []string{"epoch 2", "held here 1"}},
		"no history":        {pack([]byte{1, byte(timeline.KindControl), 0, 0, '{', '}'}), timeline.ErrFormat, nil},
		"cut frame":         {pack(b[:len(b)-1]), timeline.ErrFormat, nil},
		"bit on the wire":   {flipped, ErrProtocol, []string{"checksum"}},
		"size on the wire":  {lied, ErrProtocol, nil},
		"newer version":     {finish([]byte{protocolVersion + 1, byte(kindBatch)}), ErrProtocol, []string{"version 2"}},
		"out of turn":       {encodePing(1), ErrProtocol, nil},
		"more than window":  {pack([]byte(strings.Repeat("x", 70<<10))), ErrProtocol, []string{"window is 65536"}},
		"end of the stream": {nil, ErrProtocol, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pair) {
				p.eu.hold = name == "more than window"
				p.fake(pack(reign), pack(a), c.second)
				var met []error
				p.follow(func(k *SinkConfig) {
					k.WindowBytes = 64 << 10
					k.Logger = lossesTo(&met)
				})
				wait(t, "the session ends", func() bool { return p.sink.Status().Err != nil })
				p.stop()
				if len(met) == 0 || !errors.Is(met[0], c.want) {
					t.Fatalf("sessions ended with %v, want %v", met, c.want)
				}
				for _, s := range c.says {
					if !strings.Contains(met[0].Error(), s) {
						t.Errorf("%q does not say %q", met[0], s)
					}
				}
				if at := p.eu.Cursor(); at != after.at && at != first.at && at != start {
					t.Errorf("eu is at %+v", at)
				}
			})
		})
	}
}

// What was damaged in the memory of a source stays there: it is not even sent (invariant 13).
func TestSourceDoesNotSendDamage(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("good")
		damaged := &damagedLog{Log: p.us.log, index: 3}
		p.us.write("damaged")
		p.us.write("after")
		p.serve(func(c *SourceConfig) { c.Log = damaged })
		p.follow()
		wait(t, "the source refuses", func() bool { return errors.Is(p.sink.Status().Err, ErrChain) })
		p.eu.mu.Lock()
		if p.eu.last != 0 {
			t.Errorf("%d entries were handed over", p.eu.last)
		}
		p.eu.mu.Unlock()
		damaged.healed.Store(true)
		p.converge()
	})
}

// damagedLog flips a bit of one entry.
type damagedLog struct {
	Log
	index  uint64
	healed atomic.Bool
}

func (l *damagedLog) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	entries, err := l.Log.Entries(lo, hi, maxBytes)
	if err != nil || l.healed.Load() {
		return entries, err
	}
	entries = slices.Clone(entries)
	for i, e := range entries {
		if e.GetIndex() == l.index {
			index, term, kind := e.GetIndex(), e.GetTerm(), e.GetType()
			data := bytes.Clone(e.GetData())
			data[len(data)-1] ^= 1
			entries[i] = &raftpb.Entry{Index: &index, Term: &term, Type: &kind, Data: data}
		}
	}
	return entries, nil
}

// damageLog flips a bit in the middle of the oldest segment of us, which is not in memory any more.
func (p *pair) damageLog() (file string) {
	p.t.Helper()
	names, err := p.us.fs.List("log")
	if err != nil {
		p.t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		file = p.us.fs.PathJoin("log", name)
		f, err := p.us.fs.OpenReadWrite(file, vfs.WriteCategoryUnspecified)
		if err != nil {
			p.t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, 32<<10); err != nil {
			p.t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, 32<<10); err != nil {
			p.t.Fatal(err)
		}
		f.Close()
		return name
	}
	p.t.Fatal("no segment among", names)
	return ""
}

// writeMuch writes more than what a log has in memory.
func (p *pair) writeMuch() {
	for range 40 {
		p.us.write(strings.Repeat("x", 8<<10))
	}
}

// Where the log of every node of the source is damaged a region is not refused for ever: it bootstraps, and the file is
// named on both sides. It does not if another region has the log.
func TestADamagedLogLeadsToACopyOrAround(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.writeMuch()
		file := p.damageLog()
		var said bytes.Buffer
		p.serve(func(c *SourceConfig) { c.Logger = slog.New(slog.NewTextHandler(&said, nil)) })
		var boot *BootstrapError
		if err := p.outcome(); !errors.As(err, &boot) || !strings.Contains(err.Error(), file) {
			t.Fatalf("Run returned %v, want a bootstrap because of %s", err, file)
		}
		virtual.Wait()
		if !strings.Contains(said.String(), file) || !strings.Contains(said.String(), "Replace this node") {
			t.Errorf("the source said %s", said.String())
		}
	})
	bubble(t, func(t *testing.T, p *pair) {
		ap := newRegion(t, "ap")
		defer ap.log.Close()
		p.serve()
		eu := p.eu
		p.eu = ap
		p.follow()
		p.writeMuch()
		p.converge()
		p.stop()
		p.eu = eu
		p.damageLog()
		p.join("ap-1", ap, func(c *SourceConfig) {
			c.Log = ap.log
			c.Committed = func(context.Context) (timeline.Position, error) { return 0, errors.New("not primary") }
		})
		p.follow(func(c *SinkConfig) {
			c.Detour = func() []Way { return []Way{{Region: "ap", Addresses: []string{"nobody", "ap-1"}}} }
			c.Better = func(addr string, _ timeline.Position) bool { return addr != usAddress }
		})
		virtual.Wait()
		if s := p.sink.Status(); s.Way != "ap" || s.Address != "ap-1" || !s.Connected {
			t.Errorf("served by ap: %+v", s)
		}
		p.us.write("after")
		p.converge()
		time.Sleep(time.Minute)
		if s := p.sink.Status(); s.Address != usAddress || !s.Connected || s.Way != "" {
			t.Errorf("does not follow the source again: %+v", s)
		}
	})
}
