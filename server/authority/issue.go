package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Names of the two authorities, and of their files without suffix.
const (
	Peers   = "peer-ca"
	Clients = "client-ca"
)

const (
	certSuffix, keySuffix = ".crt", ".key"
	// backdated is how much earlier than now a certificate is good: the clocks of others may be behind.
	backdated = 5 * time.Minute
	// authorityYears is how long an authority lasts.
	authorityYears = 10
)

// ErrExists says that an authority is there already: another one would make all certificates of the first void.
var ErrExists = errors.New("there is one already")

// ErrEnded says that an authority has ended: nothing counts any more that it signed, or would sign.
var ErrEnded = errors.New("the authority has ended")

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Make makes an authority in a directory, which is made if it is missing. It is an error that is ErrExists if there is
// one of the name.
func Make(dir, name, fleet string, now time.Time) error {
	for _, suffix := range []string{keySuffix, certSuffix} {
		path := filepath.Join(dir, name+suffix)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w", path, ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: fmt.Sprintf("%s %s %s", fleet, name, now.UTC().Format(time.DateOnly))},
		NotBefore: now.Add(-backdated), NotAfter: now.AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
		MaxPathLenZero: true,
	}
	return issue(filepath.Join(dir, name), template, nil)
}

// Open reads an authority.
func Open(dir, name string) (*Authority, error) {
	cert, err := ReadCertificate(filepath.Join(dir, name+certSuffix))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+keySuffix)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in PEM", path)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of the certificate beside it", path)
	}
	return &Authority{cert, key}, nil
}

// ended reports whether the authority has ended.
func (a *Authority) ended(now time.Time) bool { return now.After(a.cert.NotAfter) }

// over returns an error that is ErrEnded of an authority in dir that has ended.
func (a *Authority) over(dir, name string, now time.Time) error {
	if !a.ended(now) {
		return nil
	}
	return fmt.Errorf("%s: %w, on %s, and with it all that it signed: make a new one, as docs/certificates.md says "+
		"under New authorities", filepath.Join(dir, name+certSuffix), ErrEnded,
		a.cert.NotAfter.UTC().Format(time.DateOnly))
}

// parseKey reads a key as this package writes it, or as openssl does.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return x509.ParseECPrivateKey(der)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key that cannot sign: %T", key)
	}
	return signer, nil
}

// Subject says whose a certificate is, and what for.
type Subject struct {
	Name string   // common name
	DNS  []string // names and
	IPs  []net.IP // addresses for which it is valid
	URI  *url.URL // may be nil
	// Server and Client say which side of a connection shows it.
	Server, Client bool
}

// Issue makes a key and a certificate of it, in path with the suffixes .key and .crt, in place of what is there. It
// lasts for so long, but no longer than the authority.
func (a *Authority) Issue(path string, s Subject, lasts time.Duration, now time.Time) error {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: s.Name}, DNSNames: s.DNS, IPAddresses: s.IPs,
		NotBefore: now.Add(-backdated), NotAfter: now.Add(lasts),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if s.URI != nil {
		template.URIs = []*url.URL{s.URI}
	}
	if s.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if s.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	return issue(path, template, a)
}

// issue makes a key and a certificate, which by signs, or itself if that is nil.
func issue(path string, template *x509.Certificate, by *Authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if by == nil {
		by = &Authority{template, key}
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := durable.MakeDir(durable.OS, filepath.Dir(path)); err != nil {
		return err
	}
	err = replace(path+keySuffix, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
	if err != nil {
		return err
	}
	return replace(path+certSuffix, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// Copy gives a member the certificate of an authority, unless it is among those that it trusts.
func Copy(dir, name, to string) error {
	text, err := os.ReadFile(filepath.Join(dir, name+certSuffix))
	if err != nil {
		return err
	}
	path := filepath.Join(to, name+certSuffix)
	if before, err := os.ReadFile(path); err == nil && bytes.Contains(before, text) {
		return nil
	}
	if err := durable.MakeDir(durable.OS, to); err != nil {
		return err
	}
	return replace(path, text, 0o644)
}

// replace makes a file have a content, at once. Nobody else can ever read one of mode 0600.
func replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.OS.SyncDir(filepath.Dir(path)) // a key that goes with the power takes all that it signed with it
}

// ReadCertificate reads the first certificate of a file.
func ReadCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, fmt.Errorf("%s: no certificate in PEM", path)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return c, nil
	}
}

// Due says why a certificate, in path with the suffix .crt, has to be made anew; empty if it has not: it is missing, of
// another key (whoever made it anew was stopped before it was done), of another authority or of somebody else, or it
// ends within so long.
func (a *Authority) Due(path string, s Subject, within time.Duration, now time.Time) string {
	pair, err := Open(filepath.Dir(path), filepath.Base(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "it is missing"
	} else if err != nil {
		return err.Error()
	}
	switch c := pair.cert; {
	case c.CheckSignatureFrom(a.cert) != nil:
		return "it is of another authority"
	case c.NotAfter.Sub(now) < within && c.NotAfter.Before(a.cert.NotAfter):
		return fmt.Sprintf("it ends in %d days", int(c.NotAfter.Sub(now).Hours()/24))
	case !s.same(c):
		return "its names are others"
	}
	return ""
}

// same reports whether a certificate is of this subject.
func (s *Subject) same(c *x509.Certificate) bool {
	uri := ""
	if len(c.URIs) > 0 {
		uri = c.URIs[0].String()
	}
	want := ""
	if s.URI != nil {
		want = s.URI.String()
	}
	return c.Subject.CommonName == s.Name && slices.Equal(c.DNSNames, s.DNS) && uri == want &&
		slices.EqualFunc(c.IPAddresses, s.IPs, net.IP.Equal)
}
