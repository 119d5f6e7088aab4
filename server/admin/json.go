package admin

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode"
)

// identifiers are the keys whose numbers use all 64 bits. Programs that keep numbers as floating point, as those in
// JavaScript and jq do, would change them, so they are strings in JSON. Nodes of before wrote numbers: both are read.
var identifiers = map[string]bool{"id": true, "raftID": true, "leaderRaftID": true, "member": true}

// Marshal is json.Marshal with identifiers as strings.
func Marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return eachIdentifier(text, func(value []byte) []byte {
		if value[0] < '0' || value[0] > '9' {
			return value
		}
		return append(append([]byte{'"'}, value...), '"')
	}), nil
}

// unmarshal is json.Unmarshal of what Marshal wrote, or json.Marshal.
func unmarshal(text []byte, v any) error {
	return json.Unmarshal(eachIdentifier(text, func(value []byte) []byte {
		if digits := bytes.Trim(value, `"`); len(digits) > 0 && len(bytes.Trim(digits, "0123456789")) == 0 {
			return digits
		}
		return value
	}), v)
}

// eachIdentifier returns JSON in which each number or string behind a key of identifiers is replaced.
func eachIdentifier(text []byte, replace func(value []byte) []byte) []byte {
	out, key := make([]byte, 0, len(text)+64), ""
	for at := 0; at < len(text); {
		end := at + 1
		switch c := text[at]; {
		case c == '"':
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(text))
		case c >= '0' && c <= '9':
			for end < len(text) && text[end] >= '0' && text[end] <= '9' {
				end++
			}
		}
		token := text[at:end]
		at = end
		switch c := token[0]; {
		case identifiers[key] && (c == '"' || c >= '0' && c <= '9'):
			token, key = replace(token), ""
		case c == '"' && bytes.HasPrefix(bytes.TrimLeft(text[at:], " \n\t"), []byte{':'}):
			key = string(bytes.Trim(token, `"`))
		case c != ':' && c != ' ' && c != '\n' && c != '\t':
			key = ""
		}
		out = append(out, token...)
	}
	return out
}

// inOneLine returns JSON in whose strings nothing stands for a control character: what did is shown, as JSON has it. So
// a name or a problem that a node sends is one line wherever it is printed, and cannot begin one that looks like
// another's.
func inOneLine(text []byte) []byte {
	if !bytes.ContainsRune(text, '\\') {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for at := 0; at < len(text); at++ {
		out = append(out, text[at])
		if text[at] != '\\' || at+1 == len(text) {
			continue
		}
		at++
		if isControl(text[at:]) {
			out = append(out, '\\')
		}
		out = append(out, text[at])
	}
	return out
}

// isControl reports whether what stands behind a backslash in a string of JSON makes a control character of it.
func isControl(escape []byte) bool {
	switch escape[0] {
	case 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if len(escape) < 5 {
			return false
		}
		r, err := strconv.ParseUint(string(escape[1:5]), 16, 16)
		return err == nil && unicode.IsControl(rune(r))
	}
	return false
}
