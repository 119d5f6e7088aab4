package recall

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// TestWhatManyKnowIsSaidOnce: an operator reads one line, however many found the disk out.
func TestWhatManyKnowIsSaidOnce(t *testing.T) {
	c := NewCheck(Config{Node: "us-2", Disk: Disk{Starts: 2}, Last: 6})
	err := first([]error{
		c.judge(Answer{Node: "us-1", Seen: Seen{Starts: 1, Index: 6}}),
		c.judge(Answer{Node: "us-3", Match: 8}),
		c.judge(Answer{Node: "eu-1", Seen: Seen{Starts: 1, Index: 111}}),
	})
	if err == nil || strings.Count(err.Error(), contract.ErrDiskLost.Error()) != 1 ||
		strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "entry 8 ") {
		t.Errorf("says %v", err)
	}
	if err := first([]error{nil, nil}); err != nil {
		t.Error(err)
	}
}
