// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// PoolsOf returns the part of a document that pools are made of: a document again,
// with address-pools and the communities that they may name. The text must be one
// that Parse takes.
func PoolsOf(text []byte) ([]byte, error) {
	root, err := documentOf(text)
	if err != nil {
		return nil, err
	}
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range []string{poolsKey, communitiesKey} {
		if v := member(root, key); v != nil {
			setMember(out, key, v)
		}
	}
	return encode(out)
}

// WithPools returns a document whose pools of these names are those of another one,
// as PoolsOf returns it, also where the document has none of that name. Without names
// it has all pools of the other one and no other. Whether that makes sense is for
// Parse to say.
func WithPools(text, pools []byte, names []string) ([]byte, error) {
	root, err := documentOf(text)
	if err != nil {
		return nil, err
	}
	old, err := documentOf(pools)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		for _, key := range []string{poolsKey, communitiesKey} {
			if v := member(old, key); v != nil {
				setMember(root, key, v)
			}
		}
		return encode(root)
	}
	setMember(root, poolsKey, mergePools(member(root, poolsKey), member(old, poolsKey), names))
	// The pools that stay may name communities that are not there any more.
	was, now := member(old, communitiesKey), member(root, communitiesKey)
	switch {
	case was == nil:
	case now == nil || now.Kind != yaml.MappingNode:
		setMember(root, communitiesKey, was)
	default:
		for i := 0; i+1 < len(was.Content); i += 2 {
			if member(now, was.Content[i].Value) == nil {
				now.Content = append(now.Content, was.Content[i], was.Content[i+1])
			}
		}
	}
	return encode(root)
}

// mergePools returns the list now with those items of old that have one of the names:
// in their places, or at the end.
func mergePools(now, old *yaml.Node, names []string) *yaml.Node {
	keep := map[string]*yaml.Node{}
	for _, item := range items(old) {
		if name := nameOf(item); slices.Contains(names, name) {
			keep[name] = item
		}
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, item := range items(now) {
		name := nameOf(item)
		if kept := keep[name]; kept != nil {
			item = kept
			delete(keep, name)
		}
		list.Content = append(list.Content, item)
	}
	for _, item := range items(old) {
		if keep[nameOf(item)] != nil {
			list.Content = append(list.Content, item)
		}
	}
	return list
}

// The keys of a document that pools are made of.
const (
	poolsKey       = "address-pools"
	communitiesKey = "bgp-communities"
)

// documentOf returns the mapping that a document is, without aliases.
func documentOf(text []byte) (*yaml.Node, error) {
	roots, mistake := readYAML(text)
	if mistake != nil {
		return nil, mistake
	}
	if len(roots) != 1 || roots[0].Kind != yaml.MappingNode {
		return nil, errors.New("the document must be a mapping")
	}
	return unaliased(roots[0]), nil
}

// unaliased returns a copy without anchors and aliases. Parse bounds how often they
// repeat what.
func unaliased(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return unaliased(n.Alias)
	}
	c := *n
	c.Anchor, c.Content = "", nil
	for _, child := range n.Content {
		c.Content = append(c.Content, unaliased(child))
	}
	return &c
}

// member returns the value of a key; nil if there is none.
func member(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func setMember(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

func items(list *yaml.Node) []*yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

// nameOf returns the name of a pool as it is written.
func nameOf(pool *yaml.Node) string {
	if n := member(pool, "name"); n != nil {
		return n.Value
	}
	return ""
}

func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if err := e.Encode(n); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return b.Bytes(), e.Close()
}
