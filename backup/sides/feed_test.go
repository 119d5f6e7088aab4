package sides

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// No more is read ahead than is told, however slow whoever takes it is; what he is done with makes room for more.
func TestWhatIsReadAheadIsBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const all, size = 64, 1 << 20
		w := &Watch{}
		for i := range all {
			w.ready = append(w.ready, &Revision{Number: int64(i + 1), Bytes: size})
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := NewFeed(ctx, w)
		virtual.Wait()
		for taken := range 3 {
			if read := all - len(w.ready); read != taken+aheadBytes/size+1 { // one waits for room
				t.Errorf("%d were read, %d are taken", read, taken)
			}
			r := <-f.Revisions()
			f.Done(r)
			virtual.Wait()
		}
		cancel()
		f.Drain()
	})
}

// A watch that is ended for good says so by its code, and any other by what the etcd says.
func TestWhyAWatchIsEnded(t *testing.T) {
	for reason, want := range map[string]codes.Code{
		"rpc error: code = PermissionDenied desc = etcdserver: permission denied": codes.PermissionDenied,
		"etcdserver: permission denied":                                           codes.PermissionDenied,
		"etcdserver: no leader":                                                   codes.Unknown, "": codes.Unknown,
	} {
		if got := status.Code(canceled(reason)); got != want {
			t.Errorf("%q: %v, want %v", reason, got, want)
		}
	}
	var compacted *CompactedError
	if err := error(&CompactedError{Revision: 7}); !errors.Is(err, ErrCompacted) || !errors.As(err, &compacted) {
		t.Error(err)
	}
}
