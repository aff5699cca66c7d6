// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/heraldlb/herald/excerpt"
)

// maxExpanded bounds the values that aliases and merge keys may repeat, so that
// a small document cannot become a huge one.
const maxExpanded = 100_000

// A document is a YAML document that is being read, and what is wrong with it.
type document struct {
	errs     Errors
	lineAt   func(int) int // from a line of the document to one of the text
	expanded int           // values reached through aliases and merge keys
}

// A value is a node of a document and the path that leads to it. Reading one
// that is absent or null gives zero values; one of the wrong kind is reported.
type value struct {
	doc     *document
	node    *yaml.Node // aliases resolved; nil if absent
	line    int
	path    string
	aliased bool // reached through an alias
	silent  bool // what is wrong with it was said elsewhere
}

// fail reports a mistake in v. Once aliases have repeated too much, what seems
// to be missing is no mistake of its own.
func (v value) fail(format string, args ...any) {
	if v.silent || v.doc.expanded > maxExpanded {
		return
	}
	v.doc.report(v.line, v.path, fmt.Sprintf(format, args...))
}

func (d *document) report(line int, path, reason string) {
	d.errs = append(d.errs, &Error{Path: path, Line: d.lineAt(line), Reason: reason})
}

// child returns the value of n, which v contains, at path.
func (v value) child(n *yaml.Node, path string) value {
	c := value{doc: v.doc, node: n, line: n.Line, path: path, aliased: v.aliased}
	if n.Kind == yaml.AliasNode {
		c.node, c.line, c.aliased = n.Alias, n.Alias.Line, true
	}
	if c.aliased && !c.doc.expand() {
		c.node = nil
	}
	return c
}

// expand counts one more repeated value and reports whether it is allowed.
func (d *document) expand() bool {
	d.expanded++
	if d.expanded == maxExpanded+1 {
		d.report(1, "", fmt.Sprintf("aliases repeat more than %d values", maxExpanded))
	}
	return d.expanded <= maxExpanded
}

// null reports whether v is absent or null.
func (v value) null() bool { return v.node == nil || v.node.ShortTag() == "!!null" }

// saysNothing reports whether v is absent, null, or a mapping of keys that all say
// nothing.
func (v value) saysNothing() bool {
	if v.null() {
		return true
	}
	if v.node.Kind != yaml.MappingNode {
		return false
	}
	return !slices.ContainsFunc(v.entries(), func(e entry) bool { return !e.value.null() })
}

// is reports whether v is of a kind; otherwise, unless it is null, that is a
// mistake.
func (v value) is(kind yaml.Kind, name string) bool {
	if v.null() {
		return false
	}
	if v.node.Kind != kind {
		what := ""
		if v.path == "" {
			what = "the document "
		}
		v.fail("%smust be %s, not %s", what, name, kindName(v.node))
		return false
	}
	return true
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	}
	return "a string"
}

// text returns a string. As in yaml.v2 a number or boolean stands for the
// characters that were written.
func (v value) text() string {
	if !v.is(yaml.ScalarNode, "a string") {
		return ""
	}
	var s string
	// Neither the tag nor the decoder's message is shown: they may be a password.
	if !knownTag(v.node) || v.node.Decode(&s) != nil {
		v.fail("has a tag that does not fit; a string that starts with ! must be in quotes")
	}
	return s
}

// knownTag reports whether a scalar is of a type that YAML defines. A password
// that starts with ! is a tag unless it is quoted.
func knownTag(n *yaml.Node) bool {
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!binary", "!!merge":
		return true
	}
	return false
}

// booleans are what YAML 1.1 takes for one if it is not in quotes.
var booleans = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true,
	"true": true, "True": true, "TRUE": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false,
	"false": false, "False": false, "FALSE": false, "off": false, "Off": false, "OFF": false,
}

// boolean returns a boolean of YAML 1.1, or absent if there is none.
func (v value) boolean(absent bool) bool {
	if !v.is(yaml.ScalarNode, "true or false") {
		return absent
	}
	b, ok := booleans[v.node.Value]
	plain := v.node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	tag := v.node.ShortTag()
	if !ok || tag != "!!bool" && (tag != "!!str" || !plain || v.node.Style&yaml.TaggedStyle != 0) {
		v.fail("must be true or false, not %s", v.describe())
		return absent
	}
	return b
}

// number returns a whole number from lo to hi; ok is false if there is none.
// As in yaml.v2 the notations of YAML 1.1 (0x, 0b, a leading 0 for octal, _)
// are numbers and one in quotes is not, but fractions are not cut off.
func (v value) number(lo, hi uint64) (n uint64, ok bool) {
	if !v.is(yaml.ScalarNode, "a number") {
		return 0, false
	}
	var decoded any
	if tag := v.node.ShortTag(); tag != "!!int" && tag != "!!float" {
		v.fail("must be a number, not %s", v.describe())
		return 0, false
	}
	if v.node.Decode(&decoded) != nil {
		v.fail("must be a number, not %s", quote(v.node.Value))
		return 0, false
	}
	inRange := false
	switch d := decoded.(type) {
	case int:
		n, inRange = uint64(d), d >= 0
	case int64:
		n, inRange = uint64(d), d >= 0
	case uint64:
		n, inRange = d, true
	case float64:
		if d != math.Trunc(d) || math.IsInf(d, 0) {
			v.fail("must be a whole number, not %s", quote(v.node.Value))
			return 0, false
		}
		n, inRange = uint64(d), d >= 0 && d <= math.MaxUint32
	}
	if !inRange || n < lo || n > hi {
		v.fail("%s is out of range, must be %d to %d", excerpt.Clip(v.node.Value), lo, hi)
		return 0, false
	}
	return n, true
}

// describe names a scalar that is of the wrong type.
func (v value) describe() string { return kindName(v.node) + " " + quote(v.node.Value) }

// list returns the items of a list.
func (v value) list() []value {
	if !v.is(yaml.SequenceNode, "a list") {
		return nil
	}
	items := make([]value, 0, len(v.node.Content))
	for i, n := range v.node.Content {
		items = append(items, v.child(n, fmt.Sprintf("%s[%d]", v.path, i)))
	}
	return items
}

// plainKey is a key that reads well in a path without quotes.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_/.-]{1,80}$`)

// member returns the path of a key's value.
func (v value) member(key string) string {
	switch {
	case !plainKey.MatchString(key):
		return v.path + "[" + quote(key) + "]"
	case v.path == "":
		return key
	}
	return v.path + "." + key
}

// quote returns s in quotes, cut where it is too long to read.
func quote(s string) string { return excerpt.Quote(s) }

// fields returns the entries of a mapping by key.
func (v value) fields() map[string]value {
	m := map[string]value{}
	for _, e := range v.entries() {
		m[e.key] = e.value
	}
	return m
}
