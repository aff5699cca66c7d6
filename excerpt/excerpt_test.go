// SPDX-License-Identifier: Apache-2.0

package excerpt_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/heraldlb/herald/excerpt"
)

func TestWord(t *testing.T) {
	for in, want := range map[string]string{
		"":                         `""`,
		"web":                      "web",
		"example.com/lb-1":         "example.com/lb-1",
		"two words":                `"two words"`,
		"a\nb":                     `"a\nb"`,
		"\x1b[31mred":              `"\x1b[31mred"`,
		`a"b`:                      `"a\"b"`,
		"\u202eevil":               `"\u202eevil"`,
		strings.Repeat("a", 253):   strings.Repeat("a", 253),
		strings.Repeat("a", 254):   `"` + strings.Repeat("a", 80) + `…"`,
		strings.Repeat("é", 200):   `"` + strings.Repeat("é", 40) + `…"`,
		strings.Repeat("\x80", 99): `"` + strings.Repeat(`\x80`, 76) + `…"`,
	} {
		if got := excerpt.Word(in); got != want {
			t.Errorf("Word(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.0 from pool web":  "192.0.2.0 from pool web",
		"two\nlines":               "two\nlines",
		"a\x1b[2J\tb\rc\u009b\x80": "a?[2J?b?c??",
	} {
		if got := excerpt.Message(in); got != want {
			t.Errorf("Message(%q) = %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{strings.Repeat("x", 1<<20), strings.Repeat("\x01", 1<<20), strings.Repeat("\xff", 1<<20), strings.Repeat("世", 1<<20)} {
		got := excerpt.Message(in)
		if len(got) > excerpt.MaxMessage || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("Message of %d bytes has %d", len(in), len(got))
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("a\x1b[2J")
	f.Add(strings.Repeat("\xff", 2000))
	f.Fuzz(func(t *testing.T, s string) {
		got := excerpt.Message(s)
		if len(got) > excerpt.MaxMessage {
			t.Errorf("%d bytes", len(got))
		}
		if again := excerpt.Message(got); again != got {
			t.Errorf("Message of %q is %q", got, again)
		}
		if q := excerpt.Quote(s); len(q) > 4*80+5 || excerpt.Message(q) != q {
			t.Errorf("Quote gives %q", q)
		}
	})
}
