package operator

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// Certificates is the right of those whose certificate is as it says. What is empty asks for nothing; of what is set,
// each must hold. It is not in use if nothing is set.
type Certificates struct {
	AllowedCN        []string // the common name is one of these
	AllowedHostnames []string // it is valid for one of these
	AllowedURIs      []string // it has one of these
}

// Set reports whether it asks for anything.
func (r *Certificates) Set() bool {
	return len(r.AllowedCN) > 0 || len(r.AllowedHostnames) > 0 || len(r.AllowedURIs) > 0
}

// Used implements [Link].
func (r *Certificates) Used() bool { return r.Set() }

// Operator implements [Link].
func (r *Certificates) Operator(_ context.Context, caller *Caller) (who string, err error) {
	c := caller.Certificate
	switch {
	case !r.Set():
		return "", ErrUnused
	case c == nil:
		return "", errors.New("no certificate was shown")
	case len(r.AllowedCN) > 0 && (c.Subject.CommonName == "" || !slices.Contains(r.AllowedCN, c.Subject.CommonName)):
		return "", fmt.Errorf("the certificate is of %q, which is not in operator.allowed-cn", c.Subject.CommonName)
	case len(r.AllowedHostnames) > 0 &&
		!slices.ContainsFunc(r.AllowedHostnames, func(h string) bool { return c.VerifyHostname(h) == nil }):
		return "", fmt.Errorf("the certificate, of %q, is valid for nothing in operator.allowed-hostname",
			c.Subject.CommonName)
	case len(r.AllowedURIs) > 0 && !slices.ContainsFunc(c.URIs, func(u *url.URL) bool {
		return slices.Contains(r.AllowedURIs, u.String())
	}):
		return "", fmt.Errorf("the certificate, of %q, has no URI of operator.allowed-uri", c.Subject.CommonName)
	}
	return "certificate " + c.Subject.String(), nil
}

// mostNames bounds the names of a certificate that are told.
const mostNames = 8

// namesOf returns the alternative names of a certificate.
func namesOf(c *x509.Certificate) (names []string) {
	add := func(kind, name string) {
		if len(names) < mostNames {
			names = append(names, kind+":"+short(name))
		}
	}
	for _, u := range c.URIs {
		add("URI", u.String())
	}
	for _, name := range c.DNSNames {
		add("DNS", name)
	}
	for _, name := range c.EmailAddresses {
		add("email", name)
	}
	for _, ip := range c.IPAddresses {
		add("IP", ip.String())
	}
	return names
}
