// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/spf13/cobra"
)

// An output has the flags about how a list is printed.
type output struct {
	format    viewFormat
	noHeaders bool
}

func (o *output) addFlags(cmd *cobra.Command) {
	o.format = viewTable
	cmd.Flags().VarP(&o.format, "output", "o", "table, wide, json or yaml")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "print no names of columns, and no sums")
}

// write writes a value as JSON or YAML, or a table that rows fills.
func (o output) write(w io.Writer, v any, rows func(t table, wide bool)) error {
	return o.format.write(w, v, func(w io.Writer, wide bool) error {
		t := newTable(w)
		rows(t, wide)
		return t.flush()
	})
}

// header writes the names of columns, unless none are wanted.
func (o output) header(t table, names ...any) {
	if !o.noHeaders {
		t.row(names...)
	}
}

// tabular reports whether a table is printed.
func (o output) tabular() bool { return o.format == viewTable || o.format == viewWide }
