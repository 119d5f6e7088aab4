//go:build unix

package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

var updateSchema = flag.Bool("schema", false, "write docs/status.schema.json anew")

const schemaFile = "../../docs/status.schema.json"

// schema is as much of a JSON schema as what is printed needs.
type schema struct {
	Dialect    string             `json:"$schema,omitempty"`
	Title      string             `json:"title,omitempty"`
	Type       any                `json:"type,omitempty"` // a name, or several
	Format     string             `json:"format,omitempty"`
	Properties map[string]*schema `json:"properties,omitempty"`
	Required   []string           `json:"required,omitempty"`
	Items      *schema            `json:"items,omitempty"`
	Values     *schema            `json:"additionalProperties,omitempty"`
}

// lagAsJSON is how replication.Lag writes itself.
type lagAsJSON struct {
	Known    bool    `json:"known"`
	Commands *uint64 `json:"commands"`
	Bytes    *uint64 `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	AtLeast  bool    `json:"atLeast,omitempty"`
}

// special returns the schema of a type that writes itself, nil of others.
func special(t reflect.Type) *schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[admin.Revision]():
		return &schema{Type: []string{"integer", "string"}} // a string beyond 2^53
	case reflect.TypeFor[replication.Lag]():
		return schemaOf(reflect.TypeFor[lagAsJSON]())
	}
	return nil
}

// identifier are keys of identities, which use 64 bits and are strings in JSON.
var identifier = []string{"id", "raftID", "leaderRaftID", "member"}

func schemaOf(t reflect.Type) *schema {
	if s := special(t); s != nil {
		return s
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return &schema{Type: "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return &schema{Type: "integer"}
	case reflect.Slice:
		return &schema{Type: "array", Items: schemaOf(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object", Values: schemaOf(t.Elem())}
	case reflect.Struct:
		s := &schema{Type: "object", Properties: map[string]*schema{}}
		s.fields(t)
		slices.Sort(s.Required)
		return s
	}
	panic(fmt.Sprintf("no schema of %s", t))
}

// fields adds the fields of a struct; those of it count before those of what is embedded.
func (s *schema) fields(t reflect.Type) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			embedded = append(embedded, e)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		if s.Properties[name] != nil {
			continue
		}
		one := schemaOf(f.Type)
		if slices.Contains(identifier, name) && one.Type == "integer" {
			one = &schema{Type: "string"}
		}
		always := !strings.Contains(options, "omit")
		if kind := f.Type.Kind(); always && (kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map) {
			nullable := *one
			nullable.Type = []string{one.Type.(string), "null"}
			one = &nullable
		}
		if s.Properties[name] = one; always {
			s.Required = append(s.Required, name)
		}
	}
	for _, e := range embedded {
		s.fields(e)
	}
}

// TestTheSchemaOfStatusIsDocumented: docs/status.schema.json is what the types say.
func TestTheSchemaOfStatusIsDocumented(t *testing.T) {
	s := schemaOf(reflect.TypeFor[fleetReport]())
	s.Dialect, s.Title = "https://json-schema.org/draft/2020-12/schema", "mimir status --output json"
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *updateSchema {
		if err := os.WriteFile(schemaFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(schemaFile)
	if err != nil || !bytes.Equal(written, text) {
		t.Errorf("%s is not what mimir status prints (%v): go test ./cmd/mimir -run TestTheSchema -schema",
			filepath.Base(schemaFile), err)
	}
}

// checkSchema holds what mimir status prints in the fleet of TestFleetByHand against the schema.
func checkSchema(t *testing.T, endpoints string) {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	var s schema
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := mimir(t, "status", "--output", "json", "--endpoints", endpoints)
	d := json.NewDecoder(strings.NewReader(out))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); code != exitDone || err != nil {
		t.Fatalf("%d %s %v", code, errs, err)
	}
	for _, wrong := range s.holds("", v) {
		t.Errorf("%s in\n%s", wrong, out)
	}
}

// holds returns what of a value is not as the schema says. What the schema does not know is wrong too.
func (s *schema) holds(at string, v any) (wrong []string) {
	kind := kindOfJSON(v)
	names, several := s.Type.([]any)
	if !several {
		names = []any{s.Type}
	}
	if !slices.ContainsFunc(names, func(n any) bool { return n == kind || n == "number" && kind == "integer" }) {
		return []string{fmt.Sprintf("%s is %s, not %v", at, kind, s.Type)}
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			wrong = append(wrong, s.Items.holds(fmt.Sprintf("%s[%d]", at, i), v[i])...)
		}
	case map[string]any:
		for key, value := range v {
			below := s.Properties[key]
			if below == nil {
				below = s.Values
			}
			if below == nil {
				wrong = append(wrong, fmt.Sprintf("%s.%s is not in the schema", at, key))
				continue
			}
			wrong = append(wrong, below.holds(at+"."+key, value)...)
		}
		for _, key := range s.Required {
			if _, there := v[key]; !there {
				wrong = append(wrong, fmt.Sprintf("%s.%s is missing", at, key))
			}
		}
	}
	return wrong
}

func kindOfJSON(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if _, err := v.Int64(); err == nil || !strings.ContainsAny(v.String(), ".eE") {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}
