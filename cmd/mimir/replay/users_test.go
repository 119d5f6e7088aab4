package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TestWhoAskedIsPartOfATail: what was refused because of who asked for it did nothing; of what may have been refused it
// is not known what it did, and what builds on it is not done; users and roles are for somebody to decide.
func TestWhoAskedIsPartOfATail(t *testing.T) {
	refused := func(c *Command) { c.Refused = "permission denied" }
	doubtful := func(c *Command) { c.Doubt = "users were changed" }
	sure := func(*Command) {}
	ops := []struct {
		request proto.Message
		mark    func(*Command)
		want    string
	}{
		{put("a", "1"), refused, "nothing"},
		{cas("a", 0, put("a", "2")), sure, "applied"}, // which the one before did not make
		{put("k", "2"), doubtful, "conflict"},
		{cas("k", 2, put("k", "3")), sure, "conflict"},
		{&pb.LeaseRevokeRequest{ID: 9}, refused, "nothing"},
		{leasedPut("m", "1", 9), sure, "applied"},
		{&pb.LeaseRevokeRequest{ID: 9}, doubtful, "conflict"},
		{put("l", "2"), sure, "conflict"},
		{leasedPut("n", "1", 9), sure, "conflict"},
		{&pb.LeaseGrantRequest{ID: 11, TTL: 60}, doubtful, "conflict"},
		{leasedPut("o", "1", 11), sure, "conflict"},
		{&pb.AuthUserAddRequest{Name: "u"}, sure, "conflict"},
		{&pb.AuthEnableRequest{}, refused, "nothing"},
		{&pb.CompactionRequest{Revision: 3}, refused, "nothing"},
		{put("p", "1"), sure, "applied"},
	}
	today := newHistory(t)
	for _, q := range shared {
		today.apply(q)
	}
	fork := today.begin(2, 2)
	tail := func(_ context.Context, visit func(*Command) error) error {
		for i, o := range ops {
			c := &Command{Position: uint64(i + 1), Op: "op", Request: o.request, User: "alice"}
			o.mark(c)
			if err := visit(c); err != nil {
				return err
			}
		}
		return nil
	}
	var want []string
	for _, o := range ops {
		want = append(want, o.want)
	}
	for again := range 2 {
		_, entries, err := replayed(t, today, Options{Fork: fork}, tail)
		got := strings.ReplaceAll(text(entries), "there", "applied")
		if err != nil || got != strings.Join(want, " ") {
			t.Errorf("run %d: %v\n%s, want\n%s", again, err, got, strings.Join(want, " "))
			for _, e := range entries {
				t.Logf("%s: %s, %+v", e.Verdict, e.Reason, e.Differences)
			}
		}
	}
	if got := fmt.Sprint(today.contents()); strings.Contains(got, "k:\"2\"") || !strings.Contains(got, `a:"2"`) {
		t.Errorf("contents %s", got)
	}
}
