package trust

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// revoke returns a list of the authority with those certificates, PEM, which is due again after so long.
func (a *authority) revoke(t *testing.T, due time.Duration, certificates ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: time.Now().Add(-time.Hour),
		NextUpdate: time.Now().Add(due)}
	for _, c := range certificates {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemList, Bytes: der})
}

// certificateOf returns what a person shows.
func certificateOf(t *testing.T, d *Dialer) *x509.Certificate {
	t.Helper()
	return d.pairs[0].current().all[0]
}

// strict is a house with a file of lists.
func strict(t *testing.T, a *authority, list []byte) *house {
	t.Helper()
	h := newHouse(t, a, a)
	h.CRL = filepath.Join(t.TempDir(), "crl.pem")
	put(t, h.CRL, list)
	var err error
	if h.config, err = h.Listener([]string{"h2"}, h.Block); err != nil {
		t.Fatal(err)
	}
	return h
}

// Who is revoked does not get in, leaves if he is in, and nobody else of his authority does; a list that is given
// later, as PEM or as DER, is taken without a restart (T1, T3).
func TestRevokedCertificatesAreRefused(t *testing.T) {
	a := newAuthority(t, "a", day)
	first, second, third := person(t, a, a), person(t, a, a), person(t, a, a)
	h := strict(t, a, a.revoke(t, time.Hour, certificateOf(t, first)))
	if inside, _, _, err := h.meet(t, first); err == nil || len(inside.after) > 0 {
		t.Error("a certificate that is revoked from the start is taken")
	}
	inside, _, _, err := h.meet(t, second)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _, err := h.meet(t, third)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := pem.Decode(a.revoke(t, time.Hour, certificateOf(t, second)))
	put(t, h.CRL, der.Bytes)
	h.look(time.Now())
	if !inside.leaves() || other.leaves() {
		t.Errorf("the one that was revoked leaves: %v, another: %v", inside.leaves(), other.leaves())
	}
	if _, _, _, err := h.meet(t, second); err == nil {
		t.Error("a certificate is taken that was revoked since")
	}
	if _, _, _, err := h.meet(t, first); err != nil {
		t.Errorf("who is in the list no longer: %v", err)
	}
	figures(t, h.Keeper, `kind="revocations",serial="7",subject="CN=a"}`, `kind="revocations",result="taken"} 1`)
}

// The side that dials refuses a server that was revoked.
func TestADialerRefusesWhoIsRevoked(t *testing.T) {
	a := newAuthority(t, "a", day)
	h := newHouse(t, a, a)
	f := newFiles(t, "peer-tls")
	f.show(t, a, "one")
	f.believe(t, a)
	f.CRL = filepath.Join(t.TempDir(), "crl.pem")
	put(t, f.CRL, a.revoke(t, time.Hour))
	k := New(Options{})
	d, err := k.Dialer(f.Block)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := h.meet(t, d); err != nil {
		t.Fatal(err)
	}
	put(t, f.CRL, a.revoke(t, time.Hour, h.sources[0].current().all[0]))
	k.look(time.Now())
	if _, _, _, err := h.meet(t, d); err == nil || !strings.Contains(err.Error(), "was revoked by CN=a") {
		t.Errorf("a server that was revoked: %v", err)
	}
}

// A list that cannot be used does not end what the former revoked, and a node does not start without one (T2).
func TestAListThatCannotBeUsed(t *testing.T) {
	a, namesake := newAuthority(t, "a", day), newAuthority(t, "a", day)
	gone := person(t, a, a)
	list := a.revoke(t, time.Hour, certificateOf(t, gone))
	delta := func() []byte {
		number := pkix.Extension{Id: deltaList, Critical: true, Value: []byte{2, 1, 1}}
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(8),
			NextUpdate: time.Now().Add(time.Hour), ExtraExtensions: []pkix.Extension{number}}, a.cert, a.key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: pemList, Bytes: der})
	}
	for want, text := range map[string][]byte{
		"cannot be read": nil, "1 of 2 lists": append(bytes.Clone(list), list[:len(list)/2]...),
		"a list of revoked certificates":           []byte("no list"),
		"not signed by the authority of that name": namesake.revoke(t, time.Hour), "whole list": delta(),
	} {
		h := strict(t, a, list)
		put(t, h.CRL, text)
		h.look(time.Now())
		if _, _, _, err := h.meet(t, gone); err == nil {
			t.Errorf("%s: who was revoked gets in", want)
		}
		if r := h.Report(); len(r.Refused) != 1 || !strings.Contains(r.Refused[0], want) {
			t.Errorf("%s: %q", want, r.Refused)
		}
		if _, err := New(Options{}).Listener(nil, h.Block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: a start: %v", want, err)
		}
		os.Remove(h.CRL)
	}
}

// A list of somebody who is no authority here is taken, for it may be of one that stands between, and told of.
func TestAListOfNoAuthority(t *testing.T) {
	a, other := newAuthority(t, "a", day), newAuthority(t, "other", day)
	h := strict(t, a, other.revoke(t, time.Hour))
	const want = "client-tls: the list of CN=other is of none of the authorities in ca: it revokes only what an " +
		"intermediate authority of that name has issued"
	told := func(now bool, times int) {
		t.Helper()
		h.look(time.Now())
		h.look(time.Now())
		if wrong, soon := h.Report().Troubles(time.Now()); len(wrong) > 0 || slices.Contains(soon, want) != now {
			t.Errorf("%q, %q", wrong, soon)
		}
		if text := h.log.String(); strings.Count(text, "revokes only what an intermediate") != times {
			t.Errorf("not told %d times: %s", times, text)
		}
	}
	told(true, 1)
	put(t, h.CRL, a.revoke(t, time.Hour))
	told(false, 1)
	put(t, h.CRL, other.revoke(t, time.Hour))
	told(true, 2)
}

// An authority whose certificate does not allow it signs no lists, and the error says what is missing.
func TestAnAuthorityThatMaySignNoLists(t *testing.T) {
	a := newAuthority(t, "a", day)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1),
		Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	_, err = parseRevoked([][]byte{a.revoke(t, time.Hour), ca}, time.Now())
	if err == nil || !strings.Contains(err.Error(), "the list of CN=a: ") || !strings.Contains(err.Error(), "cRLSign") {
		t.Error(err)
	}
}

// A list that is out of date counts, and is told.
func TestAListOutOfDateIsTold(t *testing.T) {
	a := newAuthority(t, "a", day)
	gone := person(t, a, a)
	h := strict(t, a, a.revoke(t, time.Hour, certificateOf(t, gone)))
	if wrong, soon := h.Report().Troubles(time.Now()); len(wrong) > 0 || len(soon) != 2 {
		t.Errorf("before: %q, %q", wrong, soon)
	}
	h.look(time.Now().Add(2 * time.Hour))
	if text := h.log.String(); strings.Count(text, "is out of date: what was revoked since is not known") != 1 {
		t.Error(text)
	}
	if _, _, _, err := h.meet(t, gone); err == nil {
		t.Error("who was revoked gets in by time")
	}
	put(t, h.CRL, a.revoke(t, -time.Minute))
	h.look(time.Now())
	wrong, _ := h.Report().Troubles(time.Now())
	if len(wrong) != 1 || !strings.Contains(wrong[0], "is out of date since") {
		t.Errorf("%q", wrong)
	}
}
