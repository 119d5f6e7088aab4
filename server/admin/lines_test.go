package admin

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// slowNode answers for itself at once, and everything else after so long, with so many lines, so far apart, and then
// nothing more; or they are all, if whole.
type slowNode struct {
	begins, apart time.Duration
	lines         int
	whole         bool
}

func (n *slowNode) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}
	if r.URL.Path == "/mimir/v1/node" {
		return answer, nil
	}
	if err := wait(r.Context(), n.begins); err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(&slowAnswer{r.Context(), *n})
	return answer, nil
}

type slowAnswer struct {
	ctx context.Context
	slowNode
}

func (a *slowAnswer) Read(p []byte) (int, error) {
	if a.lines == 0 && a.whole {
		return 0, io.EOF
	}
	if a.lines == 0 {
		a.apart = 24 * time.Hour
	}
	if err := wait(a.ctx, a.apart); err != nil {
		return 0, err
	}
	a.lines--
	return copy(p, "{}\n"), nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A tail may take as long as it takes, and who reads it as well; but a node that says nothing more is given up, and it
// is said what did not come.
func TestANodeThatFallsSilentInTheMiddleOfATail(t *testing.T) {
	for name, test := range map[string]struct {
		node   slowNode
		visits time.Duration // that the reader takes for a line
		want   string
	}{
		"a long one":    {slowNode{begins: 4 * time.Minute, apart: 50 * time.Second, lines: 100, whole: true}, 0, ""},
		"a slow reader": {slowNode{apart: time.Second, lines: 10, whole: true}, time.Hour, ""},
		"stands still":  {slowNode{lines: 3}, 0, "tail cut short: nothing more came for 1m0s"},
		"never begins": {slowNode{begins: 24 * time.Hour}, 0,
			"did not answer for 5m0s: it answers for itself, and does not begin to send the tail"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				c, err := NewClient([]string{"a:1"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 23*time.Hour)
				defer cancel()
				read := 0
				err = c.Through(&test.node).ReadTail(ctx, "t", func(*Write) error {
					read++
					return wait(ctx, test.visits)
				})
				if read != test.node.lines || (err == nil) != (test.want == "") ||
					err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("%d lines, and %v; want %q", read, err, test.want)
				}
			})
		})
	}
}

// An order to discard a tail ends also where the node does not say how.
func TestADiscardThatDoesNotEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, err := NewClient([]string{"a:1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 23*time.Hour)
		defer cancel()
		began := time.Now()
		err = c.Through(&slowNode{begins: 24 * time.Hour}).DiscardTail(ctx, "t")
		took, want := time.Since(began), "a:1 did not say how it ended"
		if err == nil || !strings.Contains(err.Error(), want) || took > 2*tailsTimeout {
			t.Errorf("after %v: %v; want %s", took, err, want)
		}
	})
}
