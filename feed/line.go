package feed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Types of lines that are not those of an item.
const (
	linePut    = "put"
	lineDelete = "delete"
	lineKey    = "key"
)

// line is one line. Numbers that may be larger than what most readers of JSON take are strings.
type line struct {
	Type     string `json:"type"`
	Cluster  string `json:"cluster,omitempty"` // in hexadecimal
	Revision int64  `json:"revision,omitempty,string"`
	// Change is the number of a change among all that there are of its revision, from 1 on.
	Change  int `json:"change,omitempty"`
	Changes int `json:"changes,omitempty"`
	*keyValue
	Previous *keyValue `json:"previous,omitempty"`
	Count    *int64    `json:"keys,omitempty"`
	After    *int64    `json:"after,omitempty,string"`
	Given    *bool     `json:"given,omitempty"`
	Token    Token     `json:"token,omitempty"`
}

// keyValue is a key, and what there is of it. Of two names for one thing one is there: with Base64 what is no UTF-8.
type keyValue struct {
	Key            *string `json:"key,omitempty"`
	KeyBase64      *string `json:"keyBase64,omitempty"`
	Value          *string `json:"value,omitempty"`
	ValueBase64    *string `json:"valueBase64,omitempty"`
	CreateRevision int64   `json:"createRevision,omitempty,string"`
	ModRevision    int64   `json:"modRevision,omitempty,string"` // where it is not that of the line
	Version        int64   `json:"version,omitempty,string"`
	Lease          int64   `json:"lease,omitempty,string"`
}

// AppendLines appends an item as lines of JSON, each with its end: one for each change or key, and one for anything
// else. The last line of a revision has the token.
func AppendLines(dst []byte, it *Item) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, l := range linesOf(it) {
		if err := enc.Encode(l); err != nil {
			return dst, err
		}
	}
	return out.Bytes(), nil
}

func linesOf(it *Item) (lines []line) {
	switch it.Kind {
	case Changed:
		for i, e := range it.Events {
			l := changeOf(e)
			l.Revision, l.Change, l.Changes = it.Revision, i+1, len(it.Events)
			lines = append(lines, l)
		}
		lines[len(lines)-1].Token = it.Token
		return lines
	case Keys:
		for _, kv := range it.Keys {
			lines = append(lines, line{Type: lineKey, Revision: it.Revision, keyValue: valueOf(kv, true)})
		}
		return lines
	}
	l := line{Type: string(it.Kind), Revision: it.Revision, Token: it.Token}
	switch it.Kind {
	case Began, Copying:
		l.Cluster = strconv.FormatUint(it.Cluster, 16)
	case Copied:
		l.Count = &it.Count
	case Void:
		l.After, l.Given = &it.After, &it.Given
	}
	return []line{l}
}

func changeOf(e *mvccpb.Event) line {
	l := line{Type: linePut, keyValue: valueOf(e.Kv, false)}
	if e.Type == mvccpb.Event_DELETE {
		l.Type, l.keyValue = lineDelete, &keyValue{}
		l.Key, l.KeyBase64 = textOf(e.Kv.Key)
	}
	if e.PrevKv != nil {
		l.Previous = valueOf(e.PrevKv, true)
		l.Previous.Key, l.Previous.KeyBase64 = nil, nil
	}
	return l
}

// valueOf is a key with its value, and with its revision if the line has another.
func valueOf(kv *mvccpb.KeyValue, revision bool) *keyValue {
	v := &keyValue{CreateRevision: kv.CreateRevision, Version: kv.Version, Lease: kv.Lease}
	v.Key, v.KeyBase64 = textOf(kv.Key)
	v.Value, v.ValueBase64 = textOf(kv.Value)
	if revision {
		v.ModRevision = kv.ModRevision
	}
	return v
}

// textOf is bytes as text, or else in Base64.
func textOf(b []byte) (text, inBase64 *string) {
	if s := string(b); utf8.Valid(b) {
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}
