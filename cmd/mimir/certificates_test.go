package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/authority"
	"github.com/mimir-kv/mimir/server/trust"
)

// What expires is a warning, what has expired, and a replacement that is not used, is an error, of whichever node.
func TestCertificatesAreShown(t *testing.T) {
	now := time.Now()
	one := func(block, kind, state string, left time.Duration) trust.Certificate {
		return trust.Certificate{Block: block, Kind: kind, Subject: "CN=x", Serial: "5", NotAfter: now.Add(left),
			State: state}
	}
	nodes := []nodeReport{
		{name: "eu-1", tls: &trust.Report{
			Certificates: []trust.Certificate{one("client-tls", "certificate", trust.StateExpiring, 49*time.Hour)},
			Refused:      []string{"client-tls: no"}}},
		{name: "eu-2", tls: &trust.Report{Certificates: []trust.Certificate{
			one("peer-tls", "certificate", trust.StateExpired, -time.Hour),
			one("peer-tls", "authority", "", 1000*time.Hour)}}},
		{name: "eu-3"},
	}
	f := &fleetReport{FleetStatus: &replication.FleetStatus{Primary: "eu"},
		Regions: []regionReport{{RegionStatus: replication.RegionStatus{Name: "eu"}, nodes: nodes}}}
	f.tellCertificates(now)
	var out bytes.Buffer
	f.print(&out)
	for _, want := range []string{
		"ERROR: eu/eu-1: client-tls: no\nERROR: eu/eu-2: peer-tls: the certificate CN=x, serial 5, has expired, on ",
		"WARNING: eu/eu-1: client-tls: the certificate CN=x, serial 5, expires in 2 days, on ",
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, out.String())
		}
	}
	if f.verdict(true, false) == nil || f.verdict(false, false) != nil {
		t.Error("what has expired is wrong with --check, and only then")
	}
	f.Certificates.Wrong = nil
	if err := f.verdict(true, false); err != nil {
		t.Errorf("what expires later is wrong already: %v", err)
	}
}

// A certificate ends no later than an authority does: more days than a duration holds would end in the past.
func TestACertificateIsNotForEver(t *testing.T) {
	status, _, errs := mimir(t, "cert", "client", "a", "--dir", t.TempDir(), "--days", "9999999")
	if status != exitUsage || !strings.Contains(errs, "at most 3650") {
		t.Errorf("status %d\n%s", status, errs)
	}
}

// What an authority signed ends with it: that it ends is told by who renews, week by week, before it is too late, and
// that it has ended is an error.
func TestAnAuthorityEnds(t *testing.T) {
	for _, test := range []struct {
		days   int // that are left
		status int
		out    string
		errs   string
	}{
		{days: 100, out: "nothing is due\n"},
		{days: 10, errs: "client-ca.crt ends on "},
		{days: -10, status: exitFailed, errs: "client-ca.crt: the authority has ended"},
	} {
		dir := t.TempDir()
		if err := authority.Make(dir, authority.Clients, "mimir", time.Now().AddDate(-10, 0, test.days)); err != nil {
			t.Fatal(err)
		}
		mimir(t, "cert", "client", "operator", "--dir", dir)
		status, out, errs := mimir(t, "cert", "client", "operator", "--dir", dir)
		if status != test.status || out != test.out || (test.errs == "") != (errs == "") ||
			!strings.Contains(errs, test.errs) || test.errs != "" && !strings.Contains(errs, "under New authorities") {
			t.Errorf("%d days: status %d, %q, %q", test.days, status, out, errs)
		}
	}
}
