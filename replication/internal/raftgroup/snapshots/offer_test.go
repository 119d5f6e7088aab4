package snapshots

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

func sampleSnapshot() *raftpb.Snapshot {
	conf := &raftpb.ConfState{Voters: []uint64{1, 2}}
	return &raftpb.Snapshot{
		Data:     bytes.Repeat([]byte{7}, idBytes),
		Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(2)), ConfState: conf},
	}
}

func TestOffer(t *testing.T) {
	p, err := encodeOffer(5, sampleSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	// What is on the wire stays: members of one group may be of different releases.
	const want = "01b34fb278" + "0500000000000000" + "0a1007070707070707070707070707070707" + "120a0a040801080210091802"
	if got := hex.EncodeToString(p); got != want {
		t.Errorf("offer is %s, want %s", got, want)
	}
	if term, got, err := decodeOffer(p); err != nil || term != 5 || !proto.Equal(got, sampleSnapshot()) {
		t.Errorf("offer %d %v, %v", term, got, err)
	}
	for i := range p {
		damaged := bytes.Clone(p)
		damaged[i] ^= 1
		if _, _, err := decodeOffer(damaged); !errors.Is(err, peers.ErrFormat) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func TestOffersOfNothingAreRefused(t *testing.T) {
	nameless, empty := sampleSnapshot(), sampleSnapshot()
	nameless.Data = nameless.Data[1:]
	empty.Metadata.Index = nil
	for _, s := range []*raftpb.Snapshot{nameless, empty, {}} {
		p, err := encodeOffer(5, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeOffer(p); !errors.Is(err, peers.ErrFormat) {
			t.Errorf("%v: %v", s, err)
		}
	}
	short := peers.Seal(append(peers.NewEnvelope(4), 1, 2, 3, 4))
	if _, _, err := decodeOffer(short); !errors.Is(err, peers.ErrFormat) {
		t.Errorf("an offer of 4 bytes: %v", err)
	}
}

// FuzzOffer seals what it is given, so that the checksum does not keep the fuzzer out.
func FuzzOffer(f *testing.F) {
	if p, err := encodeOffer(5, sampleSnapshot()); err == nil {
		f.Add(p[len(peers.NewEnvelope(0)):])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := peers.Seal(append(peers.NewEnvelope(len(body)), body...))
		term, s, err := decodeOffer(p)
		if err != nil {
			return
		}
		again, err := encodeOffer(term, s)
		if err != nil {
			t.Fatal(err)
		}
		if term2, s2, err := decodeOffer(again); err != nil || term2 != term || !proto.Equal(s, s2) {
			t.Errorf("offer %d %v became %d %v, %v", term, s, term2, s2, err)
		}
	})
}
