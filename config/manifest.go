// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What MetalLB calls its ConfigMap, and the key of the document in it.
const (
	configMapName = "config"
	dataKey       = "config"
)

// ParseConfigMap reads a file of manifests as kubectl takes it, with one
// ConfigMap of MetalLB among them, or the document that is in such a ConfigMap
// alone. If several ConfigMaps have a document, the one named config counts.
// Lines in its Errors are those of the file.
func ParseConfigMap(text []byte) (*Config, error) {
	roots, mistake := readYAML(text)
	if mistake != nil {
		return nil, Errors{mistake}
	}
	if !slices.ContainsFunc(roots, isManifest) {
		return Parse(text)
	}
	d := &document{lineAt: func(line int) int { return line }}
	found := d.findConfig(d.objects(roots))
	if err := d.errs.err(); err != nil {
		return nil, err
	}
	if found.null() {
		return parseAt(nil, func(int) int { return found.line })
	}
	node := found.node
	return parseAt([]byte(node.Value), func(line int) int {
		if node.Style&yaml.LiteralStyle != 0 {
			return node.Line + line // the text starts below the |
		}
		return node.Line // where lines were joined or escaped there is no telling
	})
}

// findConfig returns the document in the ConfigMap that is MetalLB's.
func (d *document) findConfig(objects []object) value {
	var configMaps, holding []object
	for _, o := range objects {
		if o.kind != "ConfigMap" {
			continue
		}
		configMaps = append(configMaps, o)
		if _, ok := o.data[dataKey]; ok {
			holding = append(holding, o)
		}
	}
	if named := slices.DeleteFunc(slices.Clone(holding), func(o object) bool { return o.name != configMapName }); len(named) > 0 {
		holding = named
	}
	switch {
	case len(configMaps) == 0:
		d.report(1, "kind", "no ConfigMap here, found "+list(objects, func(o object) string { return o.kind }))
		return value{}
	case len(holding) == 0:
		for _, o := range configMaps {
			o.missingKey()
		}
		return value{}
	case len(holding) > 1:
		holding[1].at.fail("%d ConfigMaps have a key %s, want one or one that is named %s: %s", len(holding), dataKey, configMapName,
			list(holding, func(o object) string { return strings.TrimPrefix(o.namespace+"/"+o.name, "/") }))
		return value{}
	}
	chosen := holding[0]
	if chosen.apiVersion != "v1" {
		chosen.at.fail("apiVersion is %s, want v1", quote(chosen.apiVersion))
	}
	doc := chosen.data[dataKey]
	if !doc.null() && doc.node.Kind != yaml.ScalarNode {
		doc.fail("must be a string, not %s: write %q and indent the document below it", kindName(doc.node), dataKey+": |")
	}
	return doc
}

// missingKey reports that a ConfigMap has no document.
func (o object) missingKey() {
	found := "it has no data"
	if len(o.data) > 0 {
		found = "found " + strings.Join(slices.Sorted(maps.Keys(o.data)), ", ")
	}
	o.at.doc.report(o.at.line, o.at.member("data"), fmt.Sprintf("no key %q in ConfigMap %s, %s", dataKey, quote(o.name), found))
}

// list joins a word for each object, each word once.
func list(objects []object, word func(object) string) string {
	var words []string
	for _, o := range objects {
		if w := word(o); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, ", ")
}

// isManifest reports whether a YAML document is an object of Kubernetes.
func isManifest(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if k := root.Content[i].Value; k == "kind" || k == "apiVersion" {
			return true
		}
	}
	return false
}

// An object is a manifest.
type object struct {
	at                          value
	kind, apiVersion, namespace string
	name                        string
	data                        map[string]value
}

// objects returns the manifests of a file, those in Lists too.
func (d *document) objects(roots []*yaml.Node) []object {
	var all []object
	for _, root := range roots {
		at := value{doc: d, node: root, line: root.Line}
		fields := at.fields()
		if kind := fields["kind"]; kind.node != nil && kind.node.Value == "List" {
			for _, item := range fields["items"].list() {
				all = append(all, newObject(item))
			}
			continue
		}
		all = append(all, newObject(at))
	}
	return all
}

func newObject(at value) object {
	fields := at.fields()
	o := object{at: at, kind: fields["kind"].scalar(), apiVersion: fields["apiVersion"].scalar()}
	if o.kind != "ConfigMap" {
		return o // what other objects look like is not Herald's business
	}
	metadata := fields["metadata"].fields()
	o.name, o.namespace = metadata["name"].scalar(), metadata["namespace"].scalar()
	o.data = fields["data"].fields()
	return o
}

// fields returns the entries of a mapping by key.
func (v value) fields() map[string]value {
	m := map[string]value{}
	for _, e := range v.entries() {
		m[e.key] = e.value
	}
	return m
}

// scalar returns a string without complaint.
func (v value) scalar() string {
	if v.node == nil || v.node.Kind != yaml.ScalarNode {
		return ""
	}
	return v.node.Value
}
