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
)

// WitnessOptions are what a witness is told. All but TLS, PeerRule and the key are required.
type WitnessOptions struct {
	Name, FleetID, DataDir, Listen string
	TLS                            TLS
	PeerRule                       PeerRule
	FleetKeyFile                   string
	KeyOptional                    bool
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
	serverTLS, err := listenerTLS([]string{"h2"}, o.TLS)
	if err != nil {
		return fmt.Errorf("%w: peer-tls: %w", ErrConfig, err)
	}
	dialTLS, err := dialerTLS(o.TLS)
	if err != nil {
		return fmt.Errorf("%w: peer-tls: %w", ErrConfig, err)
	}
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
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen %s: %w", o.Listen, err)
	}
	t, err := grpctransport.New(grpctransport.Options{
		Listener: listener, ServerTLS: serverTLS, ClientTLS: dialTLS, FleetID: o.FleetID, NodeName: o.Name,
		Region: "witness", Logger: o.Logger, Keys: keys, KeyOptional: o.KeyOptional,
		Admit: o.PeerRule.admitting(o.FleetID, o.Logger),
	})
	if err != nil {
		return err
	}
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
