package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

const putMethod, lockMethod = "/etcdserverpb.KV/Put", "/v3lockpb.Lock/Lock"

// Requests that were taken wait where all together are as large as may be, those of others not for them, and not for
// ever; small ones do not wait.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		a, large := newAsks(), int64(1<<20)
		var leaves []func()
		enters := func(from, method string, bytes int64) error {
			leave, err := a.enter(t.Context(), from, method, bytes)
			if err == nil {
				leaves = append(leaves, leave)
			}
			return err
		}
		for int64(len(leaves)+1)*large <= a.all.Alone() {
			if err := enters("10.0.0.1:1", putMethod, large); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := enters("10.0.0.1:2", putMethod, large); status.Code(err) != codes.ResourceExhausted ||
			time.Since(began) != enterTime {
			t.Errorf("one more waits %v: %v", time.Since(began), err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := a.enter(gone, "10.0.0.1:2", putMethod, large); status.Code(err) != codes.Canceled {
			t.Errorf("one whose client has left: %v", err)
		}
		for what, err := range map[string]error{
			"from elsewhere": enters("10.0.0.2:1", putMethod, large),
			"a small one":    enters("10.0.0.1:1", putMethod, largeAsk-1),
			"a lock":         enters("10.0.0.1:1", lockMethod, large),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		in := make(chan error, 1)
		go func() { in <- enters("10.0.0.1:2", putMethod, large) }()
		virtual.Wait()
		for _, leave := range leaves[:8] { // what is of others counts twice and more
			leave()
		}
		if err := <-in; err != nil {
			t.Errorf("when some have ended: %v", err)
		}
	})
}

// Those that may wait for long are refused at once, and take nothing from the others.
func TestRequestsThatMayWaitForLongAreBounded(t *testing.T) {
	a, n := newAsks(), int64(0)
	for ; ; n++ {
		if _, err := a.enter(t.Context(), fmt.Sprintf("10.0.%d.1:1", n%4), lockMethod, 1<<20); err != nil {
			if status.Code(err) != codes.ResourceExhausted || n<<20 > mostPatient || n<<20 < mostPatient/2 {
				t.Errorf("%d MiB, then %v", n, err)
			}
			break
		}
	}
	if leave, err := a.enter(t.Context(), "10.0.0.1:1", putMethod, 1<<20); err != nil {
		t.Error(err)
	} else {
		leave()
	}
}

// A message that is compressed counts as what it may be when gRPC has unpacked it, until it is taken.
func TestAMessageThatIsCompressedCountsAsWhatItMayBe(t *testing.T) {
	for packed, want := range map[int]int64{1000: 1000 * mostUnpacked, 100 << 10: largestMessage} {
		s := &sink{}
		at := &clients{}
		c := newLeavable(s, at)
		c.requests.begin = func() func() { return func() {} }
		hear := func(text []byte) {
			s.Buffer.Write(text)
			for s.Buffer.Len() > 0 || len(c.unread) > 0 {
				c.Read(make([]byte, 1<<10))
			}
		}
		hear(append(preface[:len(preface):len(preface)], headersOf(1, "/a")...))
		one := c.requests.opens(true, 0)
		message := dataOf(1, packed, packed)
		message[frameHeaderBytes] = 1 // it is compressed
		hear(message)
		if n := at.fresh.all.bytes.Load(); n < want || n > want+2*int64(packed)+4<<10 {
			t.Errorf("%d bytes count for %d", packed, n)
		}
		if err := one.took(); err != nil || at.fresh.all.bytes.Load() != 0 {
			t.Errorf("%v, and %d bytes are left", err, at.fresh.all.bytes.Load())
		}
		c.requests.leave()
	}
}
