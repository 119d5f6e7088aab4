package server

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/door"
)

// Where too much is kept of a client, he is told so of what he began last, at once, and what he began before is
// answered: nothing of it is cancelled, and nobody waits for what cannot come.
func TestWhatIsTooMuchIsRefusedAndTheRestIsAnswered(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		i.both.clients.bound(1<<19, 1<<19)
		began, check := time.Now(), healthpb.NewHealthClient(i.client)
		var mu sync.Mutex
		var asked sync.WaitGroup
		by := map[codes.Code]int{}
		for range 16 {
			asked.Go(func() {
				r := &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 256<<10)}
				_, err := check.Check(context.Background(), r)
				mu.Lock()
				defer mu.Unlock()
				by[status.Code(err)]++
			})
		}
		asked.Wait()
		if by[codes.NotFound] < 3 || by[codes.NotFound]+by[codes.ResourceExhausted] != 16 {
			t.Error(by)
		}
		if passed := time.Since(began); passed >= bodyTime {
			t.Errorf("it took %s", passed)
		}
		if kept := i.keeps(); kept != 0 {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}

// Where too much is kept, a client of whom more is kept than of others is refused what he began last, and is heard:
// what he began first comes to its end. Nobody else is refused anything, and of who was answered before, nothing
// because of those who were not.
func TestWhoHasMostKeptIsRefused(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 4)
		hoards, honest, other := i.speak(t), i.speak(t), i.speak(t)
		whole := frameOf(frameData, flagEndStream, 1, make([]byte, messagePrefix))
		honest.say(headersOf(1, healthpb.Health_Check_FullMethodName), whole)
		if virtual.Wait(); honest.over() != 1 {
			t.Error("one is not answered")
		}
		i.both.clients.bound(80<<10, 100<<10)
		part := frameOf(frameData, 0, 3, make([]byte, 12<<10))
		honest.say(headersOf(3, healthpb.Health_Check_FullMethodName), dataOf(3, 60<<10, 12<<10), part, part, part)
		other.say(headersOf(1, healthpb.Health_Check_FullMethodName), dataOf(1, 9<<10, 8<<10))
		for id := uint32(1); id < 41; id += 2 {
			hoards.say(headersOf(id, healthpb.Health_Check_FullMethodName), dataOf(id, 13<<10, 12<<10))
		}
		if kept := i.keeps(); kept > 180<<10 || i.both.clients.known.all.bytes.Load() < 48<<10 {
			t.Errorf("%d bytes are kept", kept)
		}
		if hoards.over() == 0 || hoards.told(codeCalm) != hoards.over() {
			t.Errorf("%d are over, %v", hoards.over(), hoards.codes)
		}
		if other.over() != 0 || honest.over() != 1 {
			t.Error("others are refused something")
		}
		for _, s := range []*spoken{hoards, other} {
			s.say(frameOf(frameData, flagEndStream, 1, make([]byte, 1<<10)))
		}
		honest.say(frameOf(frameData, flagEndStream, 3, make([]byte, 12<<10)))
		virtual.Wait()
		if _, refused := hoards.codes[1]; refused || hoards.ended[1].IsZero() {
			t.Error("what began first is not answered", hoards.codes)
		}
		if other.over() != 1 || honest.over() != 2 {
			t.Error("what others ask is not answered")
		}
	})
}

// Messages that came whole and are not taken are waited for, for a while, and then those requests are refused: a stream
// whose handler waits for its client, who is not heard, would never take any.
func TestWhoseMessagesAreNotTakenIsHeardAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		i.both.clients.bound(10<<10, 10<<10)
		s := i.speak(t)
		s.say(headersOf(1, "/a/large")) // takes nothing, and sends more than there is a window for
		go s.say(dataOf(1, 12<<10, 12<<10), dataOf(1, 12<<10, 12<<10), frameOf(framePing, 0, 0, make([]byte, 8)))
		time.Sleep(longestWait / 2)
		if kept := i.keeps(); kept == 0 || s.over() != 0 {
			t.Errorf("%d bytes are kept, %d requests are over", kept, s.over())
		}
		time.Sleep(longestWait)
		if kept := i.keeps(); kept != 0 || s.told(codeInternal) != 1 {
			t.Errorf("%d bytes are kept, %v", kept, s.codes)
		}
		if refused := i.door.Figures().Refused; refused[door.ReasonMuch] != 1 || refused[door.ReasonLate] != 0 {
			t.Errorf("%v are counted", refused)
		}
	})
}

// Headers of requests that say nothing are kept as long as those are: where they are large, they count.
func TestLargeHeadersAreKeptToo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		s := i.speak(t)
		const streams = 20
		large := [2]string{"x", strings.Repeat("x", 120)}
		var more [][2]string
		for range 3 * largeHeaders / 120 {
			more = append(more, large)
		}
		for n := range uint32(streams) {
			s.say(headersOf(1+2*n, "/a/stream", more...))
		}
		if kept := i.keeps(); kept < streams*3*largeHeaders || kept > streams*5*largeHeaders {
			t.Errorf("%d bytes are kept", kept)
		}
		i.both.clients.bound(0, streams*largeHeaders)
		s.say(headersOf(1+2*streams, "/a/stream"))
		if kept := i.keeps(); kept > streams*largeHeaders || s.told(codeRefused) < streams/2 {
			t.Errorf("%d bytes are kept, %v", kept, s.codes)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, refused := s.codes[1]; refused {
			t.Error("what began first is refused")
		}
	})
}

// stalls is a connection on which nothing more can be said after so many bytes.
type stalls struct {
	net.Conn
	left int
	over chan struct{}
}

func (s *stalls) Write(p []byte) (int, error) {
	if s.left < len(p) {
		n, err := s.Conn.Write(p[:s.left])
		s.left = 0
		<-s.over
		return n, err
	}
	s.left -= len(p)
	return s.Conn.Write(p)
}

// A client whose message does not come in time is told that this is unavailable, and not that somebody has cancelled
// it: that he tries anew.
func TestWhoIsLateIsToldThatItMayBeTriedAnew(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i, over := newInnFor(t, 3), make(chan struct{})
		c, err := grpc.NewClient("passthrough:inn", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := i.street.DialContext(ctx)
				return &stalls{c, 8 << 10, over}, err
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer close(over)
		r := &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 20<<10)}
		_, err = healthpb.NewHealthClient(c).Check(context.Background(), r)
		if status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if late := i.door.Figures().Refused[door.ReasonLate]; late == 0 {
			t.Error("nobody was late")
		}
	})
}

// For how long a client was not heard is not counted against what he says, up to a bound.
func TestWhoIsNotHeardIsNotLate(t *testing.T) {
	began := time.Now()
	for deaf, due := range map[time.Duration]time.Duration{
		0: bodyTime, time.Second: bodyTime + time.Second, time.Hour: 2 * bodyTime,
	} {
		var u underway
		u.deaf(time.Hour) // before
		var m messages
		m.hear([]byte{0}, began, u.unheard)
		u.deaf(deaf)
		if got := u.due(&m).Sub(began); got != due {
			t.Errorf("not heard for %s: due after %s, not %s", deaf, got, due)
		}
	}
}

// A client that takes nothing of its answers, and goes on with what it asks, is told that this is ended, and nothing of
// it is kept: neither what it says nor what it was to be told, which is not sent when it takes something again.
func TestWhatIsRefusedIsNotKeptForAnAnswerThatIsNotTaken(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		i.both.clients.bound(64<<10, 64<<10)
		s := i.speak(t)
		s.say(frameOf(frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0})) // a window of nothing
		const streams, each = 40, 768 << 10
		before := heapBytes()
		for n := range uint32(streams) {
			id := 1 + 2*n
			s.say(headersOf(id, "/a/word"))
			virtual.Wait() // the answer waits
			s.say(dataOf(id, 2<<20, 0))
			for come := 0; come < each; come += 16 << 10 {
				s.say(frameOf(frameData, 0, id, make([]byte, 16<<10)))
			}
		}
		time.Sleep(time.Minute)
		told := s.told(codeInternal) + s.told(codeRefused) // as the answer had begun, or had not
		if kept := i.keeps(); kept > 64<<10 || told < streams-1 {
			t.Errorf("%d bytes are kept, %d are told of %d", kept, told, s.over())
		}
		if more := heapBytes() - before; more > streams*each/4 {
			t.Errorf("%d bytes are kept", more)
		}
		s.say(frameOf(frameSettings, 0, 0, []byte{0, 4, 0, 1, 0, 0}))
		time.Sleep(time.Second)
		if virtual.Wait(); s.illegal() != 0 {
			t.Errorf("%d frames after a reset", s.illegal())
		}
	})
}

// A request whose client leaves its answer unread can be ended, and nothing is kept of it; what else he asks goes on.
func TestARequestIsEndedWithWhatIsUnreadOfItsAnswer(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		s := i.speak(t)
		s.say(frameOf(frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0})) // a window of nothing
		const streams = 16
		before := heapBytes()
		for n := range uint32(streams) {
			s.say(headersOf(1+2*n, "/a/end"))
			virtual.Wait()
			end := <-i.ends
			virtual.Wait() // the answer waits
			end()
			virtual.Wait()
			end() // which is over
		}
		if virtual.Wait(); s.told(codeInternal) != streams {
			t.Errorf("%d of %d are told, %d are over", s.told(codeInternal), streams, s.over())
		}
		if more := heapBytes() - before; more > streams*largeAnswer/4 {
			t.Errorf("%d bytes are kept", more)
		}
		s.say(frameOf(frameSettings, 0, 0, []byte{0, 4, 0, 1, 0, 0}), headersOf(99, "/a/word"))
		time.Sleep(time.Second)
		if virtual.Wait(); s.over() != streams+1 || s.illegal() != 0 {
			t.Errorf("%d are over, %d frames came after a reset", s.over(), s.illegal())
		}
	})
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Of whose message was taken, something may have been done: he is not told that nothing was. And what was refused is
// not taken any more. Who has a stream of which nothing was taken is told to ask again, as etcd's clients do with a
// watch: they end it for good if it was too much.
func TestWhatWasTakenIsNotRefusedAsIfNothingWereDone(t *testing.T) {
	at := &clients{}
	c := newLeavable(&sink{}, at)
	defer c.requests.leave()
	at.bound(1, 1)
	c.requests.begin = func() func() { return func() {} }
	open := func(id uint32, one bool) *coming {
		c.requests.heard([9]byte{3: frameHeaders, 4: flagEndHeaders | flagEndStream, 8: byte(id)})
		return c.requests.opens(one, 2*largeHeaders)
	}
	put, stream, late, watch := open(1, true), open(3, false), open(5, true), open(7, false)
	for _, r := range []*coming{put, stream} {
		if err := r.took(); err != nil {
			t.Fatal(err)
		}
	}
	c.requests.relieve(false)
	if put.refused || !stream.refused || !late.refused || !watch.refused {
		t.Errorf("refused: %v, %v, %v, %v", put.refused, stream.refused, late.refused, watch.refused)
	}
	if c.requests.relieve(true); !put.refused {
		t.Error("who waits for good is not refused")
	}
	if put.code != codeInternal || stream.code != codeInternal || late.code != codeCalm || watch.code != codeRefused {
		t.Errorf("told %x, %x, %x, %x", put.code, stream.code, late.code, watch.code)
	}
	if err := watch.took(); status.Code(err) != codes.Unavailable || watch.taken {
		t.Errorf("a watch that was refused is told %v", err)
	}
	if err := late.took(); status.Code(err) != codes.ResourceExhausted || late.taken {
		t.Errorf("what was refused is taken: %v", err)
	}
	if frames := c.requests.endings(); len(frames) != 4*13 || c.requests.owing() {
		t.Errorf("%x", frames)
	}
}

// Who has most kept loses first, also if nothing is heard of him, and nobody else is refused anything for it: neither
// who has more than his share, nor for what came whole and is not taken.
func TestWhoIsSilentAndHasMostKeptIsRefused(t *testing.T) {
	for name, known := range map[string]bool{"as one of others": false, "what is left by others": true} {
		virtual.Test(t, func(t *testing.T) {
			i := newInnFor(t, 3)
			hoards, honest := i.speak(t), i.speak(t)
			i.both.clients.bound(200<<10, 200<<10)
			if known {
				hoards.say(headersOf(1, "/a/large"))
				virtual.Wait()
			}
			for id := uint32(3); id < 43; id += 2 {
				hoards.say(headersOf(id, healthpb.Health_Check_FullMethodName), dataOf(id, 13<<10, 12<<10))
			}
			virtual.Wait()
			full := i.keeps()
			honest.say(headersOf(1, healthpb.Health_Check_FullMethodName), dataOf(1, 300<<10, 12<<10))
			for range 9 {
				honest.say(frameOf(frameData, 0, 1, make([]byte, 12<<10)))
			}
			time.Sleep(time.Second)
			if virtual.Wait(); honest.over() > 0 || hoards.told(codeCalm) == 0 || full < 300<<10 {
				t.Errorf("%s: of %d bytes, %d of the one are refused and %d of the other",
					name, full, hoards.told(codeCalm), honest.over())
			}
		})
	}
}

// A request that was refused is ended in time, or else its connection: gRPC cannot hear of it within a frame.
func TestWhoStopsWithinAFrameGoes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		i := newInnFor(t, 3)
		s := i.speak(t)
		frame := dataOf(1, 64<<10, 16<<10-messagePrefix)
		s.say(headersOf(1, healthpb.Health_Check_FullMethodName), frame[:len(frame)-1])
		time.Sleep(bodyTime + refusalTime + 2*time.Second)
		if kept, open := i.keeps(), i.door.Figures().Open; kept != 0 || open != 0 {
			t.Errorf("%d bytes are kept, %d connections are open", kept, open)
		}
	})
}

// What is known of messages counts too, however small those are, and to know how much is kept of a request costs no
// more for many.
func TestManySmallMessagesCount(t *testing.T) {
	var u underway
	at := &kept{}
	u.kept, u.begin = at, func() func() { return func() {} }
	u.heard([9]byte{3: frameHeaders, 4: flagEndHeaders, 8: 1})
	one := u.opens(false, 0)
	const frames, each = 8, 3000
	for range frames {
		u.heard([9]byte{0: 0, 1: byte(each * messagePrefix >> 8), 2: byte(each * messagePrefix & 0xff), 8: 1})
		u.body(make([]byte, each*messagePrefix))
	}
	want := frames * (held(each*messagePrefix) + each*eachWhole)
	if n := at.all.bytes.Load(); n != want || len(one.whole) != frames*each {
		t.Errorf("%d bytes of %d messages, want %d", n, len(one.whole), want)
	}
	u.room = func() {}
	for range frames * each {
		if err := one.took(); err != nil {
			t.Fatal(err)
		}
	}
	if n := at.all.bytes.Load(); n != 0 || len(at.all.clients) != 0 {
		t.Errorf("%d bytes are left of %d", n, len(at.all.clients))
	}
}
