// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yaml returns a text without the secrets of the YAML in it. Its lines stay where they are, if
// they can: Herald's messages name them.
func (r *redactor) yaml(s string) string {
	docs, err := documents(s)
	if err != nil {
		return r.brokenYAML(s)
	}
	var here known
	for _, n := range secretsOf(docs) {
		here.add(n.Value)
		r.learn(n.Value)
	}
	if len(here.forms) == 0 {
		return s
	}
	here.settle()
	if shown := here.hide(s); allHidden(shown) {
		return shown
	}
	for _, n := range secretsOf(docs) {
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: redacted}
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	for _, d := range docs {
		if err := enc.Encode(d); err != nil {
			return redacted
		}
	}
	if err := enc.Close(); err != nil {
		return redacted
	}
	return uncommented(b.String())
}

// documents decodes the documents of a text.
func documents(s string) (all []*yaml.Node, err error) {
	dec := yaml.NewDecoder(strings.NewReader(s))
	for {
		n := new(yaml.Node)
		switch err := dec.Decode(n); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, n)
	}
}

// secretsOf returns the scalars that are values of secrets.
func secretsOf(docs []*yaml.Node) (out []*yaml.Node) {
	seen := map[*yaml.Node]bool{}
	var walk func(n *yaml.Node, secret bool)
	walk = func(n *yaml.Node, secret bool) {
		switch n.Kind {
		case yaml.AliasNode:
			n = n.Alias
			if secret && n.Kind == yaml.ScalarNode && !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
			return
		case yaml.ScalarNode:
			if secret && n.Value != "" && n.Tag != "!!bool" && n.Tag != "!!null" && !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
			return
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], isSecret(n.Content[i].Value) && n.Content[i+1].Kind != yaml.MappingNode)
			}
			return
		}
		for _, below := range n.Content {
			walk(below, secret)
		}
	}
	for _, d := range docs {
		walk(d, false)
	}
	return out
}

// allHidden reports whether each secret of a text is the placeholder. Without quotes that is a
// list of one word.
func allHidden(s string) bool {
	docs, err := documents(s)
	if err != nil {
		return false
	}
	for _, n := range secretsOf(docs) {
		if v := strings.TrimSpace(n.Value); v != redacted && v != strings.Trim(redacted, "[]") {
			return false
		}
	}
	return true
}

// comment is a line with a comment alone, or the comment behind a value.
var comment = regexp.MustCompile(`(?m)(?:^|[ \t])#.*$`)

// uncommented returns YAML without comments: a value that was written in a way of its own may
// be in one of them.
func uncommented(s string) string { return comment.ReplaceAllString(s, "") }

// keyOf is the name of a secret in a line that may be YAML.
var keyOf = regexp.MustCompile(`(?i)^([ \t]*(?:-[ \t]+)?["']?[\w.-]*` + secretWords + `["']?[ \t]*:)(.*)$`)

// brokenYAML hides secrets in a text that is no YAML, line by line: the rest of a line behind
// the name of a secret, and the lines below it that are further in.
func (r *redactor) brokenYAML(s string) string {
	var b strings.Builder
	inside := -1 // indentation of the secret that the line may belong to
	for line := range strings.Lines(s) {
		text := strings.TrimRight(line, "\r\n")
		end := line[len(text):]
		indent := len(text) - len(strings.TrimLeft(text, " \t"))
		if inside >= 0 && strings.TrimSpace(text) != "" {
			if indent > inside {
				r.learn(text)
				b.WriteString(strings.Repeat(" ", indent) + redacted + end)
				continue
			}
			inside = -1
		}
		if m := keyOf.FindStringSubmatch(text); m != nil && !reference.MatchString(strings.TrimRight(m[1], " \t:\"'")) {
			if v := strings.Trim(m[2], " \t\"'|>-"); v != "" {
				r.learn(v)
			}
			inside = indent
			text = m[1] + " " + redacted
		}
		b.WriteString(text + end)
	}
	return b.String()
}
