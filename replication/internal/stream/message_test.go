package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

func someReigns() []timeline.Reign {
	return []timeline.Reign{
		{Epoch: 1, First: 1, Primary: "us", Nonce: [16]byte{1}},
		{Epoch: 4, First: 77, Primary: "eu", Lossy: true, Handoff: 3, Previous: timeline.Chain{9}},
	}
}

func body(t testing.TB, m []byte, want kind) []byte {
	t.Helper()
	k, b, err := open(m)
	if err != nil || k != want {
		t.Fatalf("open: kind %d, %v", k, err)
	}
	return b
}

func TestMessagesComeBack(t *testing.T) {
	at := timeline.Cursor{Epoch: 4, Position: 80, Chain: timeline.Chain{1, 2, 3}}
	sub := &subscribe{region: "eu", at: at, window: 1 << 20, reigns: someReigns()}
	if got, err := decodeSubscribe(body(t, encodeSubscribe(sub), kindSubscribe)); err != nil ||
		!reflect.DeepEqual(got, sub) {
		t.Errorf("%+v, %v", got, err)
	}
	sub.formed = map[uint64]string{7: "a", 3: "b", 5: ""}
	if got, err := decodeSubscribe(body(t, encodeSubscribe(sub), kindSubscribe)); err != nil ||
		!reflect.DeepEqual(got, sub) {
		t.Errorf("%+v, %v", got, err)
	}
	ans := &answer{verdict: verdictFork, at: at, position: 76, text: "why", reigns: someReigns()}
	if got, err := decodeAnswer(body(t, encodeAnswer(ans), kindAnswer)); err != nil || !reflect.DeepEqual(got, ans) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := decodeAck(body(t, encodeAck(ack{3, 9}), kindAck)); err != nil || got != (ack{3, 9}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := decodePing(body(t, encodePing(7), kindPing)); err != nil || got != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	p := pong{token: 7, known: true, committed: 80, unsent: 5}
	if got, err := decodePong(body(t, encodePong(p), kindPong)); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	long := strings.Repeat("x", 1<<17)
	if got, err := decodeAnswer(body(t, encodeAnswer(&answer{text: long}), kindAnswer)); err != nil ||
		!strings.HasPrefix(long, got.text) {
		t.Errorf("long text: %d bytes, %v", len(got.text), err)
	}
}

// Every flipped bit and every cut is noticed.
func TestDamagedMessagesAreRefused(t *testing.T) {
	m := encodeSubscribe(&subscribe{region: "eu", reigns: someReigns()})
	for i := range len(m) * 8 {
		c := bytes.Clone(m)
		c[i/8] ^= 1 << (i % 8)
		if _, _, err := open(c); !errors.Is(err, ErrProtocol) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range m {
		if _, _, err := open(m[:n]); !errors.Is(err, ErrProtocol) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

func TestBatchesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text := bytes.Repeat([]byte("all work and no play makes a dull frame. "), 4000)
	p := packer{encoder: newEncoder()}
	decoder := newDecoder()
	for name, c := range map[string]struct {
		payloads [][]byte
		smaller  bool
	}{
		"empty":          {nil, false},
		"empty payloads": {[][]byte{{}, {}}, false},
		"small":          {[][]byte{text[:100], text[:7]}, false},
		"large":          {[][]byte{text, text[:1000], {}}, true},
		"noise":          {[][]byte{noise}, false},
		"mixed":          {[][]byte{noise[:1000], text}, true},
	} {
		p.poor = 0
		m := p.pack(c.payloads, 42)
		b := body(t, m, kindBatch)
		committed, size, err := batchHead(b)
		if err != nil || committed != 42 || int64(size) != bodyBytes(c.payloads) {
			t.Errorf("%s: head says %d, %d, %v", name, committed, size, err)
		}
		if smaller := len(m) < size/2; smaller != c.smaller {
			t.Errorf("%s: %d bytes became %d", name, size, len(m))
		}
		got, err := unpack(decoder, b, nil)
		if err != nil || !slices.EqualFunc(got, c.payloads, bytes.Equal) {
			t.Errorf("%s: %d payloads came back, %v", name, len(got), err)
		}
	}
}

// What does not shrink is not compressed again and again.
func TestPoorBatchesAreSentPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	p := packer{encoder: newEncoder()}
	var compressed int
	for range 2 * (poorBatches + 1) {
		compressed += int(body(t, p.pack([][]byte{noise}, 1), kindBatch)[0])
	}
	if compressed != 2 {
		t.Errorf("%d of %d batches were compressed", compressed, 2*(poorBatches+1))
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(encodeSubscribe(&subscribe{region: "eu", reigns: someReigns()}))
	f.Add(encodeSubscribe(&subscribe{region: "eu", formed: map[uint64]string{1: "a", 2: "b"}}))
	f.Add(encodeAnswer(&answer{verdict: verdictFork, reigns: someReigns(), text: "no"}))
	f.Add(encodeAck(ack{1, 2}))
	f.Add(encodePing(3))
	f.Add(encodePong(pong{token: 1, known: true}))
	f.Add(pack([]byte("payload"), bytes.Repeat([]byte("x"), 10<<10)))
	f.Add(pack([]byte("payload")))
	decoder := newDecoder()
	f.Fuzz(func(t *testing.T, m []byte) {
		m = finish(slices.Clip(m)) // so that the checksum is no wall
		k, b, err := open(m)
		if err != nil {
			return
		}
		again := m
		switch k {
		case kindSubscribe:
			if s, err := decodeSubscribe(b); err == nil {
				again = encodeSubscribe(s)
			}
		case kindAnswer:
			if a, err := decodeAnswer(b); err == nil {
				again = encodeAnswer(a)
			}
		case kindAck:
			if a, err := decodeAck(b); err == nil {
				again = encodeAck(a)
			}
		case kindPing:
			if n, err := decodePing(b); err == nil {
				again = encodePing(n)
			}
		case kindPong:
			if p, err := decodePong(b); err == nil {
				again = encodePong(p)
			}
		case kindBatch:
			if payloads, err := unpack(decoder, b, nil); err == nil {
				if _, size, _ := batchHead(b); bodyBytes(payloads) != int64(size) {
					t.Fatalf("%d bytes announced, %d came", size, bodyBytes(payloads))
				}
			}
		}
		if !bytes.Equal(again, m) {
			t.Fatalf("kind %d is not what it is encoded to:\n%x\n%x", k, m, again)
		}
	})
}

func FuzzTracker(f *testing.F) {
	start := timeline.Cursor{}
	f.Add(reignAt(start, 1, "us"), frame(timeline.Cursor{Epoch: 1}, "a"))
	f.Add(frame(timeline.Cursor{Epoch: 1}, "a", "b"), []byte{1, 1})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		tracker := newTracker(start)
		for _, p := range [][]byte{a, b, a} {
			before := tracker.at
			taken, err := tracker.next(p)
			if (!taken || err != nil) && tracker.at != before {
				t.Fatalf("moved from %+v to %+v without taking: %v", before, tracker.at, err)
			}
			if taken && tracker.at.Position <= before.Position && tracker.at.Epoch <= before.Epoch {
				t.Fatalf("took something at %+v and is at %+v", before, tracker.at)
			}
		}
	})
}
