package server

import (
	"fmt"

	"github.com/spf13/pflag"
)

// Against compares what a node is told, as [Check] reads it, with what a fleet file makes of it, which is in the file
// made. It returns an ErrConfig of one line for each setting that the fleet file says otherwise, and what it says
// nothing of as notes.
func Against(
	file, made string, lookupEnv func(string) (string, bool), flags *pflag.FlagSet,
) (notes []string, wrong []error) {
	is, f := load(file, lookupEnv, flags)
	if len(f) > 0 {
		return nil, nil // which Check tells
	}
	want, f := load(made, func(string) (string, bool) { return "", false }, nil)
	if len(f) > 0 {
		return nil, f
	}
	preset := DefaultConfig()
	preset.complete()
	for _, s := range settings {
		here, there := s.get(is), s.get(want)
		switch {
		case here == there:
		case there == s.get(&preset):
			notes = append(notes, fmt.Sprintf("%s is %q here, and the fleet file does not set it", s.key, here))
		default:
			f.add("%s is %q here, and %q in the fleet file", s.key, here, there)
		}
	}
	return notes, f
}
