package grpctransport

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
)

// wire is a connection whose other side has said something, and hears nothing.
type wire struct {
	net.Conn
	said bytes.Reader
	step int // bytes at a time, if it is not 0
}

func (w *wire) Read(p []byte) (int, error) {
	if w.step > 0 {
		p = p[:min(w.step, len(p))]
	}
	return w.said.Read(p)
}
func (w *wire) Write(p []byte) (int, error) { return len(p), nil }
func (w *wire) Close() error                { return nil }
func (w *wire) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

// frame is one of HTTP/2 with a body of n bytes.
func frame(kind, flags byte, stream byte, n int) []byte {
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}, make([]byte, n)...)
}

type office struct {
	*testing.T
	all *ledgers
}

func newOffice(t *testing.T) office {
	return office{t, &ledgers{logger: slog.New(slog.DiscardHandler), most: 100, of: map[member]*ledger{}}}
}

func (o office) meter() *meter {
	m := newMeter(&wire{}, nil, o.all)
	m.in = frames{}
	return m
}

// says has the other side of a meter's connection say so much, and this one read it as gRPC does, which opens a stream
// when it has the headers.
func (o office) says(m *meter, said ...[]byte) (opened []*kept, err error) {
	o.Helper()
	m.Conn.(*wire).said.Reset(bytes.Join(said, nil))
	for p := make([]byte, 1<<10); ; {
		before := m.opened
		_, err := m.Read(p)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return opened, err
		}
		if m.opened != before {
			k, err := m.open()
			if err != nil {
				o.Fatal(err)
			}
			opened = append(opened, k)
		}
	}
}

// The books are even when all have gone: whatever was taken, left, cut or refused.
func TestNothingStaysInTheBooks(t *testing.T) {
	o := newOffice(t)
	caller := transport.Caller{Region: "us", Node: "us-1"}
	one, two := o.meter(), o.meter()
	k, _ := o.says(one, frame(frameHeaders, 0, 1, 10), frame(frameData, 0, 1, 40)) // not known yet whose it is
	endOne, err := k[0].begin("fleet", caller)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := o.says(two, frame(frameHeaders, 0, 1, 10))
	endTwo, err := l[0].begin("fleet", caller)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.says(two, frame(frameData, 0, 1, 61)); !errors.Is(err, errHoards) {
		t.Error("two connections of one node, each below its limit:", err)
	}
	k[0].took(35)
	if _, err := o.says(two, frame(frameData, 0, 1, 20)); err != nil {
		t.Error("what was taken counts on:", err)
	}
	two.Close()
	endTwo()
	if l[0].leave(); two.bytes != 0 {
		t.Error("of who is gone there is left", two.bytes)
	}
	endOne()
	if k[0].took(1000); one.bytes != 0 {
		t.Error("who had more taken than he sent has a credit:", one.bytes)
	}
	if len(o.all.of) != 1 {
		t.Error("an open connection is in no book:", o.all.of)
	}
	one.Close()
	if len(o.all.of) != 0 {
		t.Error("left:", o.all.of)
	}
	three := o.meter()
	var ends []func()
	for range memberStreams {
		end, err := three.begin(member{"fleet", caller})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if _, err := three.begin(member{"fleet", caller}); !errors.Is(err, transport.ErrUnreachable) {
		t.Error("one stream too many:", err)
	}
	late := o.meter()
	late.Close()
	if _, err := late.begin(member{"fleet", caller}); !errors.Is(err, transport.ErrUnreachable) {
		t.Error("one stream too many on a connection that is gone:", err)
	}
	three.Close()
	for _, end := range ends {
		end()
	}
	if len(o.all.of) != 0 {
		t.Error("left:", o.all.of)
	}
}

// What is left of a stream counts until it has ended on the wire and its handler has returned, and no longer, whatever
// other streams there are.
func TestWhatAStreamLeavesGoesWithIt(t *testing.T) {
	reset, last := frame(frameReset, 0, 3, 4), frame(frameHeaders, flagEndStream, 3, 7)
	for name, events := range map[string][]func(o office, m *meter, k *kept) (left int64){
		"the handler returns, and says so": {
			func(_ office, _ *meter, k *kept) int64 { k.leave(); return 50 },
			func(_ office, m *meter, _ *kept) int64 { m.Write(last[:5]); return 50 },
			func(_ office, m *meter, _ *kept) int64 { m.Write(last[5:]); return 0 },
			func(o office, m *meter, _ *kept) int64 { o.says(m, frame(frameData, 0, 3, 60)); return 0 },
		},
		"it is refused before a handler": {
			func(_ office, m *meter, _ *kept) int64 { m.Write(last); return 0 },
		},
		"the caller resets it": {
			func(o office, m *meter, _ *kept) int64 { o.says(m, reset, frame(frameData, 0, 3, 60)); return 50 },
			func(_ office, _ *meter, k *kept) int64 { k.took(15); return 30 },
			func(_ office, _ *meter, k *kept) int64 { k.leave(); return 0 },
			func(_ office, m *meter, _ *kept) int64 { m.Write(last); return 0 },
		},
		"it is reset behind the handler": {
			func(_ office, _ *meter, k *kept) int64 { k.leave(); return 50 },
			func(o office, m *meter, _ *kept) int64 { o.says(m, reset); return 0 },
		},
		"this side resets it": {
			func(_ office, m *meter, _ *kept) int64 { m.Write(reset); return 50 },
			func(_ office, _ *meter, k *kept) int64 { k.leave(); return 0 },
		},
		"it closes its side, and is taken": {
			func(o office, m *meter, _ *kept) int64 { o.says(m, frame(frameData, flagEndStream, 3, 0)); return 50 },
			func(_ office, _ *meter, k *kept) int64 { k.took(45); return 0 },
			func(_ office, _ *meter, k *kept) int64 { k.leave(); return 0 },
			func(_ office, m *meter, _ *kept) int64 { m.Write(last); return 0 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			m := o.meter()
			k, err := o.says(m, frame(frameHeaders, 0, 1, 5), frame(frameData, 0, 1, 10), frame(frameHeaders, 0, 3, 5),
				frame(frameData, 0, 3, 50), frame(frameData, 0, 5, 90)) // a stream that was never opened
			if err != nil || len(k) != 2 {
				t.Fatal(len(k), err)
			}
			caller := transport.Caller{Node: "us-1"}
			end, err := k[0].begin("fleet", caller)
			if err != nil {
				t.Fatal(err)
			}
			for i, event := range events {
				left := event(o, m, k[1])
				if of := o.all.of[member{"fleet", caller}].bytes; m.bytes != 10+left || of != m.bytes {
					t.Errorf("event %d: the connection has %d, the node %d, want %d", i, m.bytes, of, 10+left)
				}
			}
			if len(m.kept) != 1 {
				t.Error("left:", m.kept)
			}
			end()
		})
	}
}

// A connection has a bounded number of streams in the books, also of such that never had a handler.
func TestStreamsWithoutAHandlerAreBounded(t *testing.T) {
	m := newOffice(t).meter()
	for range memberStreams {
		m.opened += 2
		if k, err := m.open(); err != nil {
			t.Fatal(err)
		} else {
			k.reset = true
		}
	}
	m.opened += 2
	if _, err := m.open(); !errors.Is(err, errManyStreams) {
		t.Error(err)
	}
}

// Frames are followed wherever what is read ends, and what is read is what was said.
func TestAMeterFollowsFrames(t *testing.T) {
	virtual.Test(t, func(t *testing.T) { // who is not known yet is heard slowly
		text := append(make([]byte, prefaceBytes), frame(4, 0, 0, 6)...)
		text = append(text, bytes.Join([][]byte{frame(frameHeaders, 0, 1, 20), frame(frameContinuation, 4, 1, 3),
			frame(frameData, 0, 1, 70000), frame(frameData, 0, 1, 0), frame(frameData, 0, 1, 5)}, nil)...)
		for step := 1; step < 40; step++ {
			all := &ledgers{logger: slog.New(slog.DiscardHandler), most: 1 << 20}
			w := &wire{step: step}
			m := newMeter(w, nil, all)
			w.said.Reset(text)
			var got []byte
			for p := make([]byte, 64); ; {
				before := m.opened
				n, err := m.Read(p)
				got = append(got, p[:n]...)
				if m.opened != before {
					if _, err := m.open(); err != nil {
						t.Fatal(err)
					}
				}
				if err != nil {
					break
				}
			}
			if m.bytes != 70005 || !bytes.Equal(got, text) {
				t.Errorf("in steps of %d: %d bytes of messages, %d in all of %d", step, m.bytes, len(got), len(text))
			}
		}
	})
}
