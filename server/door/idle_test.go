package door

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who has begun a request at the last moment stays, and who is to leave is told so before his connection ends.
func TestWhoLeavesIsToldBefore(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 2, Strangers: 2})
		busy, in := h.visit(t)
		Vouch(in)
		Requests(in, func() bool { return false })
		time.Sleep(time.Second)
		idle, in := h.visit(t)
		Vouch(in)
		Farewell(in, func() { io.WriteString(in, "farewell") })
		var retired atomic.Bool
		Requests(in, func() bool { retired.Store(true); return true })
		time.Sleep(time.Minute)
		if retired.Load() {
			t.Error("retired, and nobody came")
		}
		if _, in := h.visit(t); in == nil || !retired.Load() {
			t.Fatal("the newcomer was kept out")
		}
		if said, err := io.ReadAll(idle); string(said) != "farewell" {
			t.Errorf("it was told %q, %v", said, err)
		}
		if ended(busy) {
			t.Error("who has begun a request had to leave")
		}
	})
}

// Who reads nothing of a farewell delays nobody, and is not waited for.
func TestAFarewellHasAnEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 1, Strangers: 1})
		_, in := h.visit(t)
		Vouch(in)
		Farewell(in, func() { in.Write(make([]byte, 1<<20)) })
		Requests(in, func() bool { return true })
		time.Sleep(time.Minute)
		if _, newcomer := h.visit(t); newcomer == nil {
			t.Fatal("the newcomer was kept out")
		}
		time.Sleep(2 * farewellTime)
		virtual.Wait()
		if _, err := in.Write([]byte("x")); err == nil {
			t.Error("it is open still")
		}
	})
}

// An answer that is on its way counts as long as some of it has not arrived.
func TestWhatIsOnItsWayIsNotIdle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := New(l, Options{Name: "test", Most: 1, Strangers: 1, Patience: time.Nanosecond})
	defer d.Close()
	reader, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	in, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	Vouch(in)
	Requests(in, func() bool { return true })
	end := Request(in.RemoteAddr())
	in.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // by when the system has taken all that it takes
	sent, _ := in.Write(make([]byte, 64<<20))
	end()
	d.mu.Lock()
	c, waits := d.longestIdle(), unsent(in.(*conn).Conn)
	d.mu.Unlock()
	if waits == 0 {
		t.Skip("this system does not say what has arrived")
	}
	if c != nil {
		t.Fatalf("it is to leave, and %d bytes of its answer are on their way", waits)
	}
	if _, err := io.CopyN(io.Discard, reader, int64(sent)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); c == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("all of the answer was taken, and it may stay")
		}
		d.mu.Lock()
		c = d.longestIdle()
		d.mu.Unlock()
	}
}

// One that speaks in turns is idle between its turns, and may leave then, without a word; what it says belongs to a
// turn, and nothing that it says is heard once it has to leave.
func TestWhoSpeaksInTurnsMakesRoom(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 2, Strangers: 2})
		var outside, inside []net.Conn
		for range 2 {
			out, in := h.visit(t)
			Vouch(in)
			Asks(in)
			Farewell(in, func() { io.WriteString(in, "a word") })
			outside, inside = append(outside, out), append(inside, in)
		}
		time.Sleep(time.Minute)
		if _, in := h.visit(t); in != nil {
			t.Fatal("who has a turn had to leave")
		}
		Rests(inside[0])
		Rests(inside[1])
		time.Sleep(DefaultPatience - time.Second)
		go inside[0].Read(make([]byte, 10))
		io.WriteString(outside[0], "GET") // its next turn begins
		time.Sleep(2 * time.Second)
		if _, in := h.visit(t); in == nil {
			t.Fatal("who rests keeps others out")
		}
		if !ended(outside[1]) {
			t.Error("not the one that rests for longest had to leave")
		}
		if _, in := h.visit(t); in == nil { // in the place of that stranger
			t.Fatal("a stranger keeps others out")
		}
		if ended(outside[0]) {
			t.Error("who had begun to say something had to leave")
		}
		h.mu.Lock()
		last := h.inside[len(h.inside)-1]
		h.mu.Unlock()
		Vouch(last)
		c := inside[0].(*conn)
		time.Sleep(time.Minute)
		if !c.retireInTurns() {
			t.Fatal("it is idle again, and stays")
		}
		go io.WriteString(outside[0], "GET")
		if n, err := inside[0].Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("heard %d bytes, %v, of who has to leave", n, err)
		}
	})
}

// What comes of who has to leave, while he is told so, is heard and dropped: a connection that is closed meanwhile is
// reset, and he hears nothing. There is an end to that, and a bound to how many are heard out.
func TestWhoLeavesIsHeardOut(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const crowd = mostFarewells + 3
		h := open(t, Options{Most: crowd, Strangers: crowd})
		var outside []net.Conn
		for range crowd {
			out, in := h.visit(t)
			Vouch(in)
			Farewell(in, func() {})
			Requests(in, func() bool { return true })
			outside = append(outside, out)
		}
		time.Sleep(time.Minute)
		for range crowd {
			_, in := h.visit(t)
			if in == nil {
				t.Fatal("a newcomer was kept out")
			}
			Vouch(in)
		}
		open := func() (n int) {
			for _, c := range outside {
				if !ended(c) {
					n++
				}
			}
			return n
		}
		if n := open(); n != mostFarewells {
			t.Errorf("%d are heard out, of %d at most", n, mostFarewells)
		}
		time.Sleep(2 * farewellTime)
		n := open()
		h.Door.mu.Lock()
		defer h.Door.mu.Unlock()
		if n != 0 || h.farewells != 0 {
			t.Errorf("%d are heard for ever, %d are counted", n, h.farewells)
		}
	})
}

// A newcomer for whom there is no room does not cost a look at everybody: who was looked at and stays is not looked at
// again before he may leave.
func TestNotEverybodyIsLookedAtForEachNewcomer(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const crowd = 100
		h := open(t, Options{Most: crowd, Strangers: crowd})
		looked := 0
		for i := range crowd {
			_, in := h.visit(t)
			Vouch(in)
			Requests(in, func() bool { looked++; return false })
			if i%2 == 0 {
				Request(in.RemoteAddr())
			}
		}
		time.Sleep(time.Minute)
		for range 1000 {
			time.Sleep(time.Microsecond)
			if _, in := h.visit(t); in != nil {
				t.Fatal("somebody had to leave")
			}
		}
		if looked != crowd/2 {
			t.Errorf("%d looks at %d who may be idle, for 1000 newcomers", looked, crowd/2)
		}
		h.Door.mu.Lock()
		defer h.Door.mu.Unlock()
		if first := h.resting[0]; first.due < time.Now().Add(time.Second/2).UnixNano() {
			t.Error("those who are at work are looked at by the next newcomer again")
		}
	})
}

// Who wants all to come anew while some wait yet wants it of those too: there is one renewal at a time, however often
// it is wanted, nobody is asked twice, and it is over for all at once.
func TestThereIsOneRenewalAtATime(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 6, Strangers: 6})
		var over atomic.Int32
		asked := map[net.Conn]*atomic.Int32{}
		var inside []net.Conn
		comes := func() {
			_, in := h.visit(t)
			if in == nil {
				t.Fatal("it is not let in")
			}
			Vouch(in)
			Requests(in, func() bool { return false })
			times := &atomic.Int32{}
			Farewell(in, func() { times.Add(1) })
			asked[in], inside = times, append(inside, in)
		}
		for range 4 {
			comes()
		}
		before := runtime.NumGoroutine()
		for range 50 {
			h.Renew(func() { over.Add(1) })
			time.Sleep(renewPause)
		}
		virtual.Wait()
		if more := runtime.NumGoroutine() - before; more > 1 {
			t.Errorf("%d goroutines more for renewals that wait for room", more)
		}
		comes()
		h.Renew(func() { over.Add(1) })
		virtual.Wait()
		if over.Load() != 0 {
			t.Errorf("it is over for %d while there is no room for all", over.Load())
		}
		for range inside { // whoever was asked leaves, and makes room for the next
			for _, in := range inside {
				if asked[in].Load() > 0 {
					in.Close()
				}
			}
			time.Sleep(2 * renewPause)
			virtual.Wait()
		}
		for i, in := range inside {
			if n := asked[in].Load(); n != 1 {
				t.Errorf("connection %d was asked %d times", i, n)
			}
		}
		if over.Load() != 51 {
			t.Errorf("it is over for %d of 51", over.Load())
		}
	})
}

// Who is asked to come anew does not keep others out: no more are asked at a time than there is room for, and all in
// the end.
func TestAllComeAnewAsThereIsRoom(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10, Strangers: 10})
		var asked, over atomic.Int32
		var before, after []net.Conn
		for i := range 8 {
			_, in := h.visit(t)
			Vouch(in)
			Farewell(in, func() {
				asked.Add(1)
			})
			if i > 0 {
				Requests(in, func() bool { return false })
			}
			before = append(before, in)
		}
		comeAnew := func() {
			for int(asked.Load()) > len(after) {
				_, in := h.visit(t)
				if in == nil {
					t.Fatal("who was asked to come anew was kept out")
				}
				Vouch(in)
				after = append(after, in)
			}
		}
		h.Renew(func() { over.Add(1) })
		virtual.Wait()
		if asked.Load() != 1 {
			t.Fatalf("%d were asked, with two free places", asked.Load())
		}
		comeAnew()
		time.Sleep(time.Minute)
		if f := h.Figures(); asked.Load() != 1 || f.Open != 9 || f.Refused[ReasonFull] != 0 {
			t.Fatalf("%d were asked, %+v", asked.Load(), f)
		}
		for _, in := range before[1:] {
			in.Close()
			time.Sleep(time.Minute)
			virtual.Wait()
			comeAnew()
		}
		if over.Load() != 1 || h.Figures().Refused[ReasonFull] != 0 {
			t.Errorf("it was over %d times: %+v", over.Load(), h.Figures())
		}
	})
}
