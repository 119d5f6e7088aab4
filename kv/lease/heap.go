package lease

import (
	"context"
	"time"
)

// leaseItem is a lease with its deadline.
type leaseItem struct {
	id, ttl  int64
	deadline time.Time // of the next attempt, once one has failed
	place    int       // in the heap; -1 while it is expiring
	failed   bool
	ending   bool               // its end has begun: it is due, whoever keeps it
	cancel   context.CancelFunc // ends the attempt to revoke it; nil before the first
}

// leaseHeap orders leases by deadline.
type leaseHeap []*leaseItem

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].deadline.Before(h[j].deadline) }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push and Pop are for package heap.
func (h *leaseHeap) Push(x any) {
	it := x.(*leaseItem)
	it.place = len(*h)
	*h = append(*h, it)
}

func (h *leaseHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h, it.place = old[:len(old)-1], -1
	return it
}
