// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads the YAML document that MetalLB v0.11 and v0.12 have in their
// ConfigMap. It reads YAML as they do, by the rules of version 1.1, and is as
// strict: an unknown or duplicate key is a mistake. So is a document that says
// nothing. Its error is an Errors with all mistakes.
func Parse(text []byte) (*Config, error) {
	return parseAt(text, func(line int) int { return line })
}

// emptyReason is why a document that says nothing is refused: it is somebody's
// half-done work, or what a template made of values that are gone. To take it at
// its word would take every address.
const emptyReason = "the configuration is empty; one without pools is written address-pools: []"

// parseAt does the work of Parse for a document that is part of a text, where
// lineAt finds its lines.
func parseAt(text []byte, lineAt func(int) int) (*Config, error) {
	d := &document{lineAt: lineAt}
	roots, mistake := readYAML(text)
	if mistake != nil {
		d.report(mistake.Line, "", mistake.Reason)
		return nil, d.errs.err()
	}
	root := value{doc: d, line: 1}
	if len(roots) > 0 {
		root.node, root.line = roots[0], roots[0].Line
	}
	if len(roots) > 1 {
		d.report(roots[1].Line, "", "a second YAML document starts here, want one alone")
	}
	p := parser{root: root}
	cfg := p.parse()
	if len(d.errs) == 0 && root.saysNothing() {
		d.report(root.line, "", emptyReason)
	}
	if err := d.errs.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// readYAML returns the contents of the YAML documents in text, without empty
// ones.
func readYAML(text []byte) ([]*yaml.Node, *Error) {
	var roots []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, syntaxError(text, err)
		}
		if root := n.Content[0]; root.ShortTag() != "!!null" {
			roots = append(roots, root)
		}
	}
}

var (
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	tabIndent     = regexp.MustCompile(`(?m)^ *\t[ \t]*[^ \t\r\n#]`)
)

// syntaxError says where text is no YAML and why.
func syntaxError(text []byte, err error) *Error {
	reason := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1 // the decoder leaves out the first
	if m := yamlLine.FindStringSubmatch(reason); m != nil {
		line, _ = strconv.Atoi(m[1])
		reason = reason[len(m[0]):]
	}
	if m := unknownAnchor.FindStringSubmatch(reason); m != nil {
		// The name is not shown: it may be a password that starts with *.
		at, _, _ := bytes.Cut(text, []byte("*"+m[1]))
		return &Error{Line: 1 + bytes.Count(at, []byte("\n")),
			Reason: "an alias refers to an anchor that is not defined; a string that starts with * must be in quotes"}
	}
	if at := tabIndent.FindIndex(text); at != nil {
		return &Error{Line: 1 + bytes.Count(text[:at[0]], []byte("\n")),
			Reason: "indented with a tab, which YAML does not allow"}
	}
	return &Error{Line: line, Reason: "invalid YAML: " + reason}
}

// A parser builds a Config from a document.
type parser struct {
	root     value
	cfg      Config
	alias    map[string]Community // names of communities
	profiles map[string]value     // names of BFD profiles
	echo     []string             // names of peers whose BFD profile has echo-mode
	ranges   []writtenRange       // of all pools
}

// parse reads the whole document. References go to earlier parts, so that the
// order here is not that of the model.
func (p *parser) parse() *Config {
	m := p.root.mapping("address-pools", "peers", "bgp-communities", "bfd-profiles")
	p.readCommunities(m.get("bgp-communities"))
	p.readBFDProfiles(m.get("bfd-profiles"))
	p.readPeers(m.get("peers"))
	p.readPools(m.get("address-pools"))
	p.checkOverlaps()
	p.checkEcho()
	return &p.cfg
}

// unique reports a mistake if name is one of seen, and adds it.
func unique(v value, seen map[string]value, name, what string) {
	if name == "" {
		return
	}
	if first, dup := seen[name]; dup {
		v.fail("duplicate definition of %s %s, already on line %d", what, quote(name), v.doc.lineAt(first.line))
		return
	}
	seen[name] = v
}
