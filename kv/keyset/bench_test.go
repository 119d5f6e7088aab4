package keyset

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// filled returns an index of n keys that began to exist one a revision, in scattered order, so that all of it is
// history, and what name gives to the i-th of them.
func filled(n int) (x *Index, name func(i int) string) {
	name = func(i int) string {
		return string(binary.BigEndian.AppendUint64([]byte("/registry/pods/"), uint64(i)<<24))
	}
	at := func(i int) int64 { return int64(i)*104_729%int64(n) + 2 }
	x = New(int64(n)+1, 1<<40)
	for next := 0; ; {
		s, ok := x.Begin()
		if !ok {
			return x, name
		}
		for next < n && s.Add([]byte(name(next)), at(next), at(next), 0, false, []int64{at(next)}) {
			next++
		}
		x.Finish(s)
	}
}

// BenchmarkCount counts what is known of random intervals, at the newest revision and at one in the middle of it all,
// and says how many bytes a key takes. The most that a count leaves to be read is two blocks.
func BenchmarkCount(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000, 10_000_000} {
		x, name := filled(n)
		for _, rev := range []int64{int64(n) + 1, int64(n) / 2} {
			b.Run(fmt.Sprint(n, "/", rev), func(b *testing.B) {
				at := 1
				for b.Loop() {
					at = (at + 7919*7919) % n
					x.Count(Interval{From: name(at / 2), To: name(n - 1 - at/3), Bounded: true}, rev)
				}
				b.ReportMetric(float64(x.Bytes())/float64(n), "bytes/key")
			})
		}
		b.Run(fmt.Sprint(n, "/rewrite"), func(b *testing.B) {
			at, rev := 1, int64(n)+1
			for b.Loop() {
				rev++
				at = (at + 7919*7919) % n
				x.Apply(rev, []Change{{Key: name(at), Revision: rev, Exists: true}})
			}
		})
		b.Run(fmt.Sprint(n, "/add"), func(b *testing.B) {
			at, rev := 1, int64(n)+1
			for b.Loop() {
				rev++
				at = (at + 7919*7919) % n
				x.Apply(rev, []Change{{Key: name(at), Revision: rev, Exists: rev%2 == 0, Flip: true}})
			}
		})
	}
}
