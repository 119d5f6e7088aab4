package etcdapi

import (
	"errors"
	"slices"
	"testing"
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

// A question comes from another node, perhaps of another version: whatever it is, the answer is an answer or an error.
func FuzzAnswerAsk(f *testing.F) {
	f.Add(encodeRenew([]int64{1, 2}))
	f.Add(encodeTimeToLive(7))
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
		numbers, err := decodeInt64s(question[2:])
		if err == nil && len(numbers)*8 != len(question)-2 {
			t.Fatalf("% x: %d numbers", question, len(numbers))
		}
	})
}
