// SPDX-License-Identifier: Apache-2.0

// Package manifest reads texts of Kubernetes objects as kubectl does, and finds the line
// of each value.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
)

// An Object is an object of Kubernetes with the members that every kind has. A member of
// the wrong type holds the text as it was written, and one of the Mistakes reports it.
type Object struct {
	Path                string // of the file
	APIVersion, Kind    string
	Namespace, Name     string // empty: not set
	Labels, Annotations map[string]string
	Mistakes            []Finding // about the members above

	doc  *document
	at   string // its path in doc; empty: it is all of doc
	json []byte
}

// ID returns "IPAddressPool/wan", or the part of it that is set.
func (o *Object) ID() string { return strings.Trim(o.Kind+"/"+o.Name, "/") }

// Group returns the API group, empty for the core.
func (o *Object) Group() string {
	group, _, ok := strings.Cut(o.APIVersion, "/")
	if !ok {
		return ""
	}
	return group
}

// Bare reports whether o is not an object: it has neither a kind nor an API version.
func (o *Object) Bare() bool { return o.APIVersion == "" && o.Kind == "" }

// Line returns the line of a field such as spec.addresses[0], or of the longest part of
// its path that exists. The empty field is the object itself.
func (o *Object) Line(field string) int {
	line, _ := o.doc.find(join(o.at, field))
	return line
}

// Finding returns a finding about a field of o.
func (o *Object) Finding(severity Severity, id, field, format string, args ...any) Finding {
	return Finding{
		Path: o.Path, Line: o.Line(field), Severity: severity, ID: id,
		Object: o.ID(), Field: field, Message: fmt.Sprintf(format, args...),
	}
}

// Member returns a member of the object as JSON, nil if it does not exist.
func (o *Object) Member(name string) json.RawMessage { return members(o.json)[name] }

// Map returns the members of a member that is an object, as JSON.
func (o *Object) Map(name string) map[string]json.RawMessage { return members(o.Member(name)) }

// Members returns the names of the members, sorted.
func (o *Object) Members() []string { return slices.Sorted(maps.Keys(members(o.json))) }

// Content returns the object as the API server decodes it, with corrected values for the
// members that have Mistakes. The caller may change it.
func (o *Object) Content() map[string]any {
	var content map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(o.json, &content); err != nil {
		return nil // not possible: it was JSON before
	}
	content["apiVersion"], content["kind"] = o.APIVersion, o.Kind
	metadata, ok := content["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	for name, text := range map[string]string{"name": o.Name, "namespace": o.Namespace} {
		if _, said := metadata[name]; said {
			metadata[name] = text
		}
	}
	for name, texts := range map[string]map[string]string{"labels": o.Labels, "annotations": o.Annotations} {
		if _, said := metadata[name]; said {
			all := map[string]any{}
			for k, v := range texts {
				all[k] = v
			}
			metadata[name] = all
		}
	}
	return content
}

// Decode decodes the object into a struct of its kind, as the API server does: names of
// fields are case-sensitive. It returns the paths of fields that the kind does not have.
func (o *Object) Decode(into any) (unknown []string, err error) {
	b := o.json
	if len(o.Mistakes) > 0 {
		if b, err = json.Marshal(o.Content()); err != nil {
			return nil, err
		}
	}
	strict, err := kjson.UnmarshalStrict(b, into, kjson.DisallowUnknownFields)
	for _, s := range strict {
		var f kjson.FieldError
		if errors.As(s, &f) {
			unknown = append(unknown, f.FieldPath())
		}
	}
	return unknown, err
}

// Text returns a member of a map of strings, such as a Secret's data. A member of
// another type is a mistake. ok is false if the member does not exist.
func (o *Object) Text(member, key string) (text string, mistake *Finding, ok bool) {
	raw, ok := members(members(o.json)[member])[key]
	if !ok || string(raw) == "null" {
		return "", nil, false
	}
	text, mistake = o.text(raw, join(member, key))
	return text, mistake, true
}

// Block returns a function from a line of a string to the line of the file, both from
// 1. If the string's lines were joined or escaped, it returns the line of the string.
func (o *Object) Block(field string) func(line int) int {
	start, node := o.doc.find(join(o.at, field))
	if node == nil || node.Style&yaml.LiteralStyle == 0 {
		return func(int) int { return start }
	}
	first := o.doc.before + node.Line // the text starts below the |
	return func(line int) int { return first + line }
}

// Read returns the objects of a text, with the items of lists one by one, and its
// mistakes. A mistake in one document does not affect the others.
func Read(path string, text []byte) (objects []*Object, mistakes []Finding) {
	for _, doc := range split(path, text) {
		b, wrong := doc.convert()
		if len(wrong) > 0 {
			mistakes = append(mistakes, wrong...)
			continue
		}
		if b = bytes.TrimSpace(b); string(b) == "null" {
			continue
		}
		if !bytes.HasPrefix(b, []byte("{")) {
			mistakes = append(mistakes, doc.finding(IDSyntax, "", "document %d is no object", doc.number))
			continue
		}
		found, wrong := doc.objects(b, "", "", "")
		objects, mistakes = append(objects, found...), append(mistakes, wrong...)
	}
	return objects, mistakes
}

// objects returns the object at a place in a document, or the items of a list. Items
// need neither kind nor API version.
func (d *document) objects(b []byte, at, apiVersion, kind string) (all []*Object, mistakes []Finding) {
	o := &Object{Path: d.path, doc: d, at: at, json: b}
	all = []*Object{o}
	o.read(apiVersion, kind)
	item, ok := strings.CutSuffix(o.Kind, "List")
	var items []json.RawMessage
	if !ok || json.Unmarshal(o.Member("items"), &items) != nil {
		return all, nil
	}
	all = nil
	for i, b := range items {
		place := join(at, fmt.Sprintf("items[%d]", i))
		if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
			mistakes = append(mistakes, d.finding(IDSyntax, place, "item %d of the list is no object", i))
			continue
		}
		found, wrong := d.objects(b, place, o.APIVersion, item)
		all, mistakes = append(all, found...), append(mistakes, wrong...)
	}
	return all, mistakes
}

// read decodes the members that every kind has. An item of a list is of the list's kind
// unless it has its own.
func (o *Object) read(apiVersion, kind string) {
	all := members(o.json)
	if _, ok := all["kind"]; !ok {
		o.APIVersion, o.Kind = apiVersion, kind
	}
	if raw, ok := all["apiVersion"]; ok {
		o.APIVersion = o.member(raw, "apiVersion")
	}
	if raw, ok := all["kind"]; ok {
		o.Kind = o.member(raw, "kind")
	}
	raw, ok := all["metadata"]
	if !ok || string(raw) == "null" {
		return
	}
	if !isMapping(raw) {
		o.mistake("metadata", "want an object, not %s", typeOf(raw))
		return
	}
	metadata := members(raw)
	if raw, ok := metadata["name"]; ok {
		o.Name = o.member(raw, "metadata.name")
	}
	if raw, ok := metadata["namespace"]; ok {
		o.Namespace = o.member(raw, "metadata.namespace")
	}
	o.Labels = o.texts(metadata["labels"], "metadata.labels")
	o.Annotations = o.texts(metadata["annotations"], "metadata.annotations")
	// The mistakes were found before the name was known.
	for i := range o.Mistakes {
		o.Mistakes[i].Object = o.ID()
	}
}

func (o *Object) mistake(field, format string, args ...any) {
	o.Mistakes = append(o.Mistakes, o.Finding(Error, IDMetadata, field, format, args...))
}

// member returns a member that must be a string.
func (o *Object) member(raw json.RawMessage, field string) string {
	text, mistake := o.text(raw, field)
	if mistake != nil {
		o.Mistakes = append(o.Mistakes, *mistake)
	}
	return text
}

// texts returns a map of strings.
func (o *Object) texts(raw json.RawMessage, field string) map[string]string {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if !isMapping(raw) {
		o.mistake(field, "want an object, not %s", typeOf(raw))
		return nil
	}
	out := map[string]string{}
	all := members(raw)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out[k] = o.member(all[k], join(field, k))
	}
	return out
}

// text returns a value that must be a string. For another scalar it returns the text as
// it was written. Null is the empty string, as for the API server.
func (o *Object) text(raw json.RawMessage, field string) (string, *Finding) {
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		return s, nil
	}
	f := o.Finding(Error, IDMetadata, field, "want a string, not %s", typeOf(raw))
	if raw[0] == '{' || raw[0] == '[' {
		return "", &f
	}
	f.Message += ": put it in quotes"
	if _, node := o.doc.find(join(o.at, field)); node != nil {
		return node.Value, &f
	}
	return string(raw), &f
}

// members returns the members of a JSON object.
func members(b []byte) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if len(b) == 0 || json.Unmarshal(b, &all) != nil {
		return nil
	}
	return all
}

func isMapping(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// typeOf names the type of a JSON value.
func typeOf(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return "null"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "a list"
	case raw[0] == '"':
		return "a string"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	}
	return "a number"
}

// join returns the path of a member.
func join(path, member string) string {
	if path == "" || member == "" || strings.HasPrefix(member, "[") {
		return path + member
	}
	return path + "." + member
}
