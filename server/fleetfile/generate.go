package fleetfile

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Mark begins every file that is made of a fleet file.
const Mark = "# Made by mimir config generate: change the fleet file, and make it anew."

// Names of the files that mimir cert makes for a member, in its directory.
const (
	PeerCert, PeerKey, PeerCA       = "peer.crt", "peer.key", "peer-ca.crt"
	ServerCert, ServerKey, ClientCA = "server.crt", "server.key", "client-ca.crt"
	NodeFile, WitnessFile           = "mimir.yaml", "witness.sh"
)

// File returns what a member runs with, and the name of the file: settings of a node, the command of a witness.
func (f *Fleet) File(m Member) (name string, text []byte, err error) {
	if m.Region == WitnessRegion {
		text, err = f.command(m)
		return WitnessFile, text, err
	}
	text, err = f.settings(m)
	return NodeFile, text, err
}

// pair is a key of a node's file with its value, in order.
type pair struct {
	key   string
	value any
}

// settings returns the file of a node.
func (f *Fleet) settings(m Member) ([]byte, error) {
	n := m.Node
	pairs := []pair{
		{"name", m.Name}, {"region", m.Region}, {"fleet", f.Fleet}, {"data-dir", n.DataDir},
		{"listen-client", n.Client}, {"listen-peer", n.Peer},
	}
	if n.HTTP != "" {
		pairs = append(pairs, pair{"listen-http", n.HTTP})
	}
	nodes, regions := map[string]string{}, map[string][]string{}
	for _, o := range f.Members() {
		switch o.Region {
		case WitnessRegion:
		case m.Region:
			nodes[o.Name] = o.Node.Peer
		default:
			regions[o.Region] = append(regions[o.Region], o.Node.Peer)
		}
	}
	pairs = append(pairs, pair{"nodes", nodes})
	if len(regions) > 0 {
		pairs = append(pairs, pair{"regions", regions})
	}
	pairs = append(pairs, pair{"initial-primary", f.InitialPrimary})
	pairs = append(append(pairs, f.voting()...), f.security(m.Name)...)
	own, err := merged(f.Settings, f.Regions[m.Region].Settings, n.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", m.Name, err)
	}
	return write(pairs, own)
}

// voting is who votes, and how.
func (f *Fleet) voting() (list []pair) {
	failover := maps.Clone(f.Failover)
	if len(f.Witnesses) > 0 {
		if failover == nil {
			failover = map[string]any{}
		}
		if _, set := failover["automatic"]; !set {
			failover["automatic"] = true
		}
		witnesses := map[string][]string{}
		for name, w := range f.Witnesses {
			witnesses[name] = []string{w.Peer}
		}
		list = append(list, pair{"witnesses", witnesses})
	}
	if len(failover) > 0 {
		list = append(list, pair{"failover", failover})
	}
	return list
}

// security is TLS on both ports, as docs/certificates.md lays it out, and who is an operator.
func (f *Fleet) security(name string) []pair {
	if f.TLS == nil {
		return nil
	}
	at := func(file string) string { return path.Join(named(f.TLS.Dir, name), file) }
	return []pair{
		{"client-tls", map[string]any{
			"cert": at(ServerCert), "key": at(ServerKey), "ca": at(ClientCA), "require-client-cert": true}},
		{"peer-tls", map[string]any{"cert": at(PeerCert), "key": at(PeerKey), "ca": at(PeerCA), "bind": "node"}},
		{"operator", map[string]any{"allowed-cn": f.TLS.Operators}},
	}
}

// merged returns the settings of all nodes, of a region and of a node: the later ones count, key by key, also below
// keys that hold others.
func merged(layers ...map[string]any) (map[string]any, error) {
	all := map[string]any{}
	for _, layer := range layers {
		for key, value := range layer {
			below, nested := value.(map[string]any)
			before, was := all[key].(map[string]any)
			if nested && was {
				both, err := merged(before, below)
				if err != nil {
					return nil, err
				}
				all[key] = both
				continue
			}
			if _, there := all[key]; there && nested != was {
				return nil, fmt.Errorf("%s is written in two ways", key)
			}
			all[key] = value
		}
	}
	return all, nil
}

// write writes pairs in their order, with what own changes of them, and what own has beside them behind.
func write(pairs []pair, own map[string]any) ([]byte, error) {
	for _, key := range slices.Sorted(maps.Keys(own)) {
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.key == key })
		if i < 0 {
			pairs = append(pairs, pair{key, own[key]})
			continue
		}
		if key == "name" || key == "region" || key == "fleet" || key == "nodes" || key == "regions" {
			return nil, fmt.Errorf("%s is not a setting of its own: the fleet file says it", key)
		}
		before, was := pairs[i].value.(map[string]any)
		below, nested := own[key].(map[string]any)
		if !was || !nested {
			pairs[i].value = own[key]
			continue
		}
		both, err := merged(before, below)
		if err != nil {
			return nil, err
		}
		pairs[i].value = both
	}
	out := bytes.NewBufferString(Mark + "\n")
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	document := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		key, value := &yaml.Node{}, &yaml.Node{}
		if err := key.Encode(p.key); err != nil {
			return nil, err
		}
		if err := value.Encode(p.value); err != nil {
			return nil, err
		}
		document.Content = append(document.Content, key, value)
	}
	if err := e.Encode(document); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}
