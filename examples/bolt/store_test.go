package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

func TestTheStoreKeepsTheContract(t *testing.T) {
	storagetest.Run(t, storagetest.Suite{
		New:     func(t testing.TB) storagetest.Engine { return open(t, t.TempDir()) },
		Command: func(r *rand.Rand) []byte { return fmt.Appendf(nil, "word-%d", r.IntN(10)) },
	})
}

type engine struct {
	*Store
	dir string
}

func open(t testing.TB, dir string) engine {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return engine{s, dir}
}

func (e engine) Storage() replication.Storage { return e.Store }

// Crashed copies the files as they are. bbolt syncs before it returns, so that a power cut leaves no less.
func (e engine) Crashed(t testing.TB) storagetest.Engine {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(e.dir)); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func (e engine) Contents() ([]byte, error) {
	var b bytes.Buffer
	err := e.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketCounts).ForEach(func(k, v []byte) error {
			fmt.Fprintf(&b, "%s %d\n", k, decode(v))
			return nil
		})
	})
	return b.Bytes(), err
}

func TestWordsThatAreNoneAreAResult(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "new"))
	defer e.Close()
	b := &replication.Batch{
		Epoch: 1, First: 1, Commands: []replication.Command{{}, {Data: []byte("a")}}, Metadata: &replication.Metadata{},
	}
	results, err := e.Apply(b)
	if err != nil || string(results[0]) != "not a word" || string(results[1]) != "1" {
		t.Errorf("%q, %v", results, err)
	}
}
