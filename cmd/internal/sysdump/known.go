// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shortSecret is the length up to which a secret is hidden only where it stands alone: each
// letter would be hidden otherwise.
const shortSecret = 3

// A known has secrets that were found, to hide them in texts without a word about them. What
// was added is hidden from the next call of settle on.
type known struct {
	forms map[string]bool
	long  *strings.Replacer
	short []string
}

// add adds a secret, and the forms that it has in other texts.
func (k *known) add(secret string) {
	if k.forms == nil {
		k.forms = map[string]bool{}
	}
	for part := range strings.Lines(secret) { // a log has lines alone
		if part = strings.TrimSpace(part); part == "" || part == redacted {
			continue
		}
		quoted, _ := json.Marshal(part) // a string can be encoded
		for _, form := range []string{
			part, string(quoted[1 : len(quoted)-1]), compactText(part), strings.ReplaceAll(part, "'", "''"),
			url.QueryEscape(part), url.PathEscape(part),
			base64.StdEncoding.EncodeToString([]byte(part)), base64.StdEncoding.EncodeToString([]byte(part + "\n")),
			base64.RawURLEncoding.EncodeToString([]byte(part)),
		} {
			k.forms[form] = true
		}
	}
	if secret = strings.TrimSpace(secret); strings.Contains(secret, "\n") {
		k.forms[secret] = true
		k.forms[compactText(secret)] = true
	}
}

// compactText returns a text as JSON has it between the quotes.
func compactText(s string) string {
	s = compact(s)
	return s[1 : len(s)-1]
}

// settle prepares hide. It is to be called after the last add, before goroutines hide.
func (k *known) settle() {
	k.short = nil
	var pairs []string
	// At one place the Replacer takes the first that fits.
	for _, form := range slices.SortedFunc(maps.Keys(k.forms), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) {
		if len(form) <= shortSecret {
			k.short = append(k.short, form)
			continue
		}
		pairs = append(pairs, form, redacted)
	}
	k.long = strings.NewReplacer(pairs...)
}

// hide returns a text without the secrets.
func (k *known) hide(s string) string {
	if k.long == nil {
		return s
	}
	s = k.long.Replace(s)
	for _, secret := range k.short {
		s = hideWord(s, secret)
	}
	return s
}

// hideWord hides a secret where it is no part of a longer word.
func hideWord(s, secret string) string {
	if !strings.Contains(s, secret) {
		return s
	}
	var b strings.Builder
	for at := 0; ; {
		i := strings.Index(s[at:], secret)
		if i < 0 {
			b.WriteString(s[at:])
			return b.String()
		}
		i += at
		end := i + len(secret)
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[end:])
		b.WriteString(s[at:i])
		if inWord(before) || inWord(after) {
			b.WriteString(secret)
		} else {
			b.WriteString(redacted)
		}
		at = end
	}
}

// inWord reports whether a rune belongs to a word. The end of a text is no rune.
func inWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}
