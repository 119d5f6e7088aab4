package etcdapi

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

func TestAskEncoding(t *testing.T) {
	ids := []int64{1, -1, 1 << 62}
	question := encodeRenew(ids)
	if question[0] != askVersion || question[1] != askRenew {
		t.Fatalf("head % x", question[:2])
	}
	back, err := decodeInt64s(question[2:])
	if err != nil || !slices.Equal(back, ids) {
		t.Fatalf("%v, %v", back, err)
	}
	for _, bad := range [][]byte{{1}, make([]byte, 15), make([]byte, 8*maxAskRenewals+8)} {
		if _, err := decodeInt64s(bad); !errors.Is(err, ErrAsk) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// Whoever wants to be root comes to the primary with all that he stands on; in the server's own name nobody asks.
func TestWhoIsRootTravels(t *testing.T) {
	for _, id := range []auth.Identity{
		{}, {User: "ann", Revision: 3}, {User: "root", Revision: 7, Present: true},
		{User: "root", Revision: 7, Basis: command.Basis{1}}, {User: "root", Basis: command.Basis{1}, Present: true},
	} {
		for _, fresh := range []bool{true, false} {
			back, anew, err := decodeRoot(encodeRoot(id, fresh)[2:])
			if err != nil || back != id || anew != fresh {
				t.Errorf("%+v, fresh %t: %+v, %t, %v", id, fresh, back, anew, err)
			}
		}
	}
	for _, bad := range [][]byte{{}, {0}, append([]byte{2}, idle...), append([]byte{0}, command.EncodeOwn(idle)...)} {
		if _, _, err := decodeRoot(bad); !errors.Is(err, ErrAsk) {
			t.Errorf("% x: %v", bad, err)
		}
	}
}

// later is a leader of a later version.
type later struct{ Replicator }

func (later) Ask(context.Context, []byte) ([]byte, error) { return []byte{0xff}, nil }

// A no that is not understood is one.
func TestANoOfALaterVersion(t *testing.T) {
	g := guard{replicator: later{}, statusOf: func(_ context.Context, err error) error { return err }}
	refused, unheard := g.primarySays(t.Context(), auth.Identity{User: "root"}, false)
	if refused == nil || unheard != nil {
		t.Errorf("refused %v, unheard %v", refused, unheard)
	}
}

// A question comes from another node, perhaps of another version: whatever it is, the answer is an answer or an error.
func FuzzAnswerAsk(f *testing.F) {
	f.Add(encodeRenew([]int64{1, 2}))
	f.Add(encodeTimeToLive(7))
	f.Add(encodeRoot(auth.Identity{User: "root", Revision: 2, Present: true}, true))
	f.Add([]byte{askVersion, 9})
	f.Add([]byte{2, askRenew})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, question []byte) {
		if len(question) < 2 || question[0] != askVersion {
			if _, err := new(API).AnswerAsk(t.Context(), question); !errors.Is(err, ErrAsk) {
				t.Fatalf("% x: %v", question, err)
			}
			return
		}
		if question[1] == askRoot {
			id, fresh, err := decodeRoot(question[2:])
			again, anew, wrong := decodeRoot(encodeRoot(id, fresh)[2:])
			if err == nil && (wrong != nil || again != id || anew != fresh) {
				t.Fatalf("% x: %+v, %v", question, again, wrong)
			}
		}
		numbers, err := decodeInt64s(question[2:])
		if err == nil && len(numbers)*8 != len(question)-2 {
			t.Fatalf("% x: %d numbers", question, len(numbers))
		}
	})
}
