// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/heraldlb/herald/frr/conf"
)

// redacted stands in place of a secret.
const redacted = "[redacted]"

// A redactor hides secrets. It knows them by the names of fields, by the words before them,
// and, in every text, by the values that it has learned before.
type redactor struct {
	known    known
	learning bool // values that it finds become known
}

// A trust says who wrote a text.
type trust bool

const (
	foreign trust = false // anyone: FRR's word "password" hides the rest of a line
	own     trust = true  // Herald, which does not write passwords, and explains where they belong
)

// secretWords are what the name of a secret ends with.
const secretWords = `(?:passwords?|passwd|passphrase|passcode|secrets?|tokens?|credentials?|api[-_.]?keys?|(?:access|private|secret|auth|authentication|encryption)[-_.]?key|key[-_.]?string|md5)`

var (
	secretName = regexp.MustCompile(`(?i)` + secretWords + `$`)
	anySecret  = regexp.MustCompile(`(?i)` + secretWords)
	// reference is the name of a field that says where a secret is.
	reference = regexp.MustCompile(`(?i)(?:password|tls|cert|pull|volume|gossip|listener)[-_.]?secrets?$`)
	// flagName is a flag of a program.
	flagName = regexp.MustCompile(`^--?[\w.-]+$`)
	// shownVariable are variables of the environment that Herald and Go's runtime read. Others
	// may hold anything.
	shownVariable = regexp.MustCompile(`^(?:METALLB_|HERALD_|FRR_|GO[A-Z]|KUBERNETES_|NODE_NAME$|POD_|TZ$)`)
)

// isSecret reports whether the name of a field, variable or flag is that of a secret.
func isSecret(name string) bool { return secretName.MatchString(name) && !reference.MatchString(name) }

// value returns what may be shown of a value that JSON was decoded into, and of which a field of
// a name has the value. It changes maps and lists in place.
func (r *redactor) value(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		r.variable(name, v)
		for k, e := range v {
			v[k] = r.value(k, e)
		}
		return v
	case []any:
		for i, e := range v {
			if s, ok := e.(string); ok {
				flag, value, joined := strings.Cut(s, "=")
				switch {
				case joined && isFlagOfSecret(flag):
					r.learn(value)
					e = flag + "=" + redacted
				case i > 0 && isFlagOfSecret(v[i-1]) && !strings.HasPrefix(s, "-"):
					r.learn(s)
					e = redacted
				}
			}
			v[i] = r.value(name, e)
		}
		return v
	case json.Number:
		if isSecret(name) {
			r.learn(v.String())
			return redacted
		}
	case string:
		if v != "" && isSecret(name) {
			r.learn(v)
			return redacted
		}
		return r.nested(v)
	}
	return v
}

// isFlagOfSecret reports whether an argument is a flag whose value is a secret.
func isFlagOfSecret(v any) bool {
	s, ok := v.(string)
	return ok && flagName.MatchString(s) && isSecret(s)
}

// variable hides the value in an object that has a name and a value: a variable of the
// environment, or a header of a probe.
func (r *redactor) variable(in string, o map[string]any) {
	name, named := o["name"].(string)
	value, has := o["value"].(string)
	if !named || !has || value == "" || value == redacted {
		return
	}
	variable := in == "env" || in == "httpHeaders"
	secret := isSecret(name) || variable && strings.HasSuffix(strings.ToUpper(name), "KEY")
	if secret {
		r.learn(value)
	}
	if secret || variable && !shownVariable.MatchString(name) {
		o["value"] = redacted
	}
}

// nested returns what may be shown of a text that may be a document: JSON, as kubectl keeps it
// in an annotation, MetalLB's YAML, or FRR's configuration.
func (r *redactor) nested(s string) string {
	if trimmed := strings.TrimSpace(s); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		dec := json.NewDecoder(strings.NewReader(trimmed))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) == nil && !dec.More() {
			return compact(r.value("", v))
		}
	}
	switch {
	case isFRR(s):
		r.learnFRR(s)
		s = conf.Mask(s)
	case anySecret.MatchString(s):
		s = r.yaml(s)
	}
	return r.text(s, foreign)
}

// compact returns a value as JSON on one line.
func compact(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return redacted // nothing that was decoded fails to encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var (
	// frrLine begins lines that FRR's configuration alone has.
	frrLine = regexp.MustCompile(`(?m)^\s*(?:no )?(?:router (?:bgp|ospf6?|isis|rip)|neighbor \S+ \S|key chain |key-string |interface \S+\s*$|route-map \S|ip ospf |enable password |address-family |bfd\s*$)`)
	// frrKey is what precedes a key in FRR's configuration. The rest of the line is the key.
	frrKey = regexp.MustCompile(`(?im)((?:\b(?:neighbor[ \t]+\S+[ \t]+password|(?:enable|area|domain)[ \t-]+password(?:[ \t]+(?:clear|md5|\d))?|key-string|authentication-key|message-digest-key[ \t]+\d+[ \t]+md5|isis[ \t]+password(?:[ \t]+(?:clear|md5))?)|^[ \t]*password)[ \t]+)([^\s:=][^\r\n]*)`)

	// lineOf is a line of YAML with a secret alone.
	lineOf = regexp.MustCompile(`(?im)(^[ \t]*(?:-[ \t]+)?["']?[\w.-]*` + secretWords + `["']?[ \t]*:[ \t]+)([^\s{\[|>&*][^\r\n]*)`)
	// colon and equals are a secret with its name in any text.
	colon  = regexp.MustCompile(`(?i)([\w.-]*` + secretWords + `)(\\*["']?[ \t]*:[ \t]*)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,;}\]"'{\[|>&*][^\r\n,;}\]]*)`)
	equals = regexp.MustCompile(`(?i)([\w.-]*` + secretWords + `)(\\*["']?=)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;}\]&]+)`)

	userInfo   = regexp.MustCompile(`(\w://)[^\s/@:]*:[^\s/@]+@`)
	webToken   = regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*`)
	credential = regexp.MustCompile(`((?i:authorization["']?[ \t]*[:=][ \t]*["']?(?:bearer|basic)[ \t]+)|\bBearer[ \t]+)[\w.~+/=-]{8,}`)
	privateKey = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`)
)

// isFRR reports whether a text is configuration of FRR.
func isFRR(s string) bool { return frrLine.MatchString(s) }

// text returns what may be shown of a text that is no document.
func (r *redactor) text(s string, from trust) string {
	s = r.known.hide(s)
	if anySecret.MatchString(s) {
		s = frrKey.ReplaceAllString(s, "${1}"+redacted)
		s = hideNamed(lineOf, s)
		s = hideNamed(colon, s)
		s = hideNamed(equals, s)
		if from == foreign {
			s = conf.Redact(s)
		}
	}
	if strings.Contains(s, "://") {
		s = userInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	}
	s = webToken.ReplaceAllString(s, redacted)
	s = credential.ReplaceAllString(s, "${1}"+redacted)
	return privateKey.ReplaceAllString(s, "${1}"+redacted+"${2}")
}

// hideNamed hides the last group of each match, which begins with the secret's name.
func hideNamed(pattern *regexp.Regexp, s string) string {
	last := 2 * pattern.NumSubexp()
	var b strings.Builder
	from := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(s, -1) {
		name := strings.TrimRight(s[at[2]:at[3]], " \t:\"'")
		secret := s[at[last]:at[last+1]]
		if reference.MatchString(name) || strings.HasPrefix(strings.Trim(secret, `\"'`), redacted[:len(redacted)-1]) {
			continue
		}
		b.WriteString(s[from:at[last]])
		b.WriteString(inQuotes(secret))
		from = at[last+1]
	}
	return b.String() + s[from:]
}

// inQuotes returns the placeholder in the quotes of what it replaces.
func inQuotes(secret string) string {
	for _, q := range []string{`\"`, `"`, `'`} {
		if len(secret) >= 2*len(q) && strings.HasPrefix(secret, q) && strings.HasSuffix(secret, q) {
			return q + redacted + q
		}
	}
	return redacted
}

// learn adds a secret to the known ones, if the redactor is learning.
func (r *redactor) learn(secret string) {
	if r.learning {
		r.known.add(secret)
	}
}

// learnFRR learns the keys in FRR's configuration.
func (r *redactor) learnFRR(s string) {
	for _, m := range frrKey.FindAllStringSubmatch(s, -1) {
		r.learn(m[2])
	}
}
