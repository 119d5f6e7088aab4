package replication

import (
	"reflect"
	"testing"
)

// shared are the fields of a Config that a node shares with whoever made it, and why that is safe.
var shared = map[string]string{
	"Config.Logger": "a logger is safe for concurrent use, and nobody can change it",
}

// filled makes v hold something in every map, slice and pointer.
func filled(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if shared[path] == "" {
			filled(v.Elem(), path)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0), path+"[]")
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, path+" key")
		filled(value, path+"[]")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	}
}

// sharing returns the paths of what a and b, of the same content, both lead to.
func sharing(a, b reflect.Value, path string) (list []string) {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.IsNil() || shared[path] != "" {
			return nil
		}
		if a.Pointer() == b.Pointer() {
			list = append(list, path)
		}
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			list = append(list, sharing(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)...)
		}
	case reflect.Pointer:
		list = append(list, sharing(a.Elem(), b.Elem(), path)...)
	case reflect.Slice:
		for i := range a.Len() {
			list = append(list, sharing(a.Index(i), b.Index(i), path+"[]")...)
		}
	case reflect.Map:
		for _, key := range a.MapKeys() {
			list = append(list, sharing(a.MapIndex(key), b.MapIndex(key), path+"[]")...)
		}
	}
	return list
}

// Whoever made a Config may change it for the next node while this one runs.
func TestANodeSharesNothingWithItsConfig(t *testing.T) {
	var given Config
	filled(reflect.ValueOf(&given).Elem(), "Config")
	full := given.withDefaults()
	if len(full.Votes.Witnesses["x"]) != 1 || full.Regions["x"][0] != "x" || *full.EntryLevel != *given.EntryLevel {
		t.Fatalf("a copy of something else: %+v", full)
	}
	for _, path := range sharing(reflect.ValueOf(given), reflect.ValueOf(full), "Config") {
		t.Errorf("%s is shared, and read while the node runs", path)
	}
	var empty Config
	if c := empty.copied(); c.Nodes != nil || c.Regions != nil || c.ClientURLs != nil || c.Votes != nil ||
		c.EntryLevel != nil {
		t.Errorf("what is not given is %+v in the copy", c)
	}
}
