package deploy

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// incident is what nodes say when something goes wrong, as changes to what those of a fleet that is well say.
type incident []change

// change is what becomes of the series that a selector finds, while the incident goes on.
type change struct {
	selector string
	usual    *float64                                         // at other times, if a fleet that is well does not say it
	value    func(usual float64, begun time.Duration) float64 // nil: nobody says it
	born     bool                                             // nobody says it at other times
	stays    bool                                             // a counter: what was counted remains
}

func is(selector string, v float64) change {
	return change{selector: selector, value: func(float64, time.Duration) float64 { return v }}
}

func gone(selector string) change { return change{selector: selector} }

// counts is a counter that goes up by so much a second.
func counts(selector string, rate float64) change {
	return change{selector: selector, stays: true,
		value: func(usual float64, begun time.Duration) float64 { return usual + rate*begun.Seconds() }}
}

// fresh is a series that a fleet which is well does not have, or not one of these labels.
func fresh(usual float64, c change) change { c.usual = &usual; return c }

// born is one that nobody says before the incident.
func born(c change) change {
	none := 0.0
	c.usual, c.born = &none, true
	return c
}

var incidents = map[string]incident{
	"MimirNoPrimary":           {gone(`{region="us",__name__!="up"}`)},
	"MimirTwoPrimaries":        {fresh(0, is(`mimir_role{role="primary",region="eu",instance="EU"}`, 1))},
	"MimirRegionWithoutLeader": {gone(`{region="eu",__name__!="up"}`), is(`up{region="eu"}`, 0)},
	"MimirFenced":              {fresh(0, is(`mimir_fenced{region="us",instance="US"}`, 1))},
	"MimirSwitchoverHangs":     {is(`mimir_sealed{region="us"}`, 1)},
	"MimirRegionDiverged":      {fresh(0, is(`mimir_role{role="diverged",region="eu",instance="EU"}`, 1))},
	"MimirPrimaryStopsMoving":  {fresh(0, is(`mimir_automatic_moves_kept{region="us",instance="US"}`, 1))},
	"MimirWitnessDoesNotVote":  {is(`mimir_witness_serving`, 0)},
	"MimirWitnessDown":         {is(`up{job="mimir-witness"}`, 0)},
	"MimirVoterDoesNotSupport": {is(`mimir_vote_support{voter="witness/w1"}`, 0)},
	"MimirLagUnknown":          {is(`mimir_lag_known{region="eu"}`, 0)},
	"MimirRegionFarBehind":     {is(`mimir_slot_lag_commands{to="eu"}`, 10001)},
	"MimirRegionNotFollowing":  {is(`mimir_slot_connected{to="eu"}`, 0)},
	"MimirRegionMustBootstrap": {is(`mimir_slot_lost{to="eu"}`, 1)},
	"MimirLagGateRefuses":      {fresh(0, is(`mimir_lag_gate_refuses{region="us",instance="US"}`, 1))},
	"MimirPartialBehind":       {is(`mimir_partial_follower_lag_seconds`, 61), is(`mimir_partial_lag_seconds`, 61)},
	"MimirPartialNotFollowing": {is(`mimir_partial_followers`, 0)},
	"MimirPartialNodeDown":     {is(`up{job="mimir-partial"}`, 0)},
	"MimirNodeDown":            {is(`up{region="us"}`, 0)},
	"MimirNodeUnhealthy":       {is(`mimir_healthy{region="us"}`, 0)},
	"MimirElectionsOften":      {counts(`mimir_leader_changes_total{region="us"}`, 0.01)},
	"MimirPeerNotReached":      {counts(`mimir_peer_failures_total`, 0.1)},
	"MimirCertificateExpires": {fresh(float64(time.Now().Add(100*24*time.Hour).Unix()),
		is(`mimir_tls_expiry_seconds{block="peer-tls",kind="certificate",subject="us-1",serial="7",instance="US",region="us"}`,
			float64(time.Now().Unix())))},
	"MimirCertificateRefused": {fresh(0, is(
		`mimir_tls_replacement_refused{block="peer-tls",kind="certificate",instance="US",region="us"}`, 1))},
	"MimirDiskStalls":      {is(`mimir_disk_stalled_seconds{region="us"}`, 6)},
	"MimirDiskSlow":        {counts(`mimir_log_sync_seconds_bucket{le="+Inf"}`, 1)},
	"MimirDiskFills":       {is(`mimir_disk_free_bytes{region="eu"}`, 1)},
	"MimirAlarm":           {is(`mimir_alarms`, 1)},
	"MimirNodesDiffer":     {fresh(0, is(`mimir_differing_nodes{verdict="differs",instance="US",region="us"}`, 1))},
	"MimirDifferenceFound": {fresh(0, counts(`mimir_compare_differences_total{instance="US",region="us"}`, 0.01))},
	"MimirNotCompared": {fresh(3600, is(`mimir_compare_age_seconds{of="eu",instance="US",region="us"}`, 4*86400)),
		fresh(86400, is(`mimir_compare_every_seconds{instance="US",region="us"}`, 86400))},
	"MimirQuotaNears":      {fresh(1<<60, is(`mimir_quota_bytes{instance="US",region="us"}`, 1))},
	"MimirWritesSlow":      {slow("KV/Txn")},
	"MimirErrors":          {fresh(0, counts(`mimir_requests_total{code="Unavailable",method="m",instance="US"}`, 2))},
	"MimirOperatorRefused": {fresh(0, counts(`mimir_operator_calls_total{outcome="refused",instance="US"}`, 0.1))},
	"MimirAuditLogFails":   {fresh(0, counts(`mimir_audit_log_failures_total{instance="US"}`, 1))},
	"MimirBackupOld":       {fresh(60, is(`mimir_backup_age_seconds{instance="US"}`, 31*3600))},
	"MimirBackupFails":     {fresh(0, is(`mimir_backup_failing{instance="US"}`, 1))},
	"MimirBackupNobody":    {fresh(1, is(`mimir_backup_mine{instance="US"}`, 0))},
	"MimirArchiveUnknown": {fresh(1, is(`mimir_archive_active{instance="US"}`, 1)),
		fresh(10, gone(`mimir_archive_lag_seconds{instance="US"}`))},
	"MimirArchiveStopped": {fresh(1, is(`mimir_archive_active{instance="US"}`, 0))},
	"MimirArchiveBehind":  {fresh(10, is(`mimir_archive_lag_seconds{instance="US"}`, 1000))},
	"MimirArchiveGap":     {born(is(`mimir_archive_gap_age_seconds{instance="US"}`, 60))},
}

// servedByAnother is a region that goes from the primary to another secondary, which only says who follows it.
var servedByAnother = incident{
	fresh(1, is(`mimir_slot_connected{to="ap",region="us",instance="US"}`, 0)),
	born(is(`mimir_slot_connected{to="ap",region="eu",instance="EU"}`, 1)),
}

// A region that follows another secondary is not connected to the primary, and nobody is woken for that.
func TestARegionThatFollowsByAnotherWakesNobody(t *testing.T) {
	by := servedByAnother
	for _, rule := range alerts(t) {
		if rule.Alert != "MimirRegionNotFollowing" {
			continue
		}
		h, begin, _ := by.history(t, &rule)
		if fires, _ := h.fires(t, &rule); fires != nil {
			t.Errorf("it fires at %v, and from %v on the region follows by another one", fires[0], begin)
		}
		h, _, _ = by[:1].history(t, &rule)
		if fires, _ := h.fires(t, &rule); fires == nil {
			t.Error("it does not fire where no other one serves the region")
		}
	}
}

// The machine of a witness is gone, or it does not start on the disk that it has: it says nothing any more, and two
// alerts tell of it, of who is down and of whose vote is missing.
func TestAWitnessThatIsGoneIsTold(t *testing.T) {
	read := []string{"up", "mimir_witness_serving", "mimir_vote_support"}
	for _, rule := range alerts(t) {
		read = append(read, names(t, rule.Expr)...)
	}
	h, begin, end := incident{
		is(`up{job="mimir-witness"}`, 0), gone(`{job="mimir-witness",__name__!="up"}`),
		is(`mimir_vote_support{voter="witness/w1"}`, 0),
	}.among(t, time.Minute, read)
	var told []string
	for _, rule := range alerts(t) {
		before, during := h.value(t, rule.Expr, begin.Add(-every)), h.value(t, rule.Expr, end)
		if len(before) == 0 && len(during) > 0 {
			told = append(told, rule.Alert)
		}
	}
	if want := []string{"MimirWitnessDown", "MimirVoterDoesNotSupport"}; !slices.Equal(told, want) {
		t.Errorf("%v tell of it, want %v", told, want)
	}
}

// slow are requests of a method that take longer than any bucket has.
func slow(method string) change {
	return fresh(0, counts(
		`mimir_request_seconds_bucket{method="/etcdserverpb.`+method+`",le="+Inf",instance="US",region="us"}`, 1))
}

// Whoever writes is told of slow writes: a Kubernetes API server does by transactions alone. Reads are none.
func TestSlowWritesAreOfEveryMethodThatWrites(t *testing.T) {
	rule := ruleOf(t, "MimirWritesSlow")
	for method, want := range map[string]bool{
		"KV/Put": true, "KV/Txn": true, "KV/DeleteRange": true, "KV/Range": false,
	} {
		h, _, _ := incident{slow(method)}.history(t, rule)
		if fires, _ := h.fires(t, rule); (fires != nil) != want {
			t.Errorf("%s: it fires at %v", method, fires)
		}
	}
}

// A gap is told until a backup was taken behind it, whoever takes the backups.
func TestAGapIsToldUntilABackupIsNewer(t *testing.T) {
	rule := ruleOf(t, "MimirArchiveGap")
	for age, want := range map[float64]bool{3600: true, 30: false} {
		gap := incident{
			born(is(`mimir_archive_gap_age_seconds{instance="US"}`, 60)),
			fresh(age, is(`mimir_backup_age_seconds{instance="EU"}`, age)),
		}
		h, _, _ := gap.history(t, rule)
		if fires, _ := h.fires(t, rule); (fires != nil) != want {
			t.Errorf("the newest backup is %v s old: it fires at %v", age, fires)
		}
	}
}

// ruleOf returns the rule of an alert.
func ruleOf(t *testing.T, name string) *rulefmt.Rule {
	t.Helper()
	list := alerts(t)
	i := slices.IndexFunc(list, func(r rulefmt.Rule) bool { return r.Alert == name })
	if i < 0 {
		t.Fatalf("there is no alert %s", name)
	}
	return &list[i]
}

// history returns a fleet that is well, then in the incident for longer than the rule waits, then well again. It holds
// what the rule reads. "US" and "EU" as an instance stand for the leader of that region.
func (i incident) history(t *testing.T, rule *rulefmt.Rule) (h *history, begin, end time.Time) {
	t.Helper()
	return i.among(t, time.Duration(rule.For), names(t, rule.Expr))
}

// among returns a fleet that is well, then in the incident for ten minutes longer than somebody waits, then well again.
// It holds these metrics.
func (i incident) among(t *testing.T, waits time.Duration, metrics []string) (h *history, begin, end time.Time) {
	t.Helper()
	lasts := waits + 10*time.Minute
	length := lasts + 3*lingers
	h, from, to := wellFor(t, length, metrics)
	begin, end = from.Add(lingers).Add(time.Minute), from.Add(lingers+lasts)
	leading, _, _ := wellFor(t, time.Minute, []string{"mimir_leader"})
	leaders := leading.leaders(t)
	for _, c := range i {
		for _, k := range c.find(t, h, leaders, from, to) {
			k.points = c.apply(k.points, begin, end)
		}
	}
	return h, begin, end
}

// find returns the series that a change is about; one that is fresh is made.
func (c *change) find(t *testing.T, h *history, leaders map[string]string, from, to time.Time) (list []*kept) {
	t.Helper()
	if c.usual == nil {
		matchers, err := language.ParseMetricSelector(c.selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range h.series {
			if selects(matchers, k.labels) {
				list = append(list, k)
			}
		}
		if len(list) == 0 {
			t.Fatalf("a fleet that is well has no %s", c.selector)
		}
		return list
	}
	l, err := language.ParseMetric(c.selector)
	if err != nil {
		t.Fatal(err)
	}
	if leader := leaders[l.Get("instance")]; leader != "" {
		l = labels.NewBuilder(l).Set("instance", leader).Set("job", "mimir").Labels()
	}
	delete(h.series, l.String())
	for at := from; !at.After(to); at = at.Add(every) {
		h.add(l, at, *c.usual)
	}
	return []*kept{h.series[l.String()]}
}

// apply returns what is said of a series that is usually said to be these points.
func (c *change) apply(points []chunks.Sample, begin, end time.Time) (out []chunks.Sample) {
	for _, p := range points {
		at := time.UnixMilli(p.T())
		switch {
		case at.Before(begin) || at.After(end) && !c.stays:
			if !c.born {
				out = append(out, p)
			}
		case c.value != nil:
			out = append(out, point{p.T(), c.value(p.F(), min(at.Sub(begin), end.Sub(begin)))})
		}
	}
	return out
}

// leaders returns who leads each region, by the name that stands for it in the incidents.
func (h *history) leaders(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, k := range h.series {
		if k.labels.Get("__name__") == "mimir_leader" && k.points[0].F() == 1 {
			found[map[string]string{"us": "US", "eu": "EU"}[k.labels.Get("region")]] = k.labels.Get("instance")
		}
	}
	if len(found) != 2 {
		t.Fatalf("the regions' leaders are %v", found)
	}
	return found
}

// span returns the first and the last moment of a history.
func (h *history) span() (from, to time.Time) {
	for _, k := range h.series {
		for _, p := range []chunks.Sample{k.points[0], k.points[len(k.points)-1]} {
			at := time.UnixMilli(p.T())
			if from.IsZero() || at.Before(from) {
				from = at
			}
			if at.After(to) {
				to = at
			}
		}
	}
	return from, to
}
