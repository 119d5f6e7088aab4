package sides

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// firstKeys is how many keys the first page has, mostKeys any, and pageBytes about how much one is to hold.
	firstKeys, mostKeys, pageBytes = 64, 4096, 4 << 20
	// MostPageBytes is what a page of more than one key may take: a larger one is asked for again with fewer keys.
	MostPageBytes = 4 * pageBytes
	// pageTime bounds a page: an etcd counts all keys for each.
	pageTime = 2 * time.Minute
)

// Pages reads the keys of one side from Key on up to End, in their order. It is used by one goroutine.
type Pages struct {
	Side     Side
	Key, End []byte
	Revision int64 // 0: as they are
	// Limit is how many keys the next page has at most. 0: as many as do well.
	Limit int64
	last  bool
}

// Next returns the next keys, none behind the last one. What was asked for and did not come can be asked for again.
func (p *Pages) Next(ctx context.Context) ([]*mvccpb.KeyValue, error) {
	if p.last {
		return nil, nil
	}
	if p.Limit == 0 {
		p.Limit = firstKeys
	}
	r, err := p.ask(ctx)
	for status.Code(err) == codes.ResourceExhausted && p.Limit > 1 { // it was too large for MostPageBytes
		p.Limit = max(1, p.Limit/4)
		r, err = p.ask(ctx)
	}
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return nil, fmt.Errorf("keys of %s as of revision %d: %w: %w", p.Side.Name, p.Revision, ErrCompacted, err)
	case err != nil:
		return nil, fmt.Errorf("keys of %s: %w", p.Side.Name, err)
	}
	size := int64(1)
	for _, kv := range r.Kvs {
		size += int64(len(kv.Key) + len(kv.Value))
	}
	p.Limit = max(1, min(2*p.Limit, mostKeys, pageBytes*p.Limit/size))
	if len(r.Kvs) > 0 {
		p.Key = append(bytes.Clone(r.Kvs[len(r.Kvs)-1].Key), 0)
	}
	p.last = !r.More || len(r.Kvs) == 0
	return r.Kvs, nil
}

func (p *Pages) ask(ctx context.Context) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	size := grpc.MaxCallRecvMsgSize(MostPageBytes)
	if p.Limit == 1 {
		size = Large
	}
	return pb.NewKVClient(p.Side.Conn).Range(ctx, &pb.RangeRequest{
		Key: p.Key, RangeEnd: p.End, Limit: p.Limit, Revision: p.Revision}, size)
}

// RangeOf returns the first key with a prefix, and the end of them.
func RangeOf(prefix string) (key, end []byte) {
	end = []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return []byte(prefix), end[:i+1]
		}
	}
	if prefix == "" {
		return All, All
	}
	return []byte(prefix), All
}
