// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A screen writes what a terminal shows. Others wrote parts of it: names and annotations
// of objects, words of routers and agents. Characters that a terminal obeys, or that do
// not show, are written as JSON escapes, so that JSON stays the same. Line breaks and
// tabs stay.
type screen struct{ w io.Writer }

// Write implements io.Writer.
func (s screen) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.w, visible(string(p), "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// verbatim returns the writer for a text that another program reads, which has to stay as
// it is: frr.conf, manifests.
func verbatim(w io.Writer) io.Writer {
	if s, ok := w.(screen); ok {
		return s.w
	}
	return w
}

// visible returns s with escapes for hidden characters, but those of keep.
func visible(s, keep string) string {
	obeyed := func(r rune) bool { return hidden(r) && !strings.ContainsRune(keep, r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, obeyed) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !obeyed(r):
			b.WriteString(s[:n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
		s = s[n:]
	}
	return b.String()
}

// hidden reports whether r controls a terminal, the direction of a text, or lines.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// A table writes rows of cells in columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// row writes a row. A cell is one line whatever it contains.
func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(t.w, "\t")
		}
		io.WriteString(t.w, visible(fmt.Sprint(c), ""))
	}
	io.WriteString(t.w, "\n")
}

// flush writes the rows.
func (t table) flush() error { return t.w.Flush() }
