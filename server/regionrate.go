package server

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// RegionRate says how many bytes a second this node sends to other regions at most, as [parseRates] reads it: of copies
// of its state, and of the stream.
type RegionRate struct{ Copy, Stream string }

// caps are both, read.
type caps struct{ copies, stream rates }

// caps returns what is written.
func (r RegionRate) caps() (*caps, error) {
	copies, err := parseRates(r.Copy)
	if err != nil {
		return nil, fmt.Errorf("region-rate.copy: %w", err)
	}
	stream, err := parseRates(r.Stream)
	if err != nil {
		return nil, fmt.Errorf("region-rate.stream: %w", err)
	}
	return &caps{copies, stream}, nil
}

// at returns what goes to a region now.
func (c *caps) at(region string, now time.Time) replication.RegionRate {
	return replication.RegionRate{Copy: c.copies.at(region, now), Stream: c.stream.at(region, now)}
}

// strange are the regions that have a rate of their own and are none of those known, in order.
func (c *caps) strange(known map[string]bool) (list []string) {
	for _, all := range []rates{c.copies, c.stream} {
		for region := range all {
			if region != everyOther && !known[region] && !slices.Contains(list, region) {
				list = append(list, region)
			}
		}
	}
	slices.Sort(list)
	return list
}

// idle says what of the settings means nothing in the fleet as this node knows it: a name may be mistyped, or of a
// region that is added later.
func (l *settled) idle(h *replication.HealthStatus) (list []string) {
	known := map[string]bool{h.Region: true} // files of several regions may be alike
	for _, p := range h.Peers {
		known[p.ID] = true
	}
	for _, region := range l.caps.Load().strange(known) {
		list = append(list, fmt.Sprintf("region-rate has a rate for %s, and the fleet has no region of that name: "+
			"nothing is held to it, unless such a region is added", region))
	}
	return list
}

// tellIdle tells the log what of the settings means nothing.
func (l *settled) tellIdle(h *replication.HealthStatus, log *slog.Logger) {
	for _, text := range l.idle(h) {
		log.Warn("a setting means nothing in this fleet", "detail", text)
	}
}

// everyOther is the name of all regions that have no rate of their own.
const everyOther = "*"

// minutesADay is where a day ends.
const minutesADay = 24 * 60

// rates are bytes a second by the name of a region, or by everyOther.
type rates map[string][]timedRate

// timedRate is a rate from a minute of the day on, before another one; zero for no bound. What has no times is of the
// rest of the day.
type timedRate struct {
	timed    bool
	from, to int
	bytes    int64
}

// parseRates reads a list of REGION=RATE and REGION=HH:MM-HH:MM=RATE: a region is named as often as it has times.
func parseRates(s string) (rates, error) {
	all := rates{}
	for _, text := range split(s) {
		parts := strings.Split(text, "=")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
			return nil, fmt.Errorf("%q: want REGION=RATE, or REGION=HH:MM-HH:MM=RATE", text)
		}
		var size Bytes
		if err := size.Set(parts[len(parts)-1]); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if size != 0 && size < replication.LeastRegionRate {
			return nil, fmt.Errorf("%q: %s a second is the least, and 0 is no bound", text,
				Bytes(replication.LeastRegionRate))
		}
		r := timedRate{bytes: int64(size)}
		if len(parts) == 3 {
			if err := r.setTimes(parts[1]); err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
		}
		for _, other := range all[parts[0]] {
			if other.meets(r) {
				return nil, fmt.Errorf("%q: another rate of %s is of the same time", text, parts[0])
			}
		}
		all[parts[0]] = append(all[parts[0]], r)
	}
	return all, nil
}

func (r *timedRate) setTimes(s string) error {
	from, to, ok := strings.Cut(s, "-")
	var known, also bool
	r.timed = true
	r.from, known = minuteOf(from)
	r.to, also = minuteOf(to)
	if !ok || !known || !also || r.from == r.to || r.from == minutesADay {
		return fmt.Errorf("%q are no times as 08:00-18:00, from the first on and before the second", s)
	}
	return nil
}

// minuteOf reads HH:MM; 24:00 is the end of a day.
func minuteOf(s string) (minute int, ok bool) {
	hours, minutes, ok := strings.Cut(s, ":")
	h, err := strconv.ParseUint(hours, 10, 8)
	m, also := strconv.ParseUint(minutes, 10, 8)
	minute = int(60*h + m)
	return minute, ok && err == nil && also == nil && len(s) == len("00:00") && m < 60 && minute <= minutesADay
}

// within reports whether a minute of the day is one of those of r.
func (r timedRate) within(minute int) bool {
	if r.from < r.to {
		return r.from <= minute && minute < r.to
	}
	return minute >= r.from || minute < r.to // over midnight
}

// meets reports whether both are of one time.
func (r timedRate) meets(o timedRate) bool {
	if !r.timed || !o.timed {
		return r.timed == o.timed
	}
	return r.within(o.from) || o.within(r.from)
}

// at returns the rate to a region at a moment, by UTC, which is the same on all nodes; zero for no bound.
func (all rates) at(region string, now time.Time) int64 {
	list, own := all[region]
	if !own {
		list = all[everyOther]
	}
	now = now.UTC()
	minute := 60*now.Hour() + now.Minute()
	rest := int64(0)
	for _, r := range list {
		switch {
		case !r.timed:
			rest = r.bytes
		case r.within(minute):
			return r.bytes
		}
	}
	return rest
}
