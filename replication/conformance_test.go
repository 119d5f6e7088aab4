package replication_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// The engine of the example passes the suite; it keeps nothing on disk.
func TestTheExampleKeepsTheContract(t *testing.T) {
	storagetest.Run(t, storagetest.Suite{
		New:     func(testing.TB) storagetest.Engine { return wordsEngine{&words{Count: map[string]int{}}} },
		Command: func(r *rand.Rand) []byte { return fmt.Appendf(nil, "word-%d", r.IntN(10)) },
	})
}

type wordsEngine struct{ words *words }

func (e wordsEngine) Storage() replication.Storage { return e.words }
func (e wordsEngine) Contents() ([]byte, error)    { return json.Marshal(e.words.Count) }
func (e wordsEngine) Close() error                 { return nil }

func (e wordsEngine) Crashed(testing.TB) storagetest.Engine {
	return wordsEngine{&words{Count: map[string]int{}}}
}

func TestTheLedgerKeepsTheContract(t *testing.T) {
	storagetest.Run(t, storagetest.Suite{
		New:     func(testing.TB) storagetest.Engine { return ledgerEngine{&ledger{}} },
		Command: func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%d", r.IntN(1000)) },
	})
}

type ledgerEngine struct{ *ledger }

func (e ledgerEngine) Storage() replication.Storage { return e.ledger }
func (e ledgerEngine) Close() error                 { return nil }

func (e ledgerEngine) Contents() ([]byte, error) {
	return fmt.Appendf([]byte(strings.Join(e.commands(), " ")), "%+v", e.held.Reigns), nil
}

func (e ledgerEngine) Crashed(testing.TB) storagetest.Engine { return ledgerEngine{&ledger{}} }
