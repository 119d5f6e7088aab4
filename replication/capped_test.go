package replication_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// noise is a value that does not compress, also beside others.
func noise(n, bytes int) string {
	r := rand.New(rand.NewPCG(uint64(n), uint64(bytes)))
	p := make([]byte, bytes)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return string(p)
}

// streams holds the stream to a region to a rate.
func streams(region string, rate int64) func(c *replication.Config) {
	return func(c *replication.Config) {
		c.RegionRate = func(to string, _ time.Time) (r replication.RegionRate) {
			if to == region {
				r.Stream = rate
			}
			return r
		}
	}
}

// Writes pause until the target of a switchover has the last of them: nobody holds these to a rate meanwhile.
func TestASwitchoverIsNotHeldToARate(t *testing.T) {
	shaped(t, map[string]int{"us": 1, "eu": 1}, streams("eu", 16<<10), func(f *testFleet) {
		want := []string{"c0"}
		f.put("us-1", "c0")
		f.eventually(want)
		for i := range 40 {
			want = append(want, noise(i, 16<<10))
			f.put("us-1", want[i+1])
		}
		r, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", r)
		if r.Pause > 3*time.Second {
			t.Errorf("writes paused for %v", r.Pause)
		}
		f.eventually(want)
	})
}

// A region that follows the primary does not leave it for one that is late: it would stand still until that has what it
// has itself.
func TestASourceThatIsLateIsNotGoneTo(t *testing.T) {
	const rate = 16 << 10
	shaped(t, map[string]int{"us": 1, "eu": 1, "ap": 1}, streams("eu", rate), func(plain *testFleet) {
		f := &growingFleet{testFleet: plain}
		f.write("us-1", 5)
		f.everywhere()
		for i := range 5 * 8 { // five seconds of what goes to eu
			f.put("us-1", noise(i, rate/8))
		}
		for i := range 30 * 8 {
			if i == 6*8 { // eu knows by then how late it is
				f.source("ap", "eu")
			}
			at := f.put("us-1", noise(100+i, rate/8)).Position
			wrote := time.Now()
			f.within(5*time.Second, "ap has it", func() bool { return f.nodes["ap-1"].Health().Position >= at })
			if took := time.Since(wrote); took > time.Second {
				r := f.of("us-1", "eu")
				t.Fatalf("ap has what was written after %v; eu is %v s behind", took, r.Lag.Seconds)
			}
			time.Sleep(max(0, time.Second/8+time.Millisecond-time.Since(wrote)))
		}
		if r := f.of("us-1", "eu"); r.Lag.Seconds < 3 || r.Lag.Seconds > 9 {
			t.Errorf("eu is behind by %+v: this test tests nothing", r.Lag)
		}
	})
}
