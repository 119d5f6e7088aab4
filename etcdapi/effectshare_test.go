package etcdapi

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Whoever asks for much again and again waits for himself, and those who come from elsewhere do not wait for him.
func TestGiantRequestsOfOneAddressHoldUpNobodyElse(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const most, giants = 16 << 20, 4
		a := New(Options{Limits: Limits{EffectBytes: most, RequestTimeout: time.Hour}})
		admit := func(host byte, bytes int64) (done func(), err error) {
			at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, host), Port: 1}
			ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: at})
			return a.admit(ctx, false, func(context.Context, int64) (int64, error) { return bytes, nil })
		}
		admitted, began := make(chan func(), giants), time.Now()
		for range giants {
			go func() {
				done, err := admit(1, most*9/10)
				if err != nil {
					t.Error(err)
					done = func() {}
				}
				admitted <- done
			}()
		}
		virtual.Wait()
		if len(admitted) != 1 {
			t.Errorf("%d giants at a time", len(admitted))
		}
		for range 3 {
			done, err := admit(2, most/16)
			if err != nil || time.Since(began) > 0 {
				t.Errorf("another address waits %v: %v", time.Since(began), err)
				break
			}
			done()
		}
		for range giants { // one after the other
			(<-admitted)()
		}
		if done, err := admit(1, most); err != nil {
			t.Error(err)
		} else {
			done()
		}
	})
}

// A write is not refused for what its address has left unread over other connections, as long as there is room at all.
func TestAWriteDoesNotWaitForTheShareOfItsAddress(t *testing.T) {
	a := New(Options{Limits: Limits{EffectBytes: 16 << 20, AnswerBytes: 16 << 20, RequestTimeout: time.Hour}})
	a.answers.count("10.0.0.1:1", 15<<20)
	a.answers.count("10.0.0.2:1", 6<<20)
	admit := func(port int) error {
		at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port}
		ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: at})
		done, err := a.admit(ctx, false, func(context.Context, int64) (int64, error) { return 2 * smallEffect, nil })
		if err == nil {
			done()
		}
		return err
	}
	if err := admit(2); err != nil {
		t.Error(err)
	}
	if err := admit(1); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over the connection that has left it: %v", err)
	}
}
