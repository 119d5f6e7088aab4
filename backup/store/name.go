package store

import (
	"fmt"
	"strings"
)

const (
	maxName    = 700
	maxElement = 200
)

// CheckName returns ErrName, with what is wrong, if no object can have this name.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: %.40q...: it has %d bytes, at most %d", ErrName, name, len(name), maxName)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "":
			return fmt.Errorf("%w: %q: there is nothing before, behind or between its slashes", ErrName, name)
		case len(element) > maxElement:
			return fmt.Errorf("%w: %.40q...: an element has %d bytes, at most %d", ErrName, name, len(element),
				maxElement)
		case element[0] == '.':
			return fmt.Errorf("%w: %q: an element begins with a dot", ErrName, name)
		}
		for i := range len(element) {
			if !inName(element[i]) {
				return fmt.Errorf("%w: %q: %q is no letter, digit or one of -_.=@", ErrName, name, element[i])
			}
		}
	}
	return nil
}

// begins reports whether a name can begin with prefix. Some storages refuse to be asked for what none can.
func begins(prefix string) bool {
	return prefix == "" || CheckName(prefix) == nil || CheckName(prefix+"x") == nil
}

func inName(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		strings.IndexByte("-_.=@", b) >= 0
}
