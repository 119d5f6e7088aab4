package bench

import (
	"context"
	"errors"
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

func (o *Options) operation(op string, t *target) work {
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
	case Page, PageOld, PagePrefix, Count:
		return o.page(op, t)
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

// prefixLacks is how many digits of a key a prefix is without: a hundred keys have it.
const prefixLacks = 2

// page reads what a client that lists keys does.
func (o *Options) page(op string, t *target) work {
	all := clientv3.WithRange(clientv3.GetPrefixRangeEnd(keyPrefix))
	options := []clientv3.OpOption{all, clientv3.WithLimit(int64(o.RangeLimit))}
	from := o.key
	switch op {
	case PageOld:
		options = append(options, clientv3.WithRev(t.was))
	case PagePrefix:
		from = func(n int) string { k := o.key(n); return k[:len(k)-prefixLacks] }
		options = []clientv3.OpOption{clientv3.WithPrefix()}
	case Count:
		from = func(int) string { return keyPrefix }
		options = []clientv3.OpOption{all, clientv3.WithCountOnly()}
	}
	return func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
		answer, err := c.Get(ctx, from(random.IntN(o.KeySpace)), options...)
		if err == nil && answer.Count == 0 {
			return errors.New("no keys")
		}
		return err
	}
}

// fill puts every key twice, and notes a revision between.
func fill(ctx context.Context, o *Options, t *target) error {
	if err := fillOnce(ctx, o, t); err != nil {
		return err
	}
	answer, err := t.clients[0].Get(ctx, o.key(0))
	if err != nil {
		return err
	}
	t.was = answer.Header.Revision
	return fillOnce(ctx, o, t)
}

// fillOnce puts every key.
func fillOnce(ctx context.Context, o *Options, t *target) error {
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
