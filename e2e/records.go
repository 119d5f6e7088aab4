package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// Record is one stanza under its key.
type Record struct {
	Key   string // /apt/PACKAGE/VERSION/ARCHITECTURE, with #2, #3 and so on for repetitions
	Value []byte // the stanza without the empty line after it
}

// maxStanzaLine is the longest line that a stanza may have.
const maxStanzaLine = 4 << 20

// ReadRecords reads stanzas as `apt-cache dumpavail` prints them, separated by empty lines; at most limit of them if it
// is not 0.
func ReadRecords(r io.Reader, limit int) ([]Record, error) {
	var records []Record
	seen := map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxStanzaLine)
	var stanza []byte
	end := func() {
		if stanza = bytes.TrimRight(stanza, "\n"); len(stanza) == 0 {
			return
		}
		key := stanzaKey(stanza)
		if seen[key]++; seen[key] > 1 {
			key += fmt.Sprintf("#%d", seen[key])
		}
		records = append(records, Record{key, stanza})
		stanza = nil
	}
	for (limit == 0 || len(records) < limit) && lines.Scan() {
		if line := lines.Bytes(); len(line) > 0 {
			stanza = append(append(stanza, line...), '\n')
		} else {
			end()
		}
	}
	if limit == 0 || len(records) < limit {
		end()
	}
	return records, lines.Err()
}

func stanzaKey(stanza []byte) string {
	return "/apt/" + stanzaField(stanza, "Package") + "/" + stanzaField(stanza, "Version") + "/" +
		stanzaField(stanza, "Architecture")
}

// stanzaField returns the value of a field of one line, "-" if there is none.
func stanzaField(stanza []byte, name string) string {
	for line := range bytes.Lines(stanza) {
		if value, ok := bytes.CutPrefix(line, []byte(name+": ")); ok {
			return string(bytes.TrimSpace(value))
		}
	}
	return "-"
}
