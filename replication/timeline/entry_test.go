package timeline

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Frame{
			Epoch:    Epoch(rapid.Uint64Min(1).Draw(t, "epoch")),
			First:    Position(rapid.Uint64Range(1, 1<<60).Draw(t, "first")),
			Previous: Chain(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "chain")),
		}
		for _, d := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 20).Draw(t, "commands") {
			want.Commands = append(want.Commands, Command{Data: d})
		}
		encoded := AppendFrame(nil, &want)
		var got Frame
		if err := DecodeFrame(encoded, &got); err != nil {
			t.Fatal(err)
		}
		if got.Epoch != want.Epoch || got.First != want.First || got.Previous != want.Previous ||
			len(got.Commands) != len(want.Commands) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for i := range got.Commands {
			if !bytes.Equal(got.Commands[i].Data, want.Commands[i].Data) {
				t.Fatalf("command %d: %x, want %x", i, got.Commands[i].Data, want.Commands[i].Data)
			}
		}
		if err := DecodeFrame(encoded[:len(encoded)-1], &got); !errors.Is(err, ErrFormat) {
			t.Fatalf("a frame cut short: %v", err)
		}
		if err := DecodeFrame(append(encoded, 0), &got); !errors.Is(err, ErrFormat) {
			t.Fatalf("a frame with more behind it: %v", err)
		}
	})
}

func TestReignRoundTrip(t *testing.T) {
	want := Reign{
		Epoch: 7, First: 12, Primary: "eu-west", Lossy: true, Handoff: 3, Nonce: Nonce{1, 2}, Previous: Chain{9},
	}
	for want.Place = range uint8(MaxPlace + 1) {
		encoded := AppendReign(nil, want)
		got, err := DecodeReign(encoded)
		if err != nil || got != want {
			t.Fatalf("%+v, %v", got, err)
		}
		// Nodes from before places take nothing but version 1.
		if places := encoded[0] != FormatVersion; places != (want.Place != 0) {
			t.Fatalf("place %d has version %d", want.Place, encoded[0])
		}
		encoded[0] ^= FormatVersion ^ placesVersion
		if _, err := DecodeReign(encoded); !errors.Is(err, ErrFormat) {
			t.Fatalf("place %d in version %d: %v", want.Place, encoded[0], err)
		}
	}
	want.Place = MaxPlace + 1
	if _, err := DecodeReign(AppendReign(nil, want)); !errors.Is(err, ErrFormat) {
		t.Fatalf("place %d: %v", want.Place, err)
	}
	for _, newer := range [][]byte{{placesVersion + 1, byte(KindReign)}, {placesVersion, byte(KindFrame)}} {
		if _, err := KindOf(newer); !errors.Is(err, ErrVersion) {
			t.Fatalf("an entry of a newer version: %v", err)
		}
	}
}

// TestARecordWithPlacesIsNotForOlderNodes, which would lose them, and take the history for another.
func TestARecordWithPlacesIsNotForOlderNodes(t *testing.T) {
	r := Reign{Epoch: 1, First: 1, Primary: "us", Place: 2}
	for what, s := range map[string]*State{
		"a reign":           {Region: "us", Cursor: Cursor{Epoch: 1}, Reigns: []Reign{r}},
		"a yield":           {Region: "us", Yielded: r},
		"a fork":            {Region: "us", Diverged: &Divergence{Claim: r}},
		"a ballot":          {Region: "us", Ballot: &Ballot{}},
		"none of all these": {Region: "us"},
	} {
		p, err := s.EncodeRecord()
		if err != nil {
			t.Fatal(err)
		}
		if newer := p[0] != FormatVersion; newer != (what != "none of all these") {
			t.Errorf("%s: version %d", what, p[0])
		}
		if got, err := DecodeRecord(p, s.Cursor); err != nil || got.HighestClaim() != s.HighestClaim() {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	if _, err := DecodeRecord([]byte{basisVersion + 1, '{', '}'}, Cursor{}); !errors.Is(err, ErrVersion) {
		t.Errorf("of a newer version: %v", err)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	want := &State{
		Region: "us", Cursor: Cursor{Epoch: 2, Position: 9, Chain: Chain{1}}, Handoffs: 4,
		Refused: Refusal{Epoch: 1, Handoff: 2},
		Reigns:  []Reign{{Epoch: 1, First: 1, Primary: "us"}, {Epoch: 2, First: 5, Primary: "us", Nonce: Nonce{3}}},
		Seal:    &Seal{Epoch: 2, To: "eu", Handoff: 4, Position: 9},
		Members: []Member{{ID: 1, Name: "a", PeerAddr: "h:1"}}, Slots: []Slot{{Region: "eu", Position: 8}},
		Conf: []byte{1, 2},
	}
	encoded, err := want.EncodeRecord()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRecord(encoded, want.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	again, err := got.EncodeRecord()
	if err != nil || !bytes.Equal(again, encoded) {
		t.Fatalf("%s\n%s\n%v", encoded, again, err)
	}
	if _, err := DecodeRecord(encoded, Cursor{Epoch: 3, Position: 9}); !errors.Is(err, ErrFormat) {
		t.Fatalf("a record that does not fit its cursor: %v", err)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(AppendFrame(nil, &Frame{Epoch: 1, First: 1, Commands: []Command{{Data: []byte("a")}, {}}}))
	f.Add(AppendReign(nil, Reign{Epoch: 1, First: 1, Primary: "us"}))
	f.Add(AppendReign(nil, Reign{Epoch: 1, First: 1, Primary: "us", Lossy: true, Place: 3}))
	control, err := EncodeControl(&Control{Op: OpSeal, To: "eu"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(control)
	f.Fuzz(func(t *testing.T, p []byte) {
		var frame Frame
		if DecodeFrame(p, &frame) == nil && !bytes.Equal(AppendFrame(nil, &frame), canonical(p)) {
			t.Fatalf("frame %x is not what it decodes to", p)
		}
		if r, err := DecodeReign(p); err == nil && !bytes.Equal(AppendReign(nil, r), canonical(p)) {
			t.Fatalf("reign %x is not what it decodes to", p)
		}
		_, _ = DecodeControl(p)
		_, _ = DecodeRecord(p, Cursor{})
		_, _ = ReadHeader(p)
	})
}

// canonical returns p with the reserved bytes that decoding passes over as encoding writes them.
func canonical(p []byte) []byte {
	c := bytes.Clone(p)
	c[2], c[3] = 0, 0
	return c
}
