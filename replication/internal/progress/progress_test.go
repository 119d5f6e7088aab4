package progress

import (
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

func value(p *float64) float64 {
	if p == nil {
		return -1
	}
	return *p
}

func expect(t *testing.T, m *Meter, when, rate, left float64) {
	t.Helper()
	r := m.Reading(at(when))
	if value(r.BytesPerSecond) != rate || value(r.LeftSeconds) != left {
		t.Errorf("after %v s: %v B/s, %v s left; want %v and %v", when, value(r.BytesPerSecond), value(r.LeftSeconds),
			rate, left)
	}
}

// What an earlier attempt had left did not come now (G2).
func TestWhatWasHereDoesNotMakeATransferLookFast(t *testing.T) {
	var m Meter
	m.Begin("us-1", at(0))
	expect(t, &m, 5, -1, -1)
	m.Came(Checking, 900, 1000, at(6))
	m.Came(Fetching, 900, 1000, at(7))
	expect(t, &m, 7.5, -1, -1)
	m.Came(Fetching, 910, 1000, at(8))
	m.Came(Fetching, 920, 1000, at(9))
	expect(t, &m, 9, 10, 8)
}

// What comes at once at first, as a link or a source lets through before it holds anything back, is no pace.
func TestWhatComesAtOnceAtFirstIsNoPace(t *testing.T) {
	var m Meter
	m.Begin("us-1", at(0))
	m.Came(Fetching, 10, 1000, at(1))
	m.Came(Fetching, 500, 1000, at(1.1))
	expect(t, &m, 3.1, 0, -1)
	m.Came(Fetching, 600, 1000, at(11.1))
	expect(t, &m, 11.1, 10, 40)
}

// Of what does not come nobody knows how long it takes, nor of what has no known end (G1).
func TestNoTimeIsToldOfWhatDoesNotComeOrHasNoKnownEnd(t *testing.T) {
	var m Meter
	if m.Reading(at(0)) != nil {
		t.Error("something is on its way that nobody asked for")
	}
	m.Begin("us-1", at(0))
	for i := range 20 {
		m.Came(Making, int64(100*i), 0, at(float64(i)))
	}
	if r := m.Reading(at(19)); r.TotalBytes != nil || r.LeftSeconds != nil || *r.DoneBytes != 1900 || r.From != "us-1" {
		t.Errorf("%+v", r)
	}
	for i := range 11 {
		m.Came(Fetching, int64(10*i), 1000, at(float64(20+i)))
	}
	expect(t, &m, 30, 10, 90)
	expect(t, &m, 35, 100.0/15, 135)
	if r := m.Reading(at(41)); r.LeftSeconds != nil || r.QuietSeconds != 11 {
		t.Errorf("after 11 s without a byte: %+v", r)
	}
}

// The slower of the pace of late and that of the whole phase counts (G3), and damage takes bytes back.
func TestTheTimeLeftIsNotTakenFromTheFasterPace(t *testing.T) {
	var m Meter
	m.Begin("us-1", at(0))
	for i := range 101 {
		m.Came(Fetching, int64(i), 1000, at(float64(i)))
	}
	for i := range 31 { // ten times as fast from here on
		m.Came(Fetching, int64(100+10*i), 1000, at(float64(100+i)))
	}
	r := m.Reading(at(130))
	if *r.BytesPerSecond != 10 || *r.LeftSeconds != 600/(400.0/130) {
		t.Errorf("%v B/s, %v s left", *r.BytesPerSecond, *r.LeftSeconds)
	}
	m.Came(Fetching, 150, 1000, at(131))
	m.Came(Fetching, 155, 1000, at(132))
	expect(t, &m, 132, 5, 169)
}

// As many siblings have to get the copy as are needed: the slowest of those that are furthest counts.
func TestStagingIsAsFarAsTheSlowestThatIsNeeded(t *testing.T) {
	sibling := func(done int64, left float64) Transfer {
		s := Transfer{Phase: Fetching, DoneBytes: new(done), TotalBytes: new(int64(100))}
		if left >= 0 {
			s.LeftSeconds = new(left)
		}
		return s
	}
	looking := Transfer{Phase: Checking, DoneBytes: new(int64(99)), TotalBytes: new(int64(100))}
	for _, c := range []struct {
		have, needed int
		siblings     []Transfer
		done         int64 // -1: not known
		left         float64
	}{
		{1, 2, []Transfer{sibling(10, 90), sibling(60, 40)}, 60, 40},
		{1, 3, []Transfer{sibling(10, 90), sibling(60, 40), sibling(5, 1)}, 10, 90},
		{1, 3, []Transfer{sibling(50, 30), sibling(60, 40)}, 50, 40},
		{1, 3, []Transfer{sibling(60, -1), sibling(50, 30)}, 50, -1},
		{1, 3, []Transfer{sibling(60, 1)}, -1, -1},
		{2, 2, []Transfer{sibling(60, 1)}, -1, -1},
		{1, 2, []Transfer{looking, sibling(60, 1)}, 60, 1},
	} {
		b := Bootstrap{Transfer: Transfer{Phase: Staging}, Have: c.have, Needed: c.needed}
		b.Sum(c.siblings)
		done := int64(-1)
		if b.DoneBytes != nil {
			done = *b.DoneBytes
		}
		if done != c.done || value(b.LeftSeconds) != c.left {
			t.Errorf("%+v: %d done, %v left", c, done, value(b.LeftSeconds))
		}
	}
	b := Bootstrap{Transfer: Transfer{Phase: Fetching}, Have: 1, Needed: 2}
	if b.Sum([]Transfer{sibling(60, 1)}); b.DoneBytes != nil {
		t.Error("what siblings take is not what the leader fetches")
	}
}
