package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// writes makes a side with a history; at a revision, value is another one.
func writes(t *testing.T, name string, at int64, value string) sides.Side {
	s := sides.Side{Name: name, Conn: etcdapitest.Start(t, etcdapi.Limits{}).Dial(t)}
	kv := pb.NewKVClient(s.Conn)
	for i := int64(2); i <= 60; i++ {
		r := &pb.PutRequest{Key: fmt.Append(nil, "k", i%5), Value: fmt.Append(nil, i)}
		if i == at {
			r.Value = []byte(value)
		}
		var err error
		if i%7 == 0 {
			_, err = kv.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: sides.All, RangeEnd: sides.All})
		} else {
			_, err = kv.Put(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func compact(t *testing.T, s sides.Side, at int64) {
	t.Helper()
	if _, err := pb.NewKVClient(s.Conn).Compact(t.Context(), &pb.CompactionRequest{Revision: at}); err != nil {
		t.Fatal(err)
	}
}

// Equal histories have equal hashes of each range, wherever a side is compacted; where a side had something else,
// which is gone since, what is read now is equal, and the history says where it is not.
func TestHistoriesAreCompared(t *testing.T) {
	one, same, other := writes(t, "the etcd", 0, ""), writes(t, "the fleet", 0, ""), writes(t, "the fleet", 23, "x")
	compare := func(fleet sides.Side, o VerifyOptions) (Compared, error) {
		return Verify(t.Context(), one, fleet, o)
	}
	c, err := compare(same, VerifyOptions{Every: 10})
	if err != nil || len(c.Ranges) != 6 || c.Base.Revision != 1 || c.Keys != 4 || c.Hash == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	for i, r := range c.Ranges {
		if want := int64(i+1) * 10; r.To != want || r.Behind != max(1, want-10) || len(r.Hash) != 64 || r.Changes < 9 {
			t.Errorf("range %d: %+v", i, r)
		}
	}
	if _, err := compare(other, VerifyOptions{}); err != nil {
		t.Errorf("what can be read is equal: %v", err)
	}
	wrong, err := compare(other, VerifyOptions{Every: 10})
	if !errors.Is(err, ErrParted) || !strings.Contains(err.Error(), "revisions 21 to 30: ") ||
		!strings.Contains(err.Error(), `revision 23 is PUT of key "k3"`) {
		t.Errorf("the first change that is another: %v", err)
	}
	if len(wrong.Ranges) != 3 || !slices.Equal(wrong.Ranges[:2], c.Ranges[:2]) {
		t.Errorf("%+v", wrong.Ranges)
	}
	if _, err := compare(other, VerifyOptions{Every: 10, Verified: 28}); err != nil {
		t.Errorf("behind it they are equal: %v", err)
	}
	compact(t, same, 33)
	after, err := compare(same, VerifyOptions{Every: 10})
	if err != nil || after.Base.Revision != 33 || after.Base.Keys == 0 || after.Base.Hash == "" ||
		len(after.Ranges) != 3 || after.Ranges[0].Behind != 33 || after.Ranges[0].To != 40 ||
		!slices.Equal(after.Ranges[1:], c.Ranges[4:]) {
		t.Errorf("from where one side is compacted: %+v, %v", after, err)
	}
	compact(t, one, 60)
	if _, err := compare(same, VerifyOptions{Every: 10}); !errors.Is(err, ErrCompacted) {
		t.Errorf("nothing is left of the history: %v", err)
	}
}
