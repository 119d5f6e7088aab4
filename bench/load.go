package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const keyPrefix = "bench/"

// key returns the name of key n, padded to KeyBytes.
func (o *Options) key(n int) string {
	digits := strconv.Itoa(n)
	p := make([]byte, 0, max(o.KeyBytes, len(keyPrefix)+len(digits)))
	p = append(p, keyPrefix...)
	for len(p)+len(digits) < o.KeyBytes {
		p = append(p, '0')
	}
	return string(append(p, digits...))
}

// value returns ValueBytes of text that does not compress to nothing.
func (o *Options) value(random *rand.Rand) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	p := make([]byte, o.ValueBytes)
	for i := 0; i < len(p); {
		bits := random.Uint64()
		for n := 0; n < 10 && i < len(p); n++ {
			p[i] = alphabet[bits&63]
			bits >>= 6
			i++
		}
	}
	return string(p)
}

func (o *Options) operation(op string) work {
	switch op {
	case Put:
		return func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
			_, err := c.Put(ctx, o.key(random.IntN(o.KeySpace)), o.value(random))
			return err
		}
	case Get, GetSerializable:
		var options []clientv3.OpOption
		if op == GetSerializable {
			options = append(options, clientv3.WithSerializable())
		}
		return func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
			answer, err := c.Get(ctx, o.key(random.IntN(o.KeySpace)), options...)
			if err == nil && len(answer.Kvs) != 1 {
				return fmt.Errorf("%d values for one key", len(answer.Kvs))
			}
			return err
		}
	case Range:
		end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(keyPrefix))
		limit := clientv3.WithLimit(int64(o.RangeLimit))
		return func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
			_, err := c.Get(ctx, o.key(random.IntN(o.KeySpace)), end, limit)
			return err
		}
	default:
		return func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
			key := o.key(random.IntN(o.KeySpace))
			_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), ">", 0)).
				Then(clientv3.OpPut(key, o.value(random))).Else(clientv3.OpGet(key)).Commit()
			return err
		}
	}
}

// fill puts every key once.
func fill(ctx context.Context, o *Options, t *target) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range max(o.Clients, 32) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(o.Seed, uint64(i)))
			for n := int(next.Add(1)) - 1; n < o.KeySpace && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				if _, err := t.clients[i%len(t.clients)].Put(ctx, o.key(n), o.value(random)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	t.filled = ctx.Err() == nil
	return context.Cause(ctx)
}
