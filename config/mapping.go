// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An entry is a key of a mapping and its value.
type entry struct {
	key   string
	line  int // of the key
	value value
}

// entries returns the entries of a mapping in document order, those of merge
// keys last. A key that is there twice is a mistake; one that is also in a
// merged mapping overrides that.
func (v value) entries() []entry {
	if !v.is(yaml.MappingNode, "a mapping") {
		return nil
	}
	return v.collect(nil)
}

// collect does the work of entries. within are the mappings that are being
// merged, to notice one that merges itself.
func (v value) collect(within []*yaml.Node) []entry {
	var own, merged []entry
	seen := map[string]int{} // line of the key
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k, n := v.node.Content[i], v.node.Content[i+1]
		line := k.Line
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			v.child(k, v.path).fail("a key must be a string, not %s", kindName(k))
			continue
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v.child(n, v.path).mergeSources(append(within, v.node))...)
			continue
		}
		child := v.child(n, v.member(k.Value))
		if first, dup := seen[k.Value]; dup {
			child.line = line
			child.fail("duplicate key, already on line %d", v.doc.lineAt(first))
			continue
		}
		seen[k.Value] = line
		own = append(own, entry{k.Value, line, child})
	}
	for _, e := range merged {
		if _, overridden := seen[e.key]; !overridden {
			seen[e.key] = e.line
			own = append(own, e)
		}
	}
	return own
}

// mergeSources returns the entries of the mapping, or the list of mappings,
// that a merge key has as its value. Of equal keys the first counts.
func (v value) mergeSources(within []*yaml.Node) []entry {
	v.aliased = true
	switch {
	case v.node == nil:
		return nil
	case slices.Contains(within, v.node):
		v.fail("a merge key (<<) merges a mapping into itself")
		return nil
	case v.node.Kind == yaml.MappingNode:
		return v.collect(within)
	case v.node.Kind != yaml.SequenceNode:
		v.fail("a merge key (<<) must have a mapping or a list of mappings, not %s", kindName(v.node))
		return nil
	}
	var all []entry
	for _, n := range v.node.Content {
		source := v.child(n, v.path)
		if source.node == nil || source.node.Kind != yaml.MappingNode {
			source.fail("a merge key (<<) must have a mapping or a list of mappings")
			continue
		}
		all = append(all, source.mergeSources(within)...)
	}
	return all
}

// A mapping is a mapping whose keys are known.
type mapping struct {
	of     value
	values map[string]value
	meant  map[string]bool // keys that are probably there, but misspelled
	broken bool            // so that any key may be there
}

// mapping reads a mapping; a key that is not in known is a mistake.
func (v value) mapping(known ...string) mapping {
	m := mapping{of: v, values: map[string]value{}, meant: map[string]bool{}}
	before := len(v.doc.errs)
	entries := v.entries()
	m.broken = len(v.doc.errs) > before
	for _, e := range entries {
		if slices.Contains(known, e.key) {
			m.values[e.key] = e.value
			continue
		}
		e.value.line = e.line
		m.unknown(e, known)
	}
	return m
}

// unknown reports a key that is not in known, and remembers what it was
// probably meant to be.
func (m mapping) unknown(e entry, known []string) {
	name, _, joined := strings.Cut(e.key, ":")
	if joined && slices.Contains(known, name) {
		// {password:secret} is a key without a value, and must not be shown.
		m.meant[name] = true
		e.value.path = m.of.member(name)
		e.value.fail("no space after the colon")
		return
	}
	meant := closest(e.key, known)
	if meant == "" {
		e.value.fail("unknown key, want one of %s", strings.Join(known, ", "))
		return
	}
	m.meant[meant] = true
	e.value.fail("unknown key, did you mean %q?", meant)
}

// get returns the value of key. An absent one has the path that it would have,
// and the line of the mapping; it is silent where a complaint that it is absent
// would be the second about one mistake.
func (m mapping) get(key string) value {
	if v, ok := m.values[key]; ok {
		return v
	}
	return value{doc: m.of.doc, line: m.of.line, path: m.of.member(key), silent: m.broken || m.meant[key]}
}
