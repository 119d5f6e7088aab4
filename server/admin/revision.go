package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Revision is a revision in JSON: a number up to 2^53, and a string of decimal digits beyond, where readers that know
// only floating point would take another number for it.
type Revision int64

const exactInJSON = 1 << 53

// MarshalJSON writes a number or a string.
func (r Revision) MarshalJSON() ([]byte, error) {
	p := strconv.AppendInt(nil, int64(r), 10)
	if r <= exactInJSON {
		return p, nil
	}
	return strconv.AppendQuote(nil, string(p)), nil
}

// UnmarshalJSON reads either.
func (r *Revision) UnmarshalJSON(p []byte) error {
	if bytes.HasPrefix(p, []byte(`"`)) {
		var s string
		if err := json.Unmarshal(p, &s); err != nil {
			return err
		}
		p = []byte(s)
	}
	n, err := strconv.ParseInt(string(p), 10, 64)
	if err != nil {
		return fmt.Errorf("revision %s: %w", p, err)
	}
	*r = Revision(n)
	return nil
}
