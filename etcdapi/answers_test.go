package etcdapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// No more than mostMaking answers that are not small are made at a time, each with up to madeBytes that are not
// counted: the next one waits for its turn, and for nothing else. Small ones do not wait.
func TestAnswersWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers(8 * madeBytes)
		var made []*answer
		for range mostMaking {
			one := a.begin(t.Context())
			if err := one.take(madeBytes - 1); err != nil {
				t.Fatal(err)
			}
			made = append(made, one)
		}
		if a.bytes != 0 {
			t.Errorf("%d bytes are counted", a.bytes)
		}
		small := a.begin(t.Context())
		if err := small.take(countedBytes - 1); err != nil {
			t.Errorf("a small one: %v", err)
		}
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- a.begin(ctx).take(countedBytes) }()
		next := a.begin(t.Context())
		turn := make(chan error, 1)
		go func() { turn <- next.take(countedBytes) }()
		synctest.Wait()
		if len(turn)+len(left) != 0 {
			t.Fatal("more are made than may be")
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("one whose client has left: %v", err)
		}
		made[0].made() // and it is being sent
		if err := <-turn; err != nil {
			t.Fatal(err)
		}
		next.close()
		if err := made[0].take(8 * madeBytes); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("one that takes more than all may: %v", err)
		}
		for _, one := range append(made, small) {
			one.close()
		}
		if a.bytes != 0 || !a.making.TryAcquire(mostMaking) {
			t.Errorf("%d bytes are counted in the end, or a turn was not given back", a.bytes)
		}
	})
}
