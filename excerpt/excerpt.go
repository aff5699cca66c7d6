// SPDX-License-Identifier: Apache-2.0

// Package excerpt puts texts that others wrote into a message of ours: short, and without
// control characters.
package excerpt

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxQuoted bounds the bytes of a text that a message shows.
	maxQuoted = 80
	// maxWord bounds those of a name: Kubernetes allows names of 253 characters.
	maxWord = 253
	// MaxMessage bounds a message, in bytes.
	MaxMessage = 1024
)

// more ends a text that was cut.
const more = "…"

// Quote returns s in quotes, cut where it is too long to read.
func Quote(s string) string { return strconv.Quote(Clip(s)) }

// Clip returns s, cut where it is too long to read.
func Clip(s string) string { return cut(s, maxQuoted) }

// Word returns s as it is if it reads as a name, else in quotes.
func Word(s string) string {
	if s == "" || len(s) > maxWord || strings.IndexFunc(s, odd) >= 0 {
		return Quote(s)
	}
	return s
}

// odd reports whether r is in no name.
func odd(r rune) bool {
	return r >= utf8.RuneSelf || r <= ' ' || r == 0x7f || r == '"' || r == '\\'
}

// Message returns s as one message: of at most MaxMessage bytes, with line breaks and
// without other characters that do not print. It makes no garbage if s is one already.
func Message(s string) string { return Within(s, MaxMessage) }

// Within returns s as one message of at most limit bytes.
func Within(s string, limit int) string {
	if len(s) > limit {
		s = cut(s, limit-len(more))
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// unprintable reports whether r does not print.
func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// cut returns s, of which at most limit bytes in whole characters are left, and a mark if
// that is not all.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}
