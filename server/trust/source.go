package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Kinds of sources, and of certificates in a report.
const (
	kindCertificate = "certificate"
	kindAuthority   = "authority"
	kindChain       = "chain" // what stands behind a certificate in its file
)

// material is what was made of files.
type material struct {
	pair    *tls.Certificate       // of a certificate
	all     []*x509.Certificate    // the certificate and its chain, or the authorities
	lists   []*x509.RevocationList // or lists of revoked certificates, and what they have
	revoked map[identity]bool
	strange []string // what is to be said of lists that revoke less than they seem to, sentences
}

// parser makes material of the texts of files. What it returns beside an error may be used where there is nothing else.
type parser func(texts [][]byte, now time.Time) (material, error)

// source is a certificate with its key, or authorities: files, and what is used of them.
type source struct {
	block, kind string
	files       []string
	parse       parser

	reading chan found // what is being read comes there; nil: nothing is. Of who looks

	mu      sync.Mutex
	hangs   bool // nothing came in time
	used    material
	digest  [sha256.Size]byte // of the files that used was made of
	problem string            // of what is in the files now, if it is not used
	state   string            // of used, as the log was told
	taken   uint64            // replacements that are, or were, used
	refused uint64            // and those that were not
}

// start takes what is there: also what has expired, or is broken in part, since there is nothing before it.
func (s *source) start(now time.Time, log *slog.Logger) error {
	files := s.read()
	if files.err != nil {
		return files.err
	}
	fresh, err := s.parse(files.texts, now)
	if len(fresh.all)+len(fresh.lists) == 0 {
		return fmt.Errorf("%s: %w", s.files[0], err)
	}
	s.used, s.digest = fresh, files.digest
	s.wonder(log)
	s.remind(now, log)
	if err != nil && s.state != StateExpired {
		log.Warn("a file of TLS is used in part", "block", s.block, "file", s.files[0], "err", err)
	}
	return nil
}

// found is what is in files, or why that is not known.
type found struct {
	texts  [][]byte
	digest [sha256.Size]byte
	err    error
}

// read reads the files, which may take as long as their disk likes.
func (s *source) read() (f found) {
	sum := sha256.New()
	for _, name := range s.files {
		text, err := os.ReadFile(name)
		if err != nil {
			return found{err: err}
		}
		fmt.Fprintf(sum, "%d\n", len(text))
		sum.Write(text)
		f.texts = append(f.texts, text)
	}
	f.digest = [sha256.Size]byte(sum.Sum(nil))
	return f
}

// begin has the files read, unless they are being read: where their disk hangs, once.
func (s *source) begin() {
	if s.reading != nil {
		return
	}
	come := make(chan found, 1)
	s.reading = come
	go func() { come <- s.read() }()
}

// wait returns what was read, if it is by the time that late is closed. What hangs since before is not waited for.
func (s *source) wait(late <-chan struct{}, log *slog.Logger) (files found, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case files = <-s.reading:
		ok = true
	default:
		if s.hangs {
			return found{}, false
		}
		s.mu.Unlock()
		select {
		case files = <-s.reading:
			ok = true
		case <-late:
		}
		s.mu.Lock()
	}
	about := []any{"block", s.block, "kind", s.kind, "file", s.files[0]}
	switch {
	case !ok:
		log.Error("a file of TLS is not read, its disk may hang: what it had stays in use", about...)
		s.hangs = true
		return found{}, false
	case s.hangs:
		log.Info("a file of TLS is read again", about...)
	}
	s.reading, s.hangs = nil, false
	return files, true
}

// look reports whether the files have something else that can be used, and uses it.
func (s *source) look(files found, now time.Time, log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.remind(now, log)
	about := []any{"block", s.block, "kind", s.kind, "file", s.files[0]}
	err := files.err
	if err == nil && files.digest == s.digest {
		if s.problem != "" {
			s.problem = ""
			log.Info("a file of TLS is again as it is used", about...)
		}
		return false
	}
	var fresh material
	if err == nil {
		fresh, err = s.parse(files.texts, now)
	}
	if err != nil {
		if text := err.Error(); text != s.problem {
			s.problem = text
			s.refused++
			log.Error("what replaces a file of TLS cannot be used, the former stays in use",
				append(about, "err", err)...)
		}
		return false
	}
	s.used, s.digest, s.problem = fresh, files.digest, ""
	s.taken++
	first := s.entries(now)[0]
	log.Info("a file of TLS was replaced", append(about, "of", first.Subject, "certificates",
		len(fresh.all)+len(fresh.revoked), "until", first.NotAfter)...)
	s.wonder(log)
	return true
}

// wonder tells the log of lists that revoke less than they seem to, when they are taken.
func (s *source) wonder(log *slog.Logger) {
	for _, text := range s.used.strange {
		log.Warn("a list of revoked certificates is of none of the authorities", "block", s.block, "file", s.files[0],
			"problem", text)
	}
}

func (s *source) current() material {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// parsePair reads a certificate with its chain, and its key.
func parsePair(texts [][]byte, now time.Time) (m material, err error) {
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return m, err
	}
	m.pair = &pair
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return material{}, fmt.Errorf("the chain of the certificate: %w", err)
		}
		m.all = append(m.all, c)
	}
	switch leaf := m.all[0]; {
	case now.After(leaf.NotAfter):
		return m, fmt.Errorf("the certificate of %s has expired, on %s", nameOf(leaf), stamp(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return m, fmt.Errorf("the certificate of %s is not valid before %s", nameOf(leaf), stamp(leaf.NotBefore))
	}
	return m, nil
}

const pemBegin = "-----BEGIN CERTIFICATE-----"

// parseAuthorities reads certificates. One of several that cannot be read makes the whole wrong: a file that is half
// written must not end the trust in what it lacks.
func parseAuthorities(texts [][]byte, now time.Time) (m material, err error) {
	text := texts[0]
	want := bytes.Count(text, []byte(pemBegin))
	expired := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, failed := x509.ParseCertificate(block.Bytes)
		if failed != nil {
			err = failed
			continue
		}
		m.all = append(m.all, c)
		if now.After(c.NotAfter) {
			expired++
		}
	}
	switch {
	case want == 0 || len(m.all) == 0 && err == nil:
		return m, errors.New("no certificate in it")
	case err != nil:
		return m, fmt.Errorf("%d of %d certificates in it cannot be read: %w", want-len(m.all), want, err)
	case len(m.all) < want:
		return m, fmt.Errorf("%d of %d certificates in it cannot be read", want-len(m.all), want)
	case expired == len(m.all):
		return m, fmt.Errorf("all authorities in it have expired, %s on %s", nameOf(m.all[0]), stamp(m.all[0].NotAfter))
	}
	return m, nil
}

// nameOf is how people call a certificate.
func nameOf(c *x509.Certificate) string {
	for _, text := range append([]string{c.Subject.String()}, c.DNSNames...) {
		if text != "" {
			return strings.ToValidUTF8(text, "�")
		}
	}
	return "serial " + serialOf(c)
}

func serialOf(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
