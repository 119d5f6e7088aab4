package token_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Where the disk of the keys hangs, one request waits for it for a moment, and all others go on with those of before.
func TestKeysOnADiskThatHangs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		var log bytes.Buffer
		goOn := make(chan struct{})
		spec, err := token.Parse("jwt,sign-method=HS256,priv-key=k,ttl=10m")
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := token.NewJWT(spec, func(string) ([]byte, error) {
			if hangs.Load() {
				<-goOn
			}
			return []byte("a secret of enough characters for this"), nil
		}, clock.Real, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		hangs.Store(true)
		time.Sleep(time.Minute)
		began := time.Now()
		done := make(chan error, 10)
		for range cap(done) {
			go func() {
				text, err := tokens.Assign(ann, "ann", 7)
				if err == nil {
					_, err = tokens.Read(users{9, nil}, text, time.Time{})
				}
				done <- err
			}()
		}
		time.Sleep(5 * time.Second)
		if len(done) != cap(done) {
			t.Errorf("%d of %d wait for the disk after %v", cap(done)-len(done), cap(done), time.Since(began))
		}
		if virtual.Wait(); strings.Count(log.String(), "their disk may hang") != 1 {
			t.Errorf("the log says %q", log.String())
		}
		close(goOn)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
