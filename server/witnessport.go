package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/server/address"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/trust"
)

// witnessPorts are what a witness is reached by.
type witnessPorts struct {
	fleets *grpctransport.Port
	http   net.Listener // nil: none
	web    *http.Server
	doors  []*door.Door
	keeper *trust.Keeper
}

// listen binds the port of all fleets, which takes no more than that of a node does.
func (o *WitnessOptions) listen() (*witnessPorts, error) {
	for _, text := range o.advice() {
		o.Logger.Warn("open to others", "err", text)
	}
	shares, err := door.Split(door.Limit(), 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s, err := secure(&Config{PeerTLS: o.TLS, Handshakes: o.Handshakes}, 0, o.Logger)
	if err != nil {
		return nil, err
	}
	fleets := map[string]grpctransport.Fleet{}
	for _, f := range o.Fleets {
		keys, err := fleetKeys(f.FleetKeyFile)
		if err != nil {
			return nil, err
		}
		fleets[f.ID] = grpctransport.Fleet{
			Keys: keys, KeyOptional: o.KeyOptional, Admit: f.PeerRule.admitting(f.ID, o.Logger.With("fleet", f.ID)),
		}
	}
	p := &witnessPorts{keeper: s.keeper}
	bound, err := p.bind("listen", o.Listen, shares.Peers, o)
	if err != nil {
		return nil, err
	}
	if o.ListenHTTP != "" {
		if p.http, err = p.bind("listen-http", o.ListenHTTP, shares.HTTP, o); err != nil {
			return nil, errors.Join(err, bound.Close())
		}
	}
	wire := grpctransport.Options{
		Listener: bound, ServerTLS: s.peer, Refused: door.Failed, NodeName: o.Fleets[0].Name, Region: "witness",
		Logger: o.Logger,
	}
	p.fleets, err = grpctransport.NewPort(grpctransport.PortOptions{
		Options: wire, Fleets: fleets, Unknown: refusing(o.Logger),
	})
	if err != nil {
		return nil, errors.Join(err, bound.Close(), p.close())
	}
	return p, nil
}

func (p *witnessPorts) bind(name, addr string, most int, o *WitnessOptions) (net.Listener, error) {
	bound, err := address.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, addr, err)
	}
	crowds, _ := door.ParseCrowds(o.Crowds) // validated
	d := door.New(bound, door.Options{
		Name: name, Most: most, Strangers: door.StrangersOf(most), Logger: o.Logger, VouchProves: name == "listen",
		Crowds: crowds,
	})
	p.doors = append(p.doors, d)
	return d, nil
}

func (p *witnessPorts) close() error {
	if p.fleets != nil {
		p.fleets.Close()
	}
	if p.web != nil {
		return p.web.Close()
	}
	if p.http != nil {
		return p.http.Close()
	}
	return nil
}

// advice returns what is open on a witness, and what to change.
func (o *WitnessOptions) advice() (list []string) {
	add := func(text string) {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	for i := range o.Fleets {
		f := &o.Fleets[i]
		c := Config{ListenPeer: o.Listen, PeerTLS: o.TLS, PeerRule: f.PeerRule, FleetKeyFile: f.FleetKeyFile,
			KeyOptional: o.KeyOptional}
		for _, text := range c.peerAdvice("--listen") {
			add(text)
		}
		if others := o.confused(f); len(others) > 0 {
			add(fmt.Sprintf("nodes of fleet %s can speak as nodes of fleet %s: give each a --fleet-key-file of its "+
				"own (FLEET=FILE), or set --peer-tls-bind to node", strings.Join(others, ", "), f.ID))
		}
	}
	if o.ListenHTTP != "" && exposed(o.ListenHTTP) {
		add("listen-http is plaintext and reached from other machines: have it listen where only your monitoring is")
	}
	return list
}

// confused returns the other fleets whose nodes pass for those of f.
func (o *WitnessOptions) confused(f *WitnessFleet) (others []string) {
	for i := range o.Fleets {
		g := &o.Fleets[i]
		key := f.FleetKeyFile != "" && f.FleetKeyFile != g.FleetKeyFile && !o.KeyOptional
		rule := f.PeerRule.Bind == bindNode || len(f.PeerRule.AllowedCN) > 0 &&
			!slices.Equal(f.PeerRule.AllowedCN, g.PeerRule.AllowedCN) || len(f.PeerRule.AllowedHostnames) > 0 &&
			!slices.Equal(f.PeerRule.AllowedHostnames, g.PeerRule.AllowedHostnames)
		if g != f && !key && !rule {
			others = append(others, g.ID)
		}
	}
	return others
}
