// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heraldlb/herald/manifest"
)

// What MetalLB calls its ConfigMap, and the key of the document in it.
const (
	configMapName = "config"
	dataKey       = "config"
)

// documentKeys are those at the root of a document.
var documentKeys = []string{"address-pools", "peers", "bgp-communities", "bfd-profiles"}

// A ConfigMap is one that a document may be in.
type ConfigMap struct {
	*manifest.Object
	Aside bool // it is not where Herald reads it
}

// Parse reads the document as the function Parse does. Lines in its Errors are
// those of the file.
func (c ConfigMap) Parse() (*Config, error) {
	field := "data." + dataKey
	text, mistake, ok := c.Text("data", dataKey)
	data := c.Map("data")
	switch raw, said := data[dataKey]; {
	case !said:
		found := "it has no data"
		if len(data) > 0 {
			found = "found " + strings.Join(slices.Sorted(maps.Keys(data)), ", ")
		}
		return nil, Errors{{Line: c.Line(""), Path: "data", Reason: fmt.Sprintf("no key %q in ConfigMap %s, %s", dataKey, quote(c.Name), found)}}
	case mistake != nil:
		what := "a number or a boolean"
		switch raw[0] {
		case '{':
			what = "a mapping"
		case '[':
			what = "a list"
		}
		return nil, Errors{{Line: c.value(field), Path: field, Reason: fmt.Sprintf("must be a string, not %s: write %q and indent the document below it", what, dataKey+": |")}}
	case !ok:
		return parseAt(nil, func(int) int { return c.Line(field) })
	}
	return parseAt([]byte(text), c.Block(field))
}

// value returns the line that a mapping or a list begins on, which may be below
// its key.
func (c ConfigMap) value(field string) int {
	for _, key := range documentKeys {
		if line := c.Line(field + "." + key); line > c.Line(field) {
			return line
		}
	}
	return c.Line(field)
}

// likely reports whether the document is one of MetalLB's, by its keys.
func (c ConfigMap) likely() bool {
	text, _, ok := c.Text("data", dataKey)
	return ok && LooksLikeDocument([]byte(text))
}

// LooksLikeDocument reports whether a text is a YAML document with a key of those
// that Parse takes. What is not for Parse at all has none.
func LooksLikeDocument(text []byte) bool {
	roots, mistake := readYAML(text)
	if mistake != nil || len(roots) == 0 {
		return false
	}
	for i := 0; i+1 < len(roots[0].Content); i += 2 {
		if slices.Contains(documentKeys, roots[0].Content[i].Value) {
			return true
		}
	}
	return false
}

// ParseConfigMap reads a file of manifests as kubectl takes it, with one
// ConfigMap of MetalLB among them, or the document that is in such a ConfigMap
// alone. If several ConfigMaps have a document, the one named config counts.
// Lines in its Errors are those of the file.
func ParseConfigMap(text []byte) (*Config, error) {
	objects, mistakes := manifest.Read("", text)
	if !slices.ContainsFunc(objects, func(o *manifest.Object) bool { return !o.Bare() }) {
		return Parse(text)
	}
	if len(mistakes) > 0 {
		return nil, errorsOf(mistakes)
	}
	chosen, err := chooseConfigMap(objects)
	if err != nil {
		return nil, Errors{err}
	}
	if chosen.APIVersion != "v1" {
		return nil, Errors{{Line: chosen.Line(""), Reason: fmt.Sprintf("apiVersion is %s, want v1", quote(chosen.APIVersion))}}
	}
	if len(chosen.Mistakes) > 0 {
		return nil, errorsOf(chosen.Mistakes)
	}
	return chosen.Parse()
}

func errorsOf(findings []manifest.Finding) Errors {
	var all Errors
	for _, f := range findings {
		all = append(all, &Error{Path: f.Field, Line: f.Line, Reason: f.Message})
	}
	return all
}

// chooseConfigMap returns the ConfigMap that is MetalLB's.
func chooseConfigMap(objects []*manifest.Object) (ConfigMap, *Error) {
	var configMaps, holding []ConfigMap
	for _, o := range objects {
		if o.Kind != "ConfigMap" {
			continue
		}
		c := ConfigMap{Object: o}
		configMaps = append(configMaps, c)
		if _, ok := c.Map("data")[dataKey]; ok {
			holding = append(holding, c)
		}
	}
	if named := slices.DeleteFunc(slices.Clone(holding), func(c ConfigMap) bool { return c.Name != configMapName }); len(named) > 0 {
		holding = named
	}
	switch {
	case len(configMaps) == 0:
		return ConfigMap{}, &Error{Line: 1, Path: "kind", Reason: "no ConfigMap here, found " + list(objects, func(o *manifest.Object) string { return o.Kind })}
	case len(holding) == 0:
		return configMaps[0], nil // whose Parse says so
	case len(holding) > 1:
		names := list(holding, func(c ConfigMap) string { return qualified(c.Namespace, c.Name) })
		return ConfigMap{}, &Error{Line: holding[1].Line(""), Reason: fmt.Sprintf("%d ConfigMaps have a key %s, want one or one that is named %s: %s",
			len(holding), dataKey, configMapName, names)}
	}
	return holding[0], nil
}

// list joins a word for each object, each word once.
func list[T any](objects []T, word func(T) string) string {
	var words []string
	for _, o := range objects {
		if w := word(o); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, ", ")
}
