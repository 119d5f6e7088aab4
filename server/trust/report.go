package trust

import (
	"fmt"
	"log/slog"
	"time"
)

// States of a certificate.
const (
	StateExpiring = "expiring" // within Soon
	StateExpired  = "expired"
)

// Soon is how long before its end a certificate is warned of.
const Soon = 30 * 24 * time.Hour

// Certificate is one that is shown or trusted.
type Certificate struct {
	Block string `json:"block"` // of the settings: client-tls
	// Kind is certificate; chain, of what stands behind one in its file; authority; or revocations, a list of revoked
	// certificates, whose Subject is who issued it, Serial its number, and NotAfter when the next is due.
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	Serial   string    `json:"serial"`            // hexadecimal
	NotAfter time.Time `json:"notAfter,omitzero"` // zero, of a list: it does not say
	State    string    `json:"state,omitempty"`   // expiring, expired, or empty
}

// Report is a picture of the files.
type Report struct {
	Certificates []Certificate `json:"certificates,omitempty"` // that are in use
	// Refused says what is in the files and not used, or not read: what is used is what was there before.
	Refused []string `json:"refused,omitempty"`
	// Strange says which lists of revoked certificates revoke less than they seem to.
	Strange []string `json:"strange,omitempty"`
}

// Report returns the picture of this moment. It is nil where there is no TLS.
func (k *Keeper) Report() *Report {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sources) == 0 {
		return nil
	}
	r := &Report{}
	for _, s := range k.sources {
		certificates, problem := s.report(now)
		r.Certificates = append(r.Certificates, certificates...)
		for _, text := range s.current().strange {
			r.Strange = append(r.Strange, s.block+": "+text)
		}
		if problem != "" {
			r.Refused = append(r.Refused, problem)
		}
	}
	return r
}

// Troubles returns what is wrong, and what will be, in sentences. Of authorities one that has expired is wrong only if
// no other is left.
func (r *Report) Troubles(now time.Time) (wrong, soon []string) {
	if r == nil {
		return nil, nil
	}
	alive := map[string]bool{} // blocks with an authority that lasts
	for _, c := range r.Certificates {
		alive[c.Block] = alive[c.Block] || c.Kind == kindAuthority && c.State != StateExpired
	}
	wrong, soon = append(wrong, r.Refused...), append(soon, r.Strange...)
	for _, c := range r.Certificates {
		what := fmt.Sprintf("%s: the %s %s, serial %s,", c.Block, c.Kind, c.Subject, c.Serial)
		switch {
		case c.State == StateExpiring:
			soon = append(soon, fmt.Sprintf("%s expires in %s, on %s", what, left(c.NotAfter.Sub(now)),
				stamp(c.NotAfter)))
		case c.State != StateExpired:
		case c.Kind == kindRevoked:
			wrong = append(wrong, fmt.Sprintf("%s: the list of what %s has revoked, number %s, is out of date since "+
				"%s: what was revoked since is not known", c.Block, c.Subject, c.Serial, stamp(c.NotAfter)))
		case c.Kind == kindCertificate, c.Kind == kindAuthority && !alive[c.Block]:
			wrong = append(wrong, fmt.Sprintf("%s has expired, on %s", what, stamp(c.NotAfter)))
		default:
			soon = append(soon, fmt.Sprintf("%s has expired, on %s: take it away", what, stamp(c.NotAfter)))
		}
	}
	return wrong, soon
}

// left writes a time that is left in whole days, hours or minutes, whichever says enough.
func left(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	default:
		return "less than 2 minutes"
	}
}

func (s *source) report(now time.Time) (list []Certificate, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = s.entries(now)
	switch {
	case s.hangs:
		problem = fmt.Sprintf("%s: %s is not read, its disk may hang: what it had stays in use", s.block, s.files[0])
	case s.problem != "":
		problem = fmt.Sprintf("%s: what replaces %s cannot be used, the former stays in use: %s", s.block, s.files[0],
			s.problem)
	}
	return list, problem
}

// entries are what is used, one by one. mu is held.
func (s *source) entries(now time.Time) (list []Certificate) {
	for i, c := range s.used.all {
		kind := s.kind
		if kind == kindCertificate && i > 0 {
			kind = kindChain
		}
		list = append(list, Certificate{
			Block: s.block, Kind: kind, Subject: nameOf(c), Serial: serialOf(c), NotAfter: c.NotAfter.UTC(),
			State: stateOf(c.NotAfter, now, Soon),
		})
	}
	for _, l := range s.used.lists {
		one := Certificate{Block: s.block, Kind: s.kind, Subject: l.Issuer.String(), NotAfter: l.NextUpdate.UTC()}
		if l.Number != nil {
			one.Serial = l.Number.Text(16)
		}
		if !l.NextUpdate.IsZero() {
			one.State = stateOf(l.NextUpdate, now, 0) // the next comes when it is due
		}
		list = append(list, one)
	}
	return list
}

func stateOf(end, now time.Time, soon time.Duration) string {
	switch left := end.Sub(now); {
	case left < 0:
		return StateExpired
	case left < soon:
		return StateExpiring
	}
	return ""
}

// decisive returns what says how long a source is good: the certificate of this side, of the authorities the one that
// lasts longest, of the lists the one whose next is due first.
func (s *source) decisive(now time.Time) Certificate {
	all := s.entries(now)
	found := all[0]
	for _, c := range all {
		lasts := c.NotAfter.After(found.NotAfter)
		due := !c.NotAfter.IsZero() && (found.NotAfter.IsZero() || c.NotAfter.Before(found.NotAfter))
		if s.kind == kindAuthority && lasts || s.kind == kindRevoked && due {
			found = c
		}
	}
	return found
}

// remind tells the log when what is used comes near its end, and when it has ended. mu is held.
func (s *source) remind(now time.Time, log *slog.Logger) {
	c := s.decisive(now)
	if c.State == s.state {
		return
	}
	s.state = c.State
	about := []any{"block", s.block, "kind", s.kind, "of", c.Subject, "until", c.NotAfter}
	switch {
	case c.State == StateExpiring:
		log.Warn("a certificate expires soon", about...)
	case c.State == StateExpired && s.kind == kindRevoked:
		log.Error("a list of revoked certificates is out of date: what was revoked since is not known", about...)
	case c.State == StateExpired:
		log.Error("a certificate has expired: handshakes fail until it is replaced", about...)
	}
}
