package operator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// argument is one of a call, for the audit log.
type argument struct{ name, value string }

// mostArgumentBytes bounds what is told of one.
const mostArgumentBytes = 256

// mostUnprovenBytes bounds what is told of all arguments of a call of who has shown no right.
const mostUnprovenBytes = 512

// short cuts what is too long to be told, and has no character in it for which a log writes six.
func short(s string) string { return cut(s, mostArgumentBytes) }

func cut(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// within returns arguments whose values together are no longer than most, those behind cut.
func within(args []argument, most int) []argument {
	fit := slices.Clone(args)
	for i, one := range fit {
		fit[i].value = cut(one.value, max(0, most))
		most -= len(one.value)
	}
	return fit
}

// fieldsOf returns the fields of a request over gRPC that have one of these names and are set.
func fieldsOf(request any, names []string) (args []argument) {
	m, ok := request.(proto.Message)
	if !ok {
		return nil
	}
	of := m.ProtoReflect()
	for _, name := range names {
		field := of.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || !of.Has(field) {
			continue
		}
		args = append(args, argument{name, short(textOf(field, of.Get(field)))})
	}
	return args
}

func textOf(field protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if field.IsList() {
		var parts []string
		for i := range v.List().Len() {
			parts = append(parts, v.List().Get(i).String())
		}
		return strings.Join(parts, ",")
	}
	switch field.Kind() {
	case protoreflect.EnumKind:
		if value := field.Enum().Values().ByNumber(v.Enum()); value != nil {
			return string(value.Name())
		}
		return fmt.Sprint(v.Enum())
	case protoreflect.Uint64Kind: // an identity, as etcdctl writes it
		return fmt.Sprintf("%x", v.Uint())
	case protoreflect.BytesKind:
		return fmt.Sprintf("%q", v.Bytes())
	case protoreflect.MessageKind:
		var parts []string
		fields := v.Message().Descriptor().Fields()
		for i := range fields.Len() {
			if inner := fields.Get(i); v.Message().Has(inner) {
				parts = append(parts, string(inner.Name())+"="+textOf(inner, v.Message().Get(inner)))
			}
		}
		return strings.Join(parts, " ")
	}
	return v.String()
}

// valuesOf returns what of a request over HTTP has one of these names: in its path, or in its body if it has one, else
// in its query.
func valuesOf(r *http.Request, names []string) (args []argument) {
	if len(names) == 0 {
		return nil
	}
	body, query := bodyOf(r, names), r.URL.Query()
	for _, name := range names {
		value := r.PathValue(name)
		switch {
		case value != "":
		case r.Method == http.MethodPost:
			value = body[name]
		default:
			value = query.Get(name)
		}
		if value != "" {
			args = append(args, argument{name, short(value)})
		}
	}
	return args
}
