package address

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is one place.
type Address struct {
	Scheme string // empty, http, https, unix or unixs
	Place  string // host:port, or the path of a socket
}

// mostPath bounds the path of a socket: the systems have room for so much.
const mostPath = 103

// Split returns the addresses of a list, which commas or blanks separate.
func Split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// ParseList reads a list of at least one address.
func ParseList(text string) (list []Address, err error) {
	for _, one := range Split(text) {
		a, err := Parse(one)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, errors.New("want host:port")
	}
	return list, nil
}

// Parse reads one address.
func Parse(text string) (a Address, err error) {
	scheme, place, url := strings.Cut(text, "://")
	if !url {
		scheme, place = "", text
	}
	switch scheme {
	case "", "http", "https":
		if url {
			place = strings.TrimSuffix(place, "/")
		}
		err = checkPort(place)
	case "unix", "unixs":
		err = checkPath(place)
	default:
		err = fmt.Errorf("scheme %q is unknown: use http, https, unix or unixs, or host:port alone", scheme)
	}
	return Address{scheme, place}, err
}

func checkPort(place string) error {
	if strings.ContainsAny(place, "/@?#") {
		return errors.New("want host:port, and nothing behind it")
	}
	_, port, err := net.SplitHostPort(place)
	if err != nil {
		if strings.Count(place, ":") > 1 && !strings.Contains(place, "[") {
			return errors.New("want host:port, with an IPv6 address in brackets: [::1]:2379")
		}
		return errors.New("want host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q is not between 0 and 65535", port)
	}
	return nil
}

func checkPath(path string) error {
	if path == "" || strings.HasSuffix(path, "/") {
		return errors.New("want unix:///path of a socket")
	}
	if len(path) > mostPath {
		return fmt.Errorf("the path of a socket has at most %d bytes, this one %d", mostPath, len(path))
	}
	return nil
}

// String returns the address as it is written.
func (a Address) String() string {
	if a.Scheme == "" {
		return a.Place
	}
	return a.Scheme + "://" + a.Place
}

// URL returns the address as clients of etcd write it; secure says whether one without a scheme has TLS.
func (a Address) URL(secure bool) string {
	if a.Scheme != "" {
		return a.String()
	}
	if secure {
		return "https://" + a.Place
	}
	return "http://" + a.Place
}

// Socket reports whether it is a socket of this machine.
func (a Address) Socket() bool { return a.Scheme == "unix" || a.Scheme == "unixs" }

// Secure reports whether TLS is spoken there; block says whether that is so of an address without a scheme.
func (a Address) Secure(block bool) bool {
	return a.Scheme == "https" || a.Scheme == "unixs" || a.Scheme == "" && block
}

// Host returns the host, empty for a socket and for all of the machine's.
func (a Address) Host() string {
	if a.Socket() {
		return ""
	}
	host, _, _ := net.SplitHostPort(a.Place)
	return host
}

func (a Address) port() string {
	_, port, _ := net.SplitHostPort(a.Place)
	return port
}

// Wild reports whether it is every address of the machine, at least of one family.
func (a Address) Wild() bool {
	ip := net.ParseIP(a.Host())
	return !a.Socket() && (a.Host() == "" || ip != nil && ip.IsUnspecified())
}

// Reachable reports whether others can dial it.
func (a Address) Reachable() bool { return a.Socket() || !a.Wild() && a.port() != "0" }

// Exposed reports whether it is reached from other machines.
func (a Address) Exposed() bool {
	ip := net.ParseIP(a.Host())
	return !a.Socket() && a.Host() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// family is 4 or 6, 0 for a name or for both.
func (a Address) family() int {
	switch ip := net.ParseIP(a.Host()); {
	case a.Socket() || ip == nil:
		return 0
	case ip.To4() != nil:
		return 4
	default:
		return 6
	}
}

// Meet reports whether not both can be listened at, as far as the words tell.
func (a Address) Meet(b Address) bool {
	if a.Socket() || b.Socket() {
		return a.Socket() && b.Socket() && a.Place == b.Place
	}
	if a.port() != b.port() || a.port() == "0" {
		return false
	}
	apart := a.family() != 0 && b.family() != 0 && a.family() != b.family()
	if a.Wild() || b.Wild() {
		return !apart
	}
	one, other := net.ParseIP(a.Host()), net.ParseIP(b.Host())
	return a.Host() == b.Host() || one != nil && one.Equal(other)
}
