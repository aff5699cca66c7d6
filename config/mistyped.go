// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
)

// A mistype is a value of JSON that is of another type than its field.
type mistype struct {
	path      string
	want, got string
}

// findMistype returns the first value of v that does not fit what is decoded
// into a t. The path is that of what was written, with the indexes of lists,
// which the decoder's own error does not have.
func findMistype(t reflect.Type, v any, path string) (mistype, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil {
		return mistype{}, false
	}
	wrong := mistype{path, typeName(t), jsonKind(v)}
	switch t.Kind() {
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return wrong, true
		}
		fields := jsonFields(t)
		for _, key := range sortedKeys(object) {
			field, known := fields[key]
			if !known {
				continue
			}
			if m, found := findMistype(field, object[key], path+"."+key); found {
				return m, true
			}
		}
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return wrong, true
		}
		for i, item := range list {
			if m, found := findMistype(t.Elem(), item, index(path, i)); found {
				return m, true
			}
		}
	case reflect.Map:
		object, ok := v.(map[string]any)
		if !ok {
			return wrong, true
		}
		for _, key := range sortedKeys(object) {
			if m, found := findMistype(t.Elem(), object[key], path+"["+quote(key)+"]"); found {
				return m, true
			}
		}
	case reflect.String:
		_, ok := v.(string)
		wrong.got, _, _ = strings.Cut(wrong.got, " ") // a number may be a password
		return wrong, !ok
	case reflect.Bool:
		_, ok := v.(bool)
		return wrong, !ok
	default:
		return wrong, !isNumber(t, v)
	}
	return mistype{}, false
}

// isNumber reports whether a whole number of type t can be v.
func isNumber(t reflect.Type, v any) bool {
	n, ok := v.(float64)
	if !ok || n != math.Trunc(n) {
		return false
	}
	x := reflect.New(t).Elem()
	if x.CanUint() {
		return n >= 0 && n < 1<<64 && !x.OverflowUint(uint64(n))
	}
	return n >= -1<<63 && n < 1<<63 && !x.OverflowInt(int64(n))
}

// elem returns the type of what a list of lists or a pointer holds, t itself
// where it is neither.
func elem(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
		t = t.Elem()
	}
	return t
}

// jsonFields returns the types of the fields that a JSON object of type t may
// have, those of structs that it embeds too; none if t is no struct.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	if t == nil || t.Kind() != reflect.Struct {
		return out
	}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

// jsonKind is how a JSON value is called. A string is not shown: it may be a
// password.
func jsonKind(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case float64:
		b, _ := json.Marshal(v)
		return "number " + string(b)
	case []any:
		return "array"
	}
	return "object"
}

func sortedKeys(object map[string]any) []string {
	var keys []string
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
