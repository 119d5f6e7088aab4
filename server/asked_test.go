package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A node is asked by whoever wants, from the moment its ports listen to the one they close, and while its settings are
// read anew: by the race detector nothing is made under the eyes of those who ask, and what is counted only grows.
func TestANodeIsAskedAtAllTimes(t *testing.T) {
	c := testConfig(t, "solo")
	c.ListenHTTP = freeAddr(t)
	over, leave := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer leave()
	for _, page := range []string{
		"/metrics", "/health", "/readyz?verbose", "/livez", "/version", "/debug/vars",
		"/mimir/v1/node", "/mimir/v1/fleet",
	} {
		asking.Go(func() { askAll(over, "http://"+c.ListenHTTP+page) })
	}
	asking.Go(func() { askAll(over, "http://"+c.ListenClient+"/metrics") })
	node := runRereading(t, c)
	client := etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	counted := float64(1)
	for i := range 4 {
		next := *c
		next.Limits.RequestBytes += 1 << (10 + i)
		next.Limits.TxnOps += i
		next.SlowRequest = time.Duration(i+1) * time.Second
		node.read(next)
		eventually(t, "a write under the settings of now", func(ctx context.Context) bool {
			_, err := client.Put(ctx, "a", fmt.Sprint(i))
			return err == nil
		})
		now := putsCounted(t, c)
		if now < counted+1 {
			t.Fatalf("%v puts are counted after %v and one more", now, counted)
		}
		counted = now
	}
}

// askAll asks for a page again and again.
func askAll(ctx context.Context, url string) {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		if answer, err := client.Get(url); err == nil {
			io.Copy(io.Discard, answer.Body) //nolint:errcheck // so that the connection is used again
			answer.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond): // others want the processors too
		}
	}
}

// putsCounted returns what the metrics say. They are for so many at a time, and others ask as well.
func putsCounted(t *testing.T, c *Config) float64 {
	t.Helper()
	const name = `grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} `
	var n float64
	eventually(t, "the metrics are told", func(context.Context) bool {
		page, err := getHTTP("http://"+c.ListenHTTP+"/metrics", nil)
		_, rest, _ := strings.Cut(page, name)
		line, _, _ := strings.Cut(rest, "\n")
		if err == nil {
			n, err = strconv.ParseFloat(line, 64)
		}
		return err == nil
	})
	return n
}
