// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// secretWords are parts of a word that a secret may follow, in any of FRR's daemons:
// "key-string X", "ip ospf authentication-key X", "area-password clear X".
var secretWords = []string{"key", "pass", "secret", "auth", "md5", "community"}

// Brief returns what may be shown of a line that Herald did not write: its first two
// words, or only the first if a secret may follow that.
func Brief(line string) string {
	words := strings.Fields(line)
	n := 2
	if len(words) > 0 && words[0] == "no" {
		n = 3
	}
	for i, w := range words[:min(n, len(words))] {
		if mayPrecedeSecret(w) {
			n = i + 1
		}
	}
	if len(words) <= n {
		return strings.Join(words, " ")
	}
	return strings.Join(words[:n], " ") + " " + redacted
}

// Mask returns raw configuration for its owner to show: of each line it hides what follows the
// first word that a secret may follow. Line breaks stay.
func Mask(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, at := range token.FindAllStringIndex(line, -1) {
			rest := strings.TrimRight(line[at[1]:], "\r\n")
			if strings.TrimSpace(rest) != "" && mayPrecedeSecret(line[at[0]:at[1]]) {
				line = line[:at[1]] + " " + redacted + line[at[1]+len(rest):]
				break
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// mayPrecedeSecret reports whether a secret may follow a word.
func mayPrecedeSecret(word string) bool {
	return slices.ContainsFunc(secretWords, func(s string) bool { return strings.Contains(strings.ToLower(word), s) })
}

// A Veil hides an operator's raw configuration in the texts of FRR's programs, which
// quote lines, or words of them.
type Veil struct {
	quotes *strings.Replacer // whole lines, and long words
	words  map[string]bool   // short words
}

// shortWord is the length up to which a word is hidden only where it stands alone.
const shortWord = 3

// NewVeil returns a Veil for configurations.
func NewVeil(raw ...string) Veil {
	shown, hidden := map[string]bool{}, map[string]bool{}
	lines := map[string]string{}
	for _, text := range raw {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			brief := Brief(line)
			if line == "" || brief == strings.Join(strings.Fields(line), " ") {
				for _, w := range strings.Fields(line) {
					shown[w] = true
				}
				continue
			}
			lines[line] = brief
			kept := strings.Fields(strings.TrimSuffix(brief, redacted))
			for i, w := range strings.Fields(line) {
				if i < len(kept) {
					shown[w] = true
				} else {
					hidden[w] = true
				}
			}
		}
	}
	v := Veil{words: map[string]bool{}}
	for w := range hidden {
		switch {
		case shown[w] || vocabulary[w] || strings.Trim(w, punctuation) == "":
		case len(w) <= shortWord:
			v.words[w] = true
		default:
			lines[w] = redacted
		}
	}
	// At one place the Replacer takes the first that fits.
	olds := make([]string, 0, len(lines))
	for old := range lines {
		olds = append(olds, old)
	}
	slices.SortFunc(olds, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(olds))
	for _, old := range olds {
		pairs = append(pairs, old, lines[old])
	}
	v.quotes = strings.NewReplacer(pairs...)
	return v
}

// punctuation may surround a word that is quoted.
const punctuation = `"'()[]{}<>,;:.!#%`

// vocabulary are words of FRR's own messages, which a message needs to be understood.
var vocabulary = func() map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.Fields("line Unknown command incomplete Ambiguous Failure communicate Invalid Malformed " +
		"address prefix value range failed error configuration already exists found bgpd bfdd zebra staticd mgmtd") {
		all[w] = true
	}
	return all
}()

var (
	lineNumber = regexp.MustCompile(`^line \d+: `)
	token      = regexp.MustCompile(`\S+`)
	hiddenRun  = regexp.MustCompile(`\[redacted\](?:\s*\[redacted\])+`)
)

// Hide returns a text without what lines of the configurations have beyond their first
// two words, and without passwords. Line breaks stay.
func (v Veil) Hide(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		number := lineNumber.FindString(line)
		b.WriteString(number)
		line = v.quotes.Replace(line[len(number):])
		line = token.ReplaceAllStringFunc(line, func(w string) string {
			bare := strings.Trim(w, punctuation)
			if !v.words[w] && !v.words[bare] {
				return w
			}
			return redacted
		})
		b.WriteString(hiddenRun.ReplaceAllString(line, redacted))
	}
	return Redact(b.String())
}
