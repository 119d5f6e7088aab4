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

// tokenVersion begins a token. Never change what it means.
const tokenVersion = "1"

// place is what a token says.
type place struct {
	Cluster uint64 // of the fleet
	Keys    uint32 // what tells the keys that are followed from others
	// Revision is the one up to which everything was given out, and Given, at most that, the last one at which there
	// was something.
	Revision, Given int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// token is the version, the cluster and the keys in hexadecimal, both revisions, and a CRC-32C of all before, with
// points between.
func (p place) token() Token {
	text := fmt.Sprintf("%s.%x.%08x.%d.%d", tokenVersion, p.Cluster, p.Keys, p.Revision, p.Given)
	return Token(fmt.Sprintf("%s.%08x", text, crc32.Checksum([]byte(text), castagnoli)))
}

// placeOf is what a token says. Every other text is ErrToken.
func placeOf(t Token) (p place, err error) {
	parts := strings.Split(string(t), ".")
	if len(parts) != 6 {
		return p, fmt.Errorf("%w: %.200q", ErrToken, string(t))
	}
	if parts[0] != tokenVersion {
		return p, fmt.Errorf("%w that this version knows: %.200q", ErrToken, string(t))
	}
	var keys uint64
	var errs [4]error
	p.Cluster, errs[0] = strconv.ParseUint(parts[1], 16, 64)
	keys, errs[1] = strconv.ParseUint(parts[2], 16, 32)
	p.Revision, errs[2] = strconv.ParseInt(parts[3], 10, 64)
	p.Given, errs[3] = strconv.ParseInt(parts[4], 10, 64)
	p.Keys = uint32(keys)
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
