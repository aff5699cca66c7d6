// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"
)

// A document is a YAML document of a text.
type document struct {
	path   string
	number int    // in the text, from 1
	before int    // lines of the text before it
	text   []byte // of this document only

	root   *yaml.Node // see node
	parsed bool
}

// split returns the documents of a text, without those that have only comments.
func split(path string, text []byte) []*document {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var all []*document
	doc := &document{path: path}
	end := func() {
		if hasContent(doc.text) {
			doc.number = len(all) + 1
			all = append(all, doc)
		}
	}
	n := 0
	for line := range bytes.Lines(text) {
		if rest, ok := marker(line, "---"); ok {
			end()
			// Text that follows the marker on its line stays in its column.
			doc = &document{path: path, before: n, text: append([]byte("   "), rest...)}
		} else if _, ok := marker(line, "..."); ok {
			end()
			doc = &document{path: path, before: n, text: []byte("\n")}
		} else {
			doc.text = append(doc.text, line...)
		}
		n++
	}
	end()
	return all
}

// marker reports whether a line is, or begins with, a marker of YAML (section
// 9.1.2 of its specification, version 1.2.2), and returns what follows.
func marker(line []byte, of string) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(line, []byte(of))
	return rest, ok && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}

// hasContent reports whether a text has a line that is neither empty nor a
// comment.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}

var errorLine = regexp.MustCompile(`line (\d+): (.*)`)

// convert returns the document as JSON, as kubectl reads it: by the rules of YAML
// 1.1, where "y" is a boolean.
func (d *document) convert() ([]byte, []Finding) {
	b, err := kyaml.YAMLToJSONStrict(d.text)
	if err == nil {
		return b, nil
	}
	if syntax := yaml.Unmarshal(d.text, new(yaml.Node)); syntax != nil {
		return nil, []Finding{d.syntax(syntax)}
	}
	var all []Finding
	for _, m := range errorLine.FindAllStringSubmatch(err.Error(), -1) {
		line, _ := strconv.Atoi(m[1])
		f := d.finding(IDSyntax, "", "%s", m[2])
		if strings.Contains(m[2], "already set") {
			f.ID = IDDuplicate
		}
		f.Line = d.before + line
		all = append(all, f)
	}
	if len(all) == 0 {
		all = append(all, d.finding(IDSyntax, "", "%s", strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")))
	}
	return nil, all
}

var unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced$`)

var tabIndent = regexp.MustCompile(`(?m)^ *\t[ \t]*[^ \t\r\n#]`)

// syntax returns the finding of why the document is not YAML.
func (d *document) syntax(err error) Finding {
	f := d.finding(IDSyntax, "", "invalid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		f.Line, f.Message = d.before+line, "invalid YAML: "+m[2]
	}
	if at := tabIndent.FindIndex(d.text); at != nil {
		f.Line = d.before + 1 + bytes.Count(d.text[:at[0]], []byte("\n"))
		f.Message = "indented with a tab, which YAML does not allow"
	}
	if m := unknownAnchor.FindStringSubmatch(f.Message); m != nil {
		// The name is not shown: it may be a password that starts with *.
		before, _, _ := bytes.Cut(d.text, []byte("*"+m[1]))
		f.Line = d.before + 1 + bytes.Count(before, []byte("\n"))
		f.Message = "an alias refers to an anchor that is not defined; a string that starts with * must be in quotes"
	}
	return f
}

// finding returns an error at a place.
func (d *document) finding(id, at, format string, args ...any) Finding {
	line, _ := d.find(at)
	return Finding{Path: d.path, Line: line, Severity: Error, ID: id, Message: fmt.Sprintf(format, args...)}
}

// node returns the root, nil if the document is not YAML. It is parsed when a line is
// first needed: most documents have no mistakes and need none.
func (d *document) node() *yaml.Node {
	if !d.parsed {
		d.parsed = true
		var n yaml.Node
		if yaml.Unmarshal(d.text, &n) == nil && len(n.Content) > 0 {
			d.root = n.Content[0]
		}
	}
	return d.root
}

// find returns the value at a path such as items[2].metadata.name, and its line. If the
// value does not exist, find returns nil and the line of the longest part of the path
// that exists.
func (d *document) find(path string) (line int, value *yaml.Node) {
	n := d.node()
	if n == nil {
		return d.before + 1, nil
	}
	line = n.Line
	for path != "" {
		next, at, rest := step(n, path)
		if next == nil {
			return d.before + line, nil
		}
		n, line, path = next, at, rest
	}
	return d.before + line, n
}

// step returns the child of a node at the beginning of a path, the line on which it
// begins, and the rest of the path.
func step(n *yaml.Node, path string) (next *yaml.Node, line int, rest string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.SequenceNode:
		index, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if i, err := strconv.Atoi(index); ok && err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i].Line, strings.TrimPrefix(rest, ".")
		}
	case yaml.MappingNode:
		return member(n, path)
	}
	return nil, 0, ""
}

// member returns the entry of a mapping with the key at the beginning of a path. Keys
// may have dots in them: the longest key counts.
func member(n *yaml.Node, path string) (next *yaml.Node, line int, rest string) {
	best := -1
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		after, ok := strings.CutPrefix(path, key)
		if !ok {
			after, ok = strings.CutPrefix(path, "["+key+"]")
		}
		if !ok || after != "" && after[0] != '.' && after[0] != '[' || len(key) <= best {
			continue
		}
		best = len(key)
		next, line, rest = n.Content[i+1], n.Content[i].Line, strings.TrimPrefix(after, ".")
	}
	if next != nil {
		return next, line, rest
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		merged := []*yaml.Node{n.Content[i+1]}
		if merged[0].Kind == yaml.SequenceNode {
			merged = merged[0].Content
		}
		for _, m := range merged {
			if next, line, rest = step(m, path); next != nil {
				return next, line, rest
			}
		}
	}
	return nil, 0, ""
}
