package raftgroup

import (
	"bytes"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func sampleMessages() []*raftpb.Message {
	return []*raftpb.Message{
		{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(7)), LogTerm: new(uint64(6)),
			Index: new(uint64(41)), Commit: new(uint64(40)), RejectHint: new(uint64(0)), Reject: new(false),
			Entries: []*raftpb.Entry{
				{Term: new(uint64(7)), Index: new(uint64(42)), Type: raftpb.EntryNormal.Enum(), Data: []byte("payload")},
				{Term: new(uint64(7)), Index: new(uint64(43)), Type: raftpb.EntryConfChangeV2.Enum()},
			},
		},
		{
			Type: raftpb.MsgAppResp.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(7)), LogTerm: new(uint64(5)),
			Index: new(uint64(41)), Commit: new(uint64(0)), RejectHint: new(uint64(12)), Reject: new(true), Context: []byte("context"),
		},
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

func TestHelloAndOffer(t *testing.T) {
	h := hello{group: "fleet/eu", from: 3, to: 1}
	got, err := decodeHello(h.encode())
	if err != nil || got != h {
		t.Errorf("hello %v, %v", got, err)
	}
	for _, c := range []Config{{ID: 2, GroupID: "fleet/eu"}, {ID: 1, GroupID: "fleet/us"}, {ID: 3, GroupID: "fleet/eu"}} {
		if err := h.check(&c); !errors.Is(err, ErrWrongGroup) {
			t.Errorf("%d of %s accepts %v: %v", c.ID, c.GroupID, h, err)
		}
	}
	if err := h.check(&Config{ID: 1, GroupID: "fleet/eu"}); err != nil {
		t.Error(err)
	}
	s := &raftpb.Snapshot{
		Data:     bytes.Repeat([]byte{7}, checkpointIDBytes),
		Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(2)), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}}},
	}
	p, err := encodeOffer(5, s)
	if err != nil {
		t.Fatal(err)
	}
	if term, got, err := decodeOffer(p); err != nil || term != 5 || !proto.Equal(got, s) {
		t.Errorf("offer %d %v, %v", term, got, err)
	}
}

// FuzzDecode seals what it is given, so that the checksum does not keep the fuzzer out, and checks that what is accepted means the
// same when it is encoded again.
func FuzzDecode(f *testing.F) {
	f.Add(encodeMessages(sampleMessages())[envelopeBytes:])
	f.Add(encodeMessages(sampleMessages()[1:])[envelopeBytes:])
	f.Add(hello{group: "g", from: 1, to: 2}.encode()[envelopeBytes:])
	if p, err := encodeOffer(5, &raftpb.Snapshot{Data: make([]byte, checkpointIDBytes), Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1))}}); err == nil {
		f.Add(p[envelopeBytes:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := sealed(append([]byte{formatVersion, 0, 0, 0, 0}, body...))
		if messages, err := decodeMessages(p, 1, 2); err == nil {
			if again := encodeMessages(messages); !bytes.Equal(again, p) {
				t.Errorf("decoded and encoded:\n%x\n%x", p, again)
			}
		}
		if h, err := decodeHello(p); err == nil && !bytes.Equal(h.encode(), p) {
			t.Errorf("hello %v of %x", h, p)
		}
		_, _, _ = decodeOffer(p)
		_, _ = decodeMessages(body, 1, 2)
	})
}
