package peers

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func sampleMessages() []*raftpb.Message {
	return []*raftpb.Message{
		{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)),
			Term: new(uint64(7)), LogTerm: new(uint64(6)), Index: new(uint64(41)), Commit: new(uint64(40)),
			RejectHint: new(uint64(0)), Reject: new(false),
			Entries: []*raftpb.Entry{
				{
					Term: new(uint64(7)), Index: new(uint64(42)), Type: raftpb.EntryNormal.Enum(),
					Data: []byte("payload"),
				},
				{Term: new(uint64(7)), Index: new(uint64(43)), Type: raftpb.EntryConfChangeV2.Enum()},
			},
		},
		{
			Type: raftpb.MsgAppResp.Enum(), From: new(uint64(1)), To: new(uint64(2)),
			Term: new(uint64(7)), LogTerm: new(uint64(5)), Index: new(uint64(41)), Commit: new(uint64(0)),
			RejectHint: new(uint64(12)), Reject: new(true), Context: []byte("context"),
		},
	}
}

// What is on the wire stays: members of one group may be of different releases.
func TestWireFormatIsUnchanged(t *testing.T) {
	const messages = "0195794ab6" +
		"0300000002000000" + "0700000000000000060000000000000029000000000000002800000000000000" + "0000000000000000" +
		"07000000000000002a00000000000000" + "00" + "07000000" + "7061796c6f6164" +
		"07000000000000002b00000000000000" + "02" + "00000000" +
		"0401070000000000" + "0700000000000000050000000000000029000000000000000000000000000000" + "0c00000000000000" +
		"636f6e74657874"
	if got := hex.EncodeToString(encodeMessages(sampleMessages())); got != messages {
		t.Errorf("messages are %s, want %s", got, messages)
	}
	const hello = "01f553ea4d" + "0300000000000000" + "0100000000000000" + "666c6565742f6575"
	if got := hex.EncodeToString(Hello{Group: "fleet/eu", From: 3, To: 1}.Encode()); got != hello {
		t.Errorf("hello is %s, want %s", got, hello)
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	want := sampleMessages()
	got, err := decodeMessages(encodeMessages(want), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("message %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestDamageOnTheWireIsRefused(t *testing.T) {
	p := encodeMessages(sampleMessages())
	for i := range p {
		for _, flip := range []byte{1, 0x80} {
			damaged := bytes.Clone(p)
			damaged[i] ^= flip
			if _, err := decodeMessages(damaged, 1, 2); !errors.Is(err, ErrFormat) {
				t.Errorf("byte %d changed: %v", i, err)
			}
		}
	}
	for n := range p {
		if _, err := decodeMessages(p[:n], 1, 2); !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

// A peer can make no message that is local to a node: raft would take it for its own.
func TestLocalMessagesAreRefused(t *testing.T) {
	for kind := range raftpb.MessageType_name {
		m := &raftpb.Message{Type: raftpb.MessageType(kind).Enum()}
		_, err := decodeMessages(encodeMessages([]*raftpb.Message{m}), 1, 2)
		if allowed := int(kind) < len(onWire) && onWire[kind]; allowed != (err == nil) {
			t.Errorf("%s: %v", m.GetType(), err)
		}
	}
}

// FuzzDecode seals what it is given, so that the checksum does not keep the fuzzer out, and checks that what is
// accepted means the same when it is encoded again.
func FuzzDecode(f *testing.F) {
	f.Add(encodeMessages(sampleMessages())[envelopeBytes:])
	f.Add(encodeMessages(sampleMessages()[1:])[envelopeBytes:])
	f.Add(Hello{Group: "g", From: 1, To: 2}.Encode()[envelopeBytes:])
	f.Fuzz(func(t *testing.T, body []byte) {
		p := Seal(append(NewEnvelope(len(body)), body...))
		if messages, err := decodeMessages(p, 1, 2); err == nil {
			if again := encodeMessages(messages); !bytes.Equal(again, p) {
				t.Errorf("decoded and encoded:\n%x\n%x", p, again)
			}
		}
		if h, err := decodeHello(p); err == nil && !bytes.Equal(h.Encode(), p) {
			t.Errorf("hello %v of %x", h, p)
		}
		_, _ = decodeMessages(body, 1, 2)
	})
}
