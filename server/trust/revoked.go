package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// kindRevoked is the kind of lists of revoked certificates.
const kindRevoked = "revocations"

const pemList = "X509 CRL"

// identity is a certificate as a list names it: who issued it, and under which number.
type identity struct{ issuer, serial string }

func identityOf(c *x509.Certificate) identity {
	return identity{string(c.RawIssuer), c.SerialNumber.String()}
}

// Extensions that make a list mean something else than all that its issuer has revoked.
var (
	deltaList      = asn1.ObjectIdentifier{2, 5, 29, 27}
	removedFrom    = asn1.ObjectIdentifier{2, 5, 29, 29}
	errDelta       = errors.New("it has only what has changed since another list: give the whole list")
	errNoLists     = errors.New("that must not sign lists: its certificate lacks the key usage cRLSign")
	errOtherIssuer = errors.New("it lists certificates of others than who signed it, which is not understood")
)

// parseRevoked reads lists of revoked certificates, PEM or one of DER, and behind them the authorities. A list that is
// not by one of these is taken as it is: it may be by one that stands between.
func parseRevoked(texts [][]byte, now time.Time) (m material, err error) {
	authorities, err := parseAuthorities(texts[1:], now)
	if len(authorities.all) == 0 {
		return m, fmt.Errorf("the authorities that sign it: %w", err)
	}
	lists, err := listsIn(texts[0])
	if err != nil {
		return m, err
	}
	m.revoked = map[identity]bool{}
	for _, list := range lists {
		known, err := signed(list, authorities.all)
		if err != nil {
			return material{}, fmt.Errorf("the list of %s: %w", list.Issuer, err)
		}
		if !known {
			m.strange = append(m.strange, fmt.Sprintf("the list of %s is of none of the authorities in ca: it revokes "+
				"only what an intermediate authority of that name has issued", list.Issuer))
		}
		issuer := string(list.RawIssuer)
		for _, one := range list.RevokedCertificateEntries {
			for _, e := range one.Extensions {
				if e.Id.Equal(removedFrom) {
					return material{}, fmt.Errorf("the list of %s: %w", list.Issuer, errOtherIssuer)
				}
			}
			m.revoked[identity{issuer, one.SerialNumber.String()}] = true
		}
	}
	m.lists = lists
	return m, nil
}

func listsIn(text []byte) (lists []*x509.RevocationList, err error) {
	var all [][]byte
	if !bytes.Contains(text, []byte("-----BEGIN ")) && len(text) > 0 {
		all = [][]byte{text}
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemList {
			all = append(all, block.Bytes)
		}
	}
	if want := max(1, bytes.Count(text, []byte("-----BEGIN "+pemList))); len(all) < want {
		return nil, fmt.Errorf("%d of %d lists of revoked certificates in it cannot be read", want-len(all), want)
	}
	for _, der := range all {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("a list of revoked certificates: %w", err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// signed reports whether one of the authorities signed the list. It fails if those that have the name of who did, did
// not, and not if none of them has it.
func signed(list *x509.RevocationList, authorities []*x509.Certificate) (known bool, err error) {
	for _, e := range list.Extensions {
		if e.Id.Equal(deltaList) {
			return false, errDelta
		}
	}
	for _, a := range authorities {
		if !bytes.Equal(a.RawSubject, list.RawIssuer) {
			continue
		}
		failed := list.CheckSignatureFrom(a)
		if failed == nil {
			return true, nil
		}
		if a.KeyUsage != 0 && a.KeyUsage&x509.KeyUsageCRLSign == 0 {
			failed = errNoLists
		}
		err = fmt.Errorf("it is not signed by the authority of that name: %w", failed)
	}
	return false, err
}

// unrevoked returns nil if a chain has no certificate that a list of the port names. The last of a chain is trusted by
// itself.
func (p *port) unrevoked(chains [][]*x509.Certificate) (err error) {
	var lists []map[identity]bool
	for _, s := range p.revoked {
		lists = append(lists, s.current().revoked)
	}
	for _, chain := range chains {
		i := slices.IndexFunc(chain[:len(chain)-1], func(c *x509.Certificate) bool {
			return slices.ContainsFunc(lists, func(l map[identity]bool) bool { return l[identityOf(c)] })
		})
		if i < 0 {
			return nil
		}
		err = fmt.Errorf("the certificate of %s, serial %s, was revoked by %s", nameOf(chain[i]), serialOf(chain[i]),
			chain[i].Issuer)
	}
	return err
}
