// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// A viewFormat is how a Topology is printed. It is a pflag.Value.
type viewFormat string

const (
	viewTable viewFormat = "table"
	viewWide  viewFormat = "wide"
	viewJSON  viewFormat = "json"
	viewYAML  viewFormat = "yaml"
)

// viewFormats are all of them.
var viewFormats = []string{string(viewTable), string(viewWide), string(viewJSON), string(viewYAML)}

// String returns f.
func (f *viewFormat) String() string { return string(*f) }

// Type names the flag's value.
func (f *viewFormat) Type() string { return "format" }

// Set takes table, wide, json or yaml.
func (f *viewFormat) Set(s string) error {
	if !slices.Contains(viewFormats, s) {
		return errors.New("want table, wide, json or yaml")
	}
	*f = viewFormat(s)
	return nil
}

// write writes a value as JSON or YAML, or what print prints for people.
func (f viewFormat) write(out io.Writer, v any, print func(w io.Writer, wide bool) error) error {
	switch f {
	case viewJSON:
		return writeJSON(out, v)
	case viewYAML:
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	return print(out, f == viewWide)
}

// A printer writes lines. Texts of others stay on their line.
type printer struct {
	w      io.Writer
	failed *error
}

func newPrinter(w io.Writer) printer { return printer{w, new(error)} }

func (p printer) line(format string, args ...any) {
	if _, err := io.WriteString(p.w, visible(fmt.Sprintf(format, args...), "")+"\n"); err != nil && *p.failed == nil {
		*p.failed = err
	}
}

// err returns the first error of writing.
func (p printer) err() error { return *p.failed }

// unasked says what could not be asked.
func (p printer) unasked(all []topology.Unasked, wide bool) { p.lacking("NOT ASKED", all, wide) }

// lacking says what is not there, by the reasons for it.
func (p printer) lacking(title string, all []topology.Unasked, wide bool) {
	var reasons []string
	what := map[string][]string{}
	for _, u := range all {
		if what[u.Error] == nil {
			reasons = append(reasons, u.Error)
		}
		what[u.Error] = append(what[u.Error], u.What)
	}
	var parts []string
	for _, why := range reasons {
		parts = append(parts, some(what[why], ", ", wide)+": "+why)
	}
	if len(parts) > 0 {
		p.line("%s  %s", title, some(parts, "; ", wide))
	}
}

// problems lists problems, the worst first.
func (p printer) problems(all []topology.Problem, wide, untold bool) {
	switch {
	case len(all) == 0 && untold:
		p.line("No problem was found in what could be asked.")
		return
	case len(all) == 0:
		p.line("No problem was found.")
		return
	case len(all) == 1:
		p.line("1 PROBLEM")
	default:
		p.line("%d PROBLEMS", len(all))
	}
	for i, problem := range all {
		if i == shownProblems && !wide {
			p.line("  and %d more: -o wide lists them", len(all)-i)
			return
		}
		p.problem(problem)
	}
}

// problem prints a problem with its cure.
func (p printer) problem(of topology.Problem) {
	about := cluster.List(of.Objects, ", ")
	if len(of.Nodes) > 0 {
		about += " on " + cluster.List(of.Nodes, ", ")
	}
	p.line("  %-7s %s: %s: %s", of.Severity, about, of.ID, strings.ReplaceAll(of.Cause, "\n", "; "))
	p.line("          cure: %s", of.Cure)
	if of.Next != "" {
		p.line("          next: %s", of.Next)
	}
}

// some joins texts, all of them or the first.
func some(all []string, separator string, wide bool) string {
	switch {
	case len(all) == 0:
		return "none"
	case wide:
		return strings.Join(all, separator)
	}
	return cluster.List(all, separator)
}
