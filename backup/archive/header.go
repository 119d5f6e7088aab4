package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// counted is a list of which only the length matters, and which is at most so long. What is announced in a few bytes
// takes many in memory, so that it is counted before it is kept.
type counted struct{}

// mostListed is how many a list of a header has at most.
const mostListed = max(maxReigns, maxMarks)

// UnmarshalJSON implements json.Unmarshaler.
func (counted) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('[') {
		return err // what it is instead the decoding of the header says
	}
	for n := 0; d.More(); n++ {
		if n == mostListed {
			return fmt.Errorf("a list of more than %d", mostListed)
		}
		var nothing struct{}
		if err := d.Decode(&nothing); err != nil {
			return err
		}
	}
	return nil
}

// decodeHeader reads a header, and keeps nothing that is longer than one can be.
func decodeHeader(text []byte, h *Header) error {
	var shape struct {
		To struct {
			Reigns counted
		} `json:"to"`
		Marks counted `json:"marks"`
	}
	if err := json.Unmarshal(text, &shape); err != nil {
		return err
	}
	return json.Unmarshal(text, h)
}
