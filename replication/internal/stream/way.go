package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Way is by whom a sink follows its source: the zero Way is the source itself, any other a region that follows the
// source too and has its history. Only what such a region has is of interest: whether histories fork is for the source
// to say, and whether a copy has to be taken too, as long as it is not silent for silentSource.
type Way struct {
	Region    string
	Addresses []string       // of its nodes, best first
	Epoch     timeline.Epoch // a node of it that is not in this epoch yet, or a later one, is not followed
}

// catchUp is how long a sink waits for a region on its way that has less than this one: who followed the source itself
// is often a little ahead.
const catchUp = 3 * time.Second

// silentSource is for how long no node of the source has to be silent until another region is believed that a copy has
// to be taken: long beside a failure that passes, since a copy is the whole state.
const silentSource = 30 * time.Second

func (k *Sink) way() Way {
	if k.config.Way == nil {
		return Way{}
	}
	return k.config.Way()
}

// byWay follows a region that has the source's history, until that ends. served is false if none of its nodes did, and
// err is what they said.
func (k *Sink) byWay(ctx context.Context, w Way) (served, progress bool, err error) {
	for began := k.config.Clock.Now(); ; {
		var said []error
		for _, address := range w.Addresses {
			f := k.newFollowing(address)
			f.way = w
			err := f.run(ctx)
			k.lost(address, err)
			left := ctx.Err() != nil || errors.Is(err, ErrElsewhere)
			if !left && f.accepted {
				k.missed(w)
			}
			if left || f.accepted {
				return true, f.progress || left, nil
			}
			said = append(said, err)
		}
		err = errors.Join(said...)
		if !errors.Is(err, ErrBehind) || k.config.Clock.Now().Sub(began) >= catchUp || k.way().Region != w.Region {
			k.missed(w)
			return false, false, err
		}
		if k.pause(ctx, k.config.MinBackoff) != nil {
			return true, false, nil
		}
	}
}

// missed has it known that a way did not lead on.
func (k *Sink) missed(w Way) {
	if k.config.Missed != nil {
		k.config.Missed(w)
	}
}

// astray says that the source is to be followed by another way than this session's.
func (f *following) astray() error {
	if w := f.sink.way(); w.Region != f.way.Region {
		return fmt.Errorf("%w: %s instead of %s", ErrElsewhere, w, f.way)
	}
	return nil
}

// String names the way for people.
func (w Way) String() string {
	if w.Region == "" {
		return "the source itself"
	}
	return "region " + w.Region
}
