package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// contents are what values are made of.
type contents func(random *rand.Rand, size int) string

// noise does not compress.
func noise(random *rand.Rand, size int) string {
	p := make([]byte, size)
	for i := 0; i < size; i += 8 {
		bits := random.Uint64()
		for k := i; k < min(i+8, size); k++ {
			p[k] = byte(bits)
			bits >>= 8
		}
	}
	return string(p)
}

// fields are of what objects of a control plane are made.
var fields = strings.Fields(`"metadata":{ "name": "namespace":"default", "labels":{ "app": "spec":{ "containers":[{
	"image":"registry/app: "ports":[{ "containerPort": "protocol":"TCP"}], "resources":{ "limits":{ "cpu": "memory":
	"status":{ "phase":"Running", "conditions":[{ "type":"Ready", "lastTransitionTime": "hostIP":"10.0. }]}`)

// text compresses as such objects do: words that come again, with numbers between.
func text(random *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(fields[random.IntN(len(fields))])
		if random.IntN(3) == 0 {
			fmt.Fprintf(&b, "%d,", random.IntN(100_000))
		}
	}
	return b.String()[:size]
}

// writers put at once when many keys are put.
const writers = 32

// fill puts n keys below a prefix.
func fill(ctx context.Context, c *clientv3.Client, prefix string, n, size int, of contents) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for k := next.Add(1); k <= int64(n) && ctx.Err() == nil; k = next.Add(1) {
				if _, err := c.Put(ctx, fmt.Sprintf("%s%08d", prefix, k), of(random, size)); err != nil {
					cancel(fmt.Errorf("put: %w", err))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
