package profile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// Profile is one of processor time or of the heap, or several of a kind together.
type Profile struct{ stacks []stack }

// stack is where samples were taken.
type stack struct {
	frames []string // functions, the innermost first
	value  int64    // nanoseconds, or bytes
}

// ErrProfile says that something is no profile.
var ErrProfile = errors.New("no profile of processor time or of the heap")

// Parse reads a profile of Go's: a message of profile.proto, compressed by gzip.
func Parse(p []byte) (*Profile, error) {
	z, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	r := reading{lines: map[uint64][]uint64{}, names: map[uint64]uint64{}}
	if err := fields(text, r.top); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	return r.profile()
}

// Merge adds what another one has.
func (p *Profile) Merge(other *Profile) { p.stacks = append(p.stacks, other.stacks...) }

// reading is a profile of which the parts are not yet put together.
type reading struct {
	strings []string
	lines   map[uint64][]uint64 // functions of a location, the innermost first
	names   map[uint64]uint64   // of functions, in strings
	samples []sample
}

type sample struct {
	locations []uint64
	values    []uint64
}

// Fields of profile.proto.
const (
	ofSample, ofLocation, ofFunction, ofString = 2, 4, 5, 6
	sampleLocation, sampleValue                = 1, 2
	locationID, locationLine, lineFunction     = 1, 4, 1
	functionID, functionName                   = 1, 2
)

func (r *reading) top(field protowire.Number, _ uint64, b []byte) error {
	switch field {
	case ofString:
		r.strings = append(r.strings, string(b))
	case ofSample:
		var s sample
		err := fields(b, func(field protowire.Number, v uint64, b []byte) (err error) {
			switch field {
			case sampleLocation:
				s.locations, err = numbers(s.locations, v, b)
			case sampleValue:
				s.values, err = numbers(s.values, v, b)
			}
			return err
		})
		r.samples = append(r.samples, s)
		return err
	case ofLocation:
		return r.location(b)
	case ofFunction:
		var id, name uint64
		err := fields(b, func(field protowire.Number, v uint64, _ []byte) error {
			switch field {
			case functionID:
				id = v
			case functionName:
				name = v
			}
			return nil
		})
		r.names[id] = name
		return err
	}
	return nil
}

func (r *reading) location(b []byte) error {
	var id uint64
	var lines []uint64
	err := fields(b, func(field protowire.Number, v uint64, b []byte) error {
		switch field {
		case locationID:
			id = v
		case locationLine:
			return fields(b, func(field protowire.Number, v uint64, _ []byte) error {
				if field == lineFunction {
					lines = append(lines, v)
				}
				return nil
			})
		}
		return nil
	})
	r.lines[id] = lines
	return err
}

// profile puts the parts together. The last value of a sample is its time, or the bytes that are held.
func (r *reading) profile() (*Profile, error) {
	p := &Profile{}
	for _, s := range r.samples {
		if len(s.values) < 2 {
			return nil, fmt.Errorf("%w: a sample of %d values", ErrProfile, len(s.values))
		}
		one := stack{value: int64(s.values[len(s.values)-1])}
		for _, l := range s.locations {
			for _, f := range r.lines[l] {
				if at := r.names[f]; at < uint64(len(r.strings)) {
					one.frames = append(one.frames, r.strings[at])
				}
			}
		}
		p.stacks = append(p.stacks, one)
	}
	return p, nil
}

// fields goes over those of a message: v is a number, b are bytes.
func fields(p []byte, each func(field protowire.Number, v uint64, b []byte) error) error {
	for len(p) > 0 {
		field, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return protowire.ParseError(n)
		}
		p = p[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(p)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(p)
		default:
			n = protowire.ConsumeFieldValue(field, kind, p)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		p = p[n:]
		if err := each(field, v, b); err != nil {
			return err
		}
	}
	return nil
}

// numbers adds one, or the packed ones.
func numbers(to []uint64, v uint64, packed []byte) ([]uint64, error) {
	if packed == nil {
		return append(to, v), nil
	}
	for len(packed) > 0 {
		v, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return to, protowire.ParseError(n)
		}
		to, packed = append(to, v), packed[n:]
	}
	return to, nil
}
