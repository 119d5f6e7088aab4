package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimir-kv/mimir/server/door"
)

// WitnessOptions are what a witness is told. DataDir, Listen and Fleets are required.
type WitnessOptions struct {
	DataDir, Listen string
	// ListenHTTP is where its metrics and its health are; empty for nowhere.
	ListenHTTP string
	// Fleets are all that it votes in, at most [MaxWitnessFleets].
	Fleets      []WitnessFleet
	TLS         TLS
	KeyOptional bool
	// Crowds are as those of a node.
	Crowds            []string
	Handshakes        Handshakes
	EncryptionKeyFile string
	Logger            *slog.Logger

	again time.Duration // after which a fleet that is not served is tried again; 0: the default
	bound func(*witnessPorts)
}

// WitnessFleet is a fleet that a witness votes in, and whom it takes for a node of it. Name, which is the witness'
// there, and ID are required.
type WitnessFleet struct {
	ID, Name     string
	FleetKeyFile string
	PeerRule     PeerRule
}

// MaxWitnessFleets is in how many fleets one process votes at most.
const MaxWitnessFleets = 32

func (o *WitnessOptions) validate() error {
	if o.DataDir == "" {
		return errors.New("data-dir is missing")
	}
	if len(o.Fleets) == 0 || len(o.Fleets) > MaxWitnessFleets {
		return fmt.Errorf("%d fleets are named: a witness votes in 1 to %d", len(o.Fleets), MaxWitnessFleets)
	}
	named := map[string]bool{}
	for _, f := range o.Fleets {
		if err := cmp.Or(validateName("name", f.Name), validateName("fleet", f.ID)); err != nil {
			return err
		}
		if named[f.ID] {
			return fmt.Errorf("fleet %s is named twice", f.ID)
		}
		named[f.ID] = true
	}
	if _, err := door.ParseCrowds(o.Crowds); err != nil {
		return fmt.Errorf("crowds: %w", err)
	}
	if err := o.TLS.validate(true); err != nil {
		return fmt.Errorf("peer-tls: %w", err)
	}
	o.TLS.complete()
	for _, f := range o.Fleets {
		if err := f.PeerRule.validate(o.TLS); err != nil {
			return fmt.Errorf("peer-tls: %w", err)
		}
	}
	return nil
}

// RunWitness is the whole life of a witness, until ctx ends or none of its fleets can be served any more.
func RunWitness(ctx context.Context, o WitnessOptions) error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	keepPrivate()
	if err := checkPlace(o.DataDir); err != nil {
		return err
	}
	ports, err := o.listen()
	if err != nil {
		return err
	}
	if o.bound != nil {
		o.bound(ports)
	}
	held, err := (&disk{dir: o.DataDir}).hold()
	if err != nil {
		return errors.Join(aWitness.explained(o.DataDir, err), ports.close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go ports.keeper.Run(ctx)
	c := newCrew(o, ports)
	return errors.Join(c.run(ctx), held.Close())
}
