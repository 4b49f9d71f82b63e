package backbone

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// schemaDialect is the dialect of JSON Schema that contracts are written in.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// schema is a JSON Schema; encoding/json writes its members in order of their
// names, so that the same type gives the same text.
type schema = map[string]any

var (
	timeType          = reflect.TypeFor[time.Time]()
	rawType           = reflect.TypeFor[json.RawMessage]()
	numberType        = reflect.TypeFor[json.Number]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// schemaOf describes what encoding/json writes for a type. A member is required
// when it is always written, and null is allowed where a nil is. Unknown members
// are allowed, since contracts grow by adding. A type within itself has no schema:
// a message is a tree.
func schemaOf(t reflect.Type, within ...reflect.Type) (schema, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("%s contains itself", t)
	}
	switch {
	case t == timeType:
		return schema{"type": "string", "format": "date-time"}, nil
	case t == numberType:
		return schema{"type": "number"}, nil
	case t == rawType, t.Kind() == reflect.Interface, implements(t, marshalerType):
		return schema{}, nil // anything
	case implements(t, textMarshalerType):
		return schema{"type": "string"}, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}, nil
	case reflect.String:
		return schema{"type": "string"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}, nil
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}, nil
	case reflect.Pointer:
		s, err := schemaOf(t.Elem(), within...)
		return nullable(s), err
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return schema{"type": []string{"string", "null"}, "contentEncoding": "base64"}, nil
		}
		items, err := schemaOf(t.Elem(), within...)
		if err != nil {
			return nil, err
		}
		if t.Kind() == reflect.Array {
			return schema{"type": "array", "items": items, "minItems": t.Len(), "maxItems": t.Len()}, nil
		}
		return schema{"type": []string{"array", "null"}, "items": items}, nil
	case reflect.Map:
		values, err := schemaOf(t.Elem(), within...)
		return schema{"type": []string{"object", "null"}, "additionalProperties": values}, err
	case reflect.Struct:
		s := schema{"type": "object", "properties": schema{}}
		required, err := fieldsOf(t, s["properties"].(schema), append(slices.Clone(within), t))
		if len(required) > 0 {
			s["required"] = required
		}
		return s, err
	default:
		return nil, fmt.Errorf("%s has no JSON", t)
	}
}

// fieldsOf describes the members of a struct and returns the names of those that
// are always written.
func fieldsOf(t reflect.Type, properties schema, within []reflect.Type) (required []string, err error) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			embedded, err := fieldsOf(f.Type, properties, append(slices.Clone(within), f.Type))
			if err != nil {
				return nil, err
			}
			required = append(required, embedded...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if !tagged || name == "" {
			name = f.Name
		}
		s, err := schemaOf(f.Type, within...)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		chosen := strings.Split(options, ",")
		if slices.Contains(chosen, "string") {
			s = schema{"type": "string"}
		}
		properties[name] = s
		if !slices.Contains(chosen, "omitempty") && !slices.Contains(chosen, "omitzero") {
			required = append(required, name)
		}
	}
	return required, nil
}

func nullable(s schema) schema {
	switch kind := s["type"].(type) {
	case string:
		s["type"] = []string{kind, "null"}
	case []string:
		if !slices.Contains(kind, "null") {
			s["type"] = append(slices.Clone(kind), "null")
		}
	}
	return s
}

func implements(t, what reflect.Type) bool {
	return t.Implements(what) || reflect.PointerTo(t).Implements(what)
}
