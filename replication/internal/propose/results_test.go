package propose

import (
	"bytes"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// noResult is a command whose result is nil.
const noResult = "no result"

func (m *member) resultOf(command []byte) []byte {
	if string(command) == noResult {
		return nil
	}
	return append(bytes.Clone(command), make([]byte, m.answer)...)
}

// What a caller is given does not depend on which node he called: of a result only the content counts.
func TestAnEmptyResultIsTheSameAtEveryNode(t *testing.T) {
	fleetOf(t, plain, func(t *testing.T, a, b *member) {
		for name, m := range map[string]*member{"at the leader": a, "forwarded": b} {
			both := []*contract.Command{{Data: []byte(noResult)}, {Data: []byte("x")}}
			r, err := m.Propose(t.Context(), both, Options{})
			if err != nil || len(r.Results) != 2 || r.Results[0] == nil || len(r.Results[0]) != 0 ||
				string(r.Results[1]) != "x" {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	})
}
