package fleetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrFleetFile says that a fleet file is wrong. The message names file, and line where there is one.
var ErrFleetFile = errors.New("fleet file")

// Fleet is what a fleet file says. In texts of paths, {name} stands for the name of the node.
type Fleet struct {
	Fleet          string             `yaml:"fleet"`
	InitialPrimary string             `yaml:"initial-primary"`
	DataDir        string             `yaml:"data-dir"`
	Ports          Ports              `yaml:"ports"`
	TLS            *TLS               `yaml:"tls"`      // nil: none
	Settings       map[string]any     `yaml:"settings"` // of every node, as in its file
	Regions        map[string]*Region `yaml:"regions"`
	Witnesses      map[string]*Node   `yaml:"witnesses"`
	Failover       map[string]any     `yaml:"failover"` // as in a node's file; with witnesses automatic is true
}

// Ports are those of nodes that name none. HTTP 0: the port for probes is not opened.
type Ports struct {
	Client int `yaml:"client"`
	Peer   int `yaml:"peer"`
	HTTP   int `yaml:"http"`
}

// TLS is where each node has the files of mimir cert, and who is an operator.
type TLS struct {
	Dir       string   `yaml:"dir"`
	Operators []string `yaml:"operators"` // common names; default: operator
}

// Region is its nodes, and what holds for all of them.
type Region struct {
	Settings map[string]any   `yaml:"settings"`
	Nodes    map[string]*Node `yaml:"nodes"`
}

// Node is one node, or a witness. In the file it may be written as its host alone.
type Node struct {
	Host     string         `yaml:"host"`
	Client   string         `yaml:"client"`
	Peer     string         `yaml:"peer"`
	HTTP     string         `yaml:"http"`
	DataDir  string         `yaml:"data-dir"`
	Settings map[string]any `yaml:"settings"`
}

// UnmarshalYAML takes a host, or host:port of a witness, for a node.
func (n *Node) UnmarshalYAML(value *yaml.Node) error {
	if value.Kind == yaml.ScalarNode {
		return value.Decode(&n.Host)
	}
	type plain Node
	return value.Decode((*plain)(n))
}

// Defaults.
const (
	defaultFleet   = "mimir"
	defaultDataDir = "/var/lib/mimir"
	defaultClient  = 2379
	defaultPeer    = 2380
)

// Read reads a fleet file. Errors are ErrFleetFile.
func Read(path string) (*Fleet, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFleetFile, err)
	}
	f, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFleetFile, path, err)
	}
	return f, nil
}

// Parse reads the text of a fleet file, and fills in what it leaves out.
func Parse(text []byte) (*Fleet, error) {
	f := &Fleet{Fleet: defaultFleet, DataDir: defaultDataDir, Ports: Ports{Client: defaultClient, Peer: defaultPeer}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	var more any
	if err := d.Decode(&more); err == nil && more != nil || err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document begins behind ---, which would not be read: make one of both")
	}
	if err := f.complete(); err != nil {
		return nil, err
	}
	return f, f.valid()
}

// complete fills in what is left out.
func (f *Fleet) complete() error {
	if len(f.Regions) == 1 && f.InitialPrimary == "" {
		f.InitialPrimary = f.names()[0]
	}
	if f.TLS != nil && len(f.TLS.Operators) == 0 {
		f.TLS.Operators = []string{"operator"}
	}
	var failures []error
	for _, region := range f.names() {
		r := f.Regions[region]
		if r == nil || len(r.Nodes) == 0 {
			failures = append(failures, fmt.Errorf("region %s has no nodes", region))
			continue
		}
		for _, name := range r.names() {
			failures = append(failures, f.fill(name, r.Nodes[name], true))
		}
	}
	for name, w := range f.Witnesses {
		if w != nil && w.Client != "" {
			failures = append(failures, fmt.Errorf("%s serves no clients: it is a witness", name))
		}
		failures = append(failures, f.fill(name, w, false))
	}
	return errors.Join(failures...)
}

// fill fills in the addresses and the directory of a node.
func (f *Fleet) fill(name string, n *Node, client bool) error {
	if n == nil {
		return fmt.Errorf("%s has no host", name)
	}
	if host, port, err := net.SplitHostPort(n.Host); err == nil && !client { // of a witness, as in a node's file
		n.Host = host
		if n.Peer == "" {
			n.Peer = net.JoinHostPort(host, port)
		}
	}
	at := func(addr *string, port int) {
		if *addr == "" && port != 0 && n.Host != "" {
			*addr = net.JoinHostPort(n.Host, strconv.Itoa(port))
		}
	}
	at(&n.Peer, f.Ports.Peer)
	if client {
		at(&n.Client, f.Ports.Client)
	}
	at(&n.HTTP, f.Ports.HTTP)
	if n.DataDir == "" {
		n.DataDir = f.DataDir
	}
	n.DataDir = named(n.DataDir, name)
	if n.Peer == "" || client && n.Client == "" {
		return fmt.Errorf("%s has no host", name)
	}
	if n.Host == "" {
		host, _, err := net.SplitHostPort(n.Peer)
		if err != nil {
			return fmt.Errorf("%s: peer: %w", name, err)
		}
		n.Host = host
	}
	return nil
}

// named puts the name of a node into a path.
func named(path, name string) string { return strings.ReplaceAll(path, "{name}", name) }

// valid finds what cannot be said of a fleet.
func (f *Fleet) valid() error {
	switch {
	case len(f.Regions) == 0:
		return errors.New("it has no regions")
	case f.InitialPrimary == "":
		return errors.New("initial-primary is missing: the region that takes writes first")
	case f.Regions[f.InitialPrimary] == nil:
		return fmt.Errorf("initial-primary %q is no region; there are %s", f.InitialPrimary,
			strings.Join(f.names(), ", "))
	case f.Regions[WitnessRegion] != nil:
		return fmt.Errorf("a region cannot have the name %s, which stands in the certificates of witnesses: name "+
			"these under witnesses", WitnessRegion)
	case f.TLS != nil && f.TLS.Dir == "":
		return errors.New("tls.dir is missing: where each node has its certificates")
	}
	for _, region := range f.names() {
		if n := len(f.Regions[region].Nodes); n%2 == 0 || n > 7 {
			return fmt.Errorf("region %s has %d nodes: it is formed by 1, 3, 5 or 7", region, n)
		}
	}
	holders := map[string]string{}
	for _, m := range f.Members() {
		if strings.ContainsAny(m.Name, "/\\ \t\n") || m.Name == "" || m.Name == "." || m.Name == ".." {
			return fmt.Errorf("%q is no name of a node", m.Name)
		}
		for _, at := range []string{"name " + m.Name, m.Node.Client, m.Node.Peer, m.Node.HTTP} {
			if other, taken := holders[at]; taken && at != "" {
				return fmt.Errorf("%s of %s is given to %s too", at, m.Name, other)
			}
			holders[at] = m.Name
		}
	}
	return nil
}

func (f *Fleet) names() []string {
	list := make([]string, 0, len(f.Regions))
	for name := range f.Regions {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (r *Region) names() []string {
	list := make([]string, 0, len(r.Nodes))
	for name := range r.Nodes {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Member is a node or a witness of a fleet.
type Member struct {
	Name   string
	Region string // WitnessRegion for a witness
	Node   *Node
}

// WitnessRegion stands in the certificates of witnesses where those of nodes have their region.
const WitnessRegion = "witness"

// Members returns all nodes by region and name, and then the witnesses.
func (f *Fleet) Members() (list []Member) {
	for _, region := range f.names() {
		for _, name := range f.Regions[region].names() {
			list = append(list, Member{name, region, f.Regions[region].Nodes[name]})
		}
	}
	var witnesses []Member
	for name, w := range f.Witnesses {
		witnesses = append(witnesses, Member{name, WitnessRegion, w})
	}
	slices.SortFunc(witnesses, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return append(list, witnesses...)
}

// Member returns the node or witness of a name.
func (f *Fleet) Member(name string) (m Member, ok bool) {
	for _, m := range f.Members() {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}
