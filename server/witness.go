package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/replication/witness"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/trust"
)

// WitnessOptions are what a witness is told. All but TLS, PeerRule, Handshakes and the key are required.
type WitnessOptions struct {
	Name, FleetID, DataDir, Listen string
	TLS                            TLS
	PeerRule                       PeerRule
	FleetKeyFile                   string
	KeyOptional                    bool
	Handshakes                     Handshakes
	EncryptionKeyFile              string
	Logger                         *slog.Logger
}

func (o *WitnessOptions) validate() error {
	if err := cmp.Or(validateName("name", o.Name), validateName("fleet", o.FleetID)); err != nil {
		return err
	}
	if o.DataDir == "" {
		return errors.New("data-dir is missing")
	}
	if err := o.TLS.validate(true); err != nil {
		return fmt.Errorf("peer-tls: %w", err)
	}
	return nil
}

// RunWitness is the whole life of a witness, until ctx ends or it cannot go on.
func RunWitness(ctx context.Context, o WitnessOptions) error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	o.TLS.complete()
	keepPrivate()
	if err := checkPlace(o.DataDir); err != nil {
		return err
	}
	if err := o.PeerRule.validate(o.TLS); err != nil {
		return fmt.Errorf("%w: peer-tls: %w", ErrConfig, err)
	}
	keys, err := fleetKeys(o.FleetKeyFile)
	if err != nil {
		return err
	}
	t, keeper, err := o.transport(keys)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go keeper.Run(ctx)
	w, err := startWitness(o, t)
	if err != nil {
		return aWitness.explained(o.DataDir, err)
	}
	select {
	case <-ctx.Done():
		return w.Shutdown()
	case <-w.Failed():
		return aWitness.explained(o.DataDir, fmt.Errorf("witness %s stopped: %w", o.Name, w.Err()))
	}
}

// transport binds the port of a witness, which takes no more than that of a node does.
func (o *WitnessOptions) transport(keys [][]byte) (transport.Transport, *trust.Keeper, error) {
	c := Config{ListenPeer: o.Listen, PeerTLS: o.TLS, PeerRule: o.PeerRule, Handshakes: o.Handshakes,
		FleetKeyFile: o.FleetKeyFile, KeyOptional: o.KeyOptional}
	for _, text := range c.peerAdvice("--listen") {
		o.Logger.Warn("open to others", "err", text)
	}
	shares, err := door.Split(door.Limit(), 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s, err := secure(&c, 0, o.Logger)
	if err != nil {
		return nil, nil, err
	}
	bound, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen %s: %w", o.Listen, err)
	}
	wire := grpctransport.Options{
		Listener: door.New(bound, door.Options{
			Name: "listen", Most: shares.Peers, Strangers: door.StrangersOf(shares.Peers), Logger: o.Logger,
		}),
		ServerTLS: s.peer, Refused: door.Failed, FleetID: o.FleetID, NodeName: o.Name,
		Region: "witness", Logger: o.Logger, Keys: keys, KeyOptional: o.KeyOptional,
		Admit: o.PeerRule.admitting(o.FleetID, o.Logger),
	}
	if s.dial != nil {
		wire.ClientCredentials = s.dial
	}
	t, err := grpctransport.New(wire)
	return t, s.keeper, err
}

// startWitness opens its directory, and starts it there.
func startWitness(o WitnessOptions, t transport.Transport) (*witness.Witness, error) {
	disk := &disk{dir: o.DataDir}
	held, err := disk.open(o.EncryptionKeyFile, o.Logger)
	if err == nil && held != nil {
		err = held.Close()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return witness.Start(witness.Config{
		Name: o.Name, FleetID: o.FleetID, DataDir: o.DataDir, FS: disk.libraryFS(), Logger: o.Logger,
	}, t)
}
