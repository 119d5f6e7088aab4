package authority

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"time"
)

// Member is a node or a witness for which certificates are made.
type Member struct {
	Fleet, Region, Name string
	// Peer and Client are hosts at which it is reached, names or addresses: those of the ports for nodes and for
	// clients. A witness has no Client.
	Peer, Client []string
}

// mostCommonName is how long a common name may be, in bytes (RFC 5280).
const mostCommonName = 64

// peer is the subject of the certificate that a member shows to other nodes.
func (m *Member) peer() Subject {
	bound := m.Name + "." + m.Region + "." + m.Fleet
	s := Subject{
		Name: bound, DNS: []string{bound}, Server: true, Client: true,
		URI: &url.URL{Scheme: "mimir", Host: m.Fleet, Path: "/" + m.Region + "/" + m.Name},
	}
	if len(s.Name) > mostCommonName {
		s.Name = m.Name
	}
	s.at(m.Peer)
	return s
}

// server is the subject of the certificate that a node shows to clients: also to those on its machine.
func (m *Member) server() Subject {
	s := Subject{Name: m.Name, DNS: []string{m.Name}, Server: true}
	s.at(append([]string{"localhost", "127.0.0.1", "::1"}, m.Client...))
	return s
}

// at adds hosts for which a certificate is valid.
func (s *Subject) at(hosts []string) {
	for _, host := range hosts {
		ip := net.ParseIP(host)
		switch {
		case host == "" || ip != nil && ip.IsUnspecified():
		case ip != nil && !slices.ContainsFunc(s.IPs, ip.Equal):
			s.IPs = append(s.IPs, ip)
		case ip == nil && !slices.Contains(s.DNS, host):
			s.DNS = append(s.DNS, host)
		}
	}
}

// Client is the subject of a client, or an operator: its common name says which.
func Client(name string) Subject { return Subject{Name: name, Client: true} }

// Made is a file that was made anew, and why.
type Made struct {
	Path string // without suffix
	Why  string
	Ends time.Time
}

// Terms are for how long certificates last, and when they are made anew: within so long of their end, or all of them.
type Terms struct {
	Lasts, Within time.Duration
	All           bool
}

// Members makes what members need, of the authorities in dir and in a directory of each below it, as far as it is due.
// Of an authority that has ended nothing is made, which is an error that is ErrEnded, and all that is due of the other.
func Members(dir string, members []Member, t Terms, now time.Time) (made []Made, err error) {
	peers, err := Open(dir, Peers)
	if err != nil {
		return nil, err
	}
	clients, err := Open(dir, Clients)
	if err != nil {
		return nil, err
	}
	give := func(m *Member, of *Authority, name, file string, s Subject) error {
		if of.ended(now) {
			return nil
		}
		to := filepath.Join(dir, m.Name)
		if err := of.renew(&made, filepath.Join(to, file), s, t, now); err != nil {
			return err
		}
		return Copy(dir, name, to)
	}
	for i := range members {
		m := &members[i]
		if err := give(m, peers, Peers, "peer", m.peer()); err != nil {
			return made, err
		}
		if len(m.Client) == 0 {
			continue
		}
		if err := give(m, clients, Clients, "server", m.server()); err != nil {
			return made, err
		}
	}
	return made, errors.Join(peers.over(dir, Peers, now), clients.over(dir, Clients, now))
}

// One makes the certificate of a client in dir, if it is due. It is an error that is ErrEnded if the authority has
// ended.
func One(dir, name string, t Terms, now time.Time) (made []Made, err error) {
	clients, err := Open(dir, Clients)
	if err == nil {
		err = clients.over(dir, Clients, now)
	}
	if err != nil {
		return nil, err
	}
	return made, clients.renew(&made, filepath.Join(dir, name), Client(name), t, now)
}

// renew makes a certificate that is due.
func (a *Authority) renew(made *[]Made, path string, s Subject, t Terms, now time.Time) error {
	why := a.Due(path, s, t.Within, now)
	if why == "" && t.All {
		why = "all are to be"
	}
	if why == "" {
		return nil
	}
	if err := a.Issue(path, s, t.Lasts, now); err != nil {
		return err
	}
	c, err := ReadCertificate(path + certSuffix)
	if err != nil {
		return err
	}
	*made = append(*made, Made{path, why, c.NotAfter})
	return nil
}
