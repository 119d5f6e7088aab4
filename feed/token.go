package feed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Token is a place from which a feed goes on, of one fleet and of the keys that it followed; "" is none. What is in it
// is nobody's business: it is text without spaces, and one that was cut or changed is refused.
type Token string

// ErrToken says that a text is no token: it was cut, or changed, or is of a later version.
var ErrToken = errors.New("this is no token")

// A token begins with its version, and has so many parts. Never change what they mean.
const (
	// firstVersion has the fleet, the keys and both revisions.
	firstVersion, firstParts = "1", 6
	// historyVersion tells besides what the fleet must have, if its history is still the one that was given out.
	historyVersion, historyParts = "2", 8
)

// place is what a token says.
type place struct {
	Cluster uint64 // of the fleet
	Keys    uint32 // what tells the keys that are followed from others
	// Revision is the one up to which everything was given out, and Given, at most that, the last one at which there
	// was something.
	Revision, Given int64
	// Print is of what was changed at Given (sides.PrintOf), and Member a node that has had Revision; 0: that is not
	// known.
	Print  uint32
	Member uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// token is the version, the cluster and the keys in hexadecimal, both revisions, where one of them is known the print
// and the member in hexadecimal, and a CRC-32C of all before, with points between.
func (p place) token() Token {
	text := fmt.Sprintf("%x.%08x.%d.%d", p.Cluster, p.Keys, p.Revision, p.Given)
	if p.Print == 0 && p.Member == 0 {
		text = firstVersion + "." + text
	} else {
		text = fmt.Sprintf("%s.%s.%08x.%x", historyVersion, text, p.Print, p.Member)
	}
	return Token(fmt.Sprintf("%s.%08x", text, crc32.Checksum([]byte(text), castagnoli)))
}

// placeOf is what a token says. Every other text is ErrToken.
func placeOf(t Token) (p place, err error) {
	parts := strings.Split(string(t), ".")
	switch {
	case len(parts) == 1:
		return p, fmt.Errorf("%w: %.200q", ErrToken, string(t))
	case parts[0] != firstVersion && parts[0] != historyVersion:
		return p, fmt.Errorf("%w that this version knows: %.200q", ErrToken, string(t))
	case len(parts) == firstParts && parts[0] == firstVersion:
	case len(parts) == historyParts && parts[0] == historyVersion:
	default:
		return p, fmt.Errorf("%w: it was cut or changed: %.200q", ErrToken, string(t))
	}
	var keys, print uint64
	var errs [6]error
	p.Cluster, errs[0] = strconv.ParseUint(parts[1], 16, 64)
	keys, errs[1] = strconv.ParseUint(parts[2], 16, 32)
	p.Revision, errs[2] = strconv.ParseInt(parts[3], 10, 64)
	p.Given, errs[3] = strconv.ParseInt(parts[4], 10, 64)
	if len(parts) == historyParts {
		print, errs[4] = strconv.ParseUint(parts[5], 16, 32)
		p.Member, errs[5] = strconv.ParseUint(parts[6], 16, 64)
	}
	p.Keys, p.Print = uint32(keys), uint32(print)
	if errors.Join(errs[:]...) != nil || p.Given < 0 || p.Given > p.Revision || p.token() != t {
		return place{}, fmt.Errorf("%w: it was cut or changed: %.200q", ErrToken, string(t))
	}
	return p, nil
}

// keysOf is what tells keys from others.
func keysOf(key, end []byte) uint32 {
	text := binary.BigEndian.AppendUint64(nil, uint64(len(key)))
	return crc32.Checksum(append(append(text, key...), end...), castagnoli)
}
