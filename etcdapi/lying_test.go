package etcdapi

import (
	"context"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// leaving are clients who leave what they are sent unread.
type leaving struct {
	*testing.T
	*answers
	ended []string // connections of which a request was
}

type leavingKey struct{}

func newLeaving(t *testing.T, limit int64) *leaving {
	l := &leaving{T: t, answers: newAnswers(limit)}
	l.ends = func(ctx context.Context) func() {
		return func() { l.ended = append(l.ended, ctx.Value(leavingKey{}).(string)) }
	}
	return l
}

// send sends so many bytes.
func (l *leaving) send(connection string, bytes int64) *sending {
	l.Helper()
	l.count(connection, bytes)
	ctx := context.WithValue(l.Context(), leavingKey{}, connection)
	s, err := l.newSending(ctx, &pb.WatchResponse{CancelReason: "unread"}, connection, bytes)
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// What lies unread for too long ends with its request where others wait, of who has left most first, until enough is
// free. Nothing does where nobody waits, and who reads as fast as he has to goes on.
func TestWhatLiesUnreadForTooLongEnds(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const limit, part = 8 << 20, 32 << 10
		l := newLeaving(t, limit)
		idle, little := l.send("10.0.0.1:1", 5<<20), l.send("10.0.0.2:1", part)
		var read []*sending // by who is slow
		for range 100 {
			read = append(read, l.send("10.0.0.3:1", part))
		}
		reads := func(seconds int) { // and is sent as much
			for range seconds {
				time.Sleep(time.Second)
				read[0].counted.end()
				read = append(read[1:], l.send("10.0.0.3:1", part))
			}
			virtual.Wait()
		}
		reads(600)
		if len(l.ended) > 0 {
			t.Errorf("nobody waits, and %v are ended", l.ended)
		}
		waited := make(chan error, 1)
		go func() { waited <- l.await(t.Context(), sender{connection: "10.0.0.4:1"}, 1<<20) }()
		reads(60)
		if !slices.Equal(l.ended, []string{"10.0.0.1:1"}) {
			t.Fatalf("ended are %v", l.ended)
		}
		idle.counted.end() // as gRPC hears of it
		if err := <-waited; err != nil {
			t.Error(err)
		}
		l.free("10.0.0.4:1", 1<<20)
		for _, s := range append(read, little) {
			s.counted.end()
		}
		if l.bytes != 0 || l.going != 0 || len(l.unread) != 0 {
			t.Errorf("%d bytes are counted in the end, %d of them go", l.bytes, l.going)
		}
	})
}

// Who reads small messages as fast as he has to goes on, whatever lies unread meanwhile.
func TestWhoReadsSmallMessagesInTimeGoesOn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const part = unreadPace / 2
		l := newLeaving(t, 1<<20)
		var unread []*sending
		for range 100 { // more than half of all, each for longer than a message of its size may lie
			unread = append(unread, l.send("10.0.0.1:1", part))
		}
		waited := make(chan error, 1)
		go func() { waited <- l.await(t.Context(), sender{connection: "10.0.0.2:1"}, 1<<20) }()
		for range 4 * lyingTime / time.Second {
			for range unreadPace / part {
				time.Sleep(time.Second * part / unreadPace)
				unread[0].counted.end()
				unread = append(unread[1:], l.send("10.0.0.1:1", part))
			}
		}
		if virtual.Wait(); len(l.ended) > 0 {
			t.Errorf("%d of its requests are ended", len(l.ended))
		}
		for _, s := range unread {
			s.counted.end()
		}
		if err := <-waited; err != nil {
			t.Error(err)
		}
		l.free("10.0.0.2:1", 1<<20)
	})
}

// Who is sent little and reads nothing is not in time for what he was sent before, and a refusal has it looked for.
func TestWhoReadsInDripsEnds(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := newLeaving(t, 2<<20)
		lies := l.send("10.0.0.1:1", 3<<19)
		for range 10 {
			drip := l.send("10.0.0.1:1", smallBytes)
			time.Sleep(lyingTime / 2)
			drip.counted.end()
		}
		of := sender{connection: "10.0.0.2:1"}
		if err := l.reserve(of, 2<<20); err == nil {
			t.Error("there is room for more than all may have")
		}
		if virtual.Wait(); len(l.ended) != 1 {
			t.Errorf("ended are %v", l.ended)
		}
		lies.counted.end()
	})
}
