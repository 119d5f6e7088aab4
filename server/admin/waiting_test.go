package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Who waits is told for whom, once, before the wait is over; who asks other endpoints for himself is not.
func TestWhoIsWaitedForIsTold(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	here := silent.Addr().String()
	for _, endpoints := range [][]string{{here}, {here, here}} {
		c, err := NewClient(endpoints, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var told []string
		c.answer, c.waits.first = time.Hour, time.Millisecond
		c = Telling(c, func(who string, _ time.Duration) {
			told = append(told, who)
			cancel() // he has heard enough
		})
		if _, err := c.Fleet(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: nobody was told: %v", endpoints, err)
		}
		if want := "http://" + here; len(told) != 1 || !strings.HasPrefix(told[0], want) {
			t.Errorf("%v: told %q", endpoints, told)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.At(here).Fleet(ctx); err == nil || len(told) != 1 {
			t.Errorf("of another client: %v, told %q", err, told)
		}
	}
}

// Who orders something that takes long is told for whom it is waited, while it is.
func TestAnOrderThatTakesLongIsTold(t *testing.T) {
	told := make(chan struct{}, 8)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			for len(told) > 0 { // of the question whether the node is there
				<-told
			}
			select {
			case <-told:
			case <-r.Context().Done():
				return
			}
		}
		io.WriteString(w, "{}") //nolint:errcheck // a test
	}))
	defer node.Close()
	c, err := NewClient([]string{node.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c = Telling(c, func(string, time.Duration) { told <- struct{}{} })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.PauseFailover(ctx, "why"); err != nil {
		t.Errorf("nobody was told: %v", err)
	}
}
