// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// slowest is how many of a package's tests the table names.
const slowest = 5

// An area is a row of the table: a package with its tests.
type area struct {
	name            string
	verdict         string // empty if the package has not ended
	tests           []result
	failed, skipped int
	seconds         float64
}

// printTable prints the results in files as two tables: the parts of the run that
// are no Go tests, and the packages. A file that does not exist has no results.
func printTable(out io.Writer, files []string) error {
	var results []result
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var r result
			if err := d.Decode(&r); err == io.EOF {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			results = append(results, r)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	printParts(w, results)
	printAreas(w, areas(results))
	return w.Flush()
}

func printParts(w io.Writer, results []result) {
	heading := "part\tresult\tseconds\n"
	for _, r := range results {
		if r.Part != "" {
			fmt.Fprintf(w, "%s%s\t%s\t%7.1f\n", heading, r.Part, r.Result, r.Seconds)
			heading = ""
		}
	}
	if heading == "" {
		fmt.Fprintln(w)
	}
}

// areas gathers the packages in the order of their names.
func areas(results []result) []*area {
	byName := map[string]*area{}
	for _, r := range results {
		if r.Part != "" {
			continue
		}
		a := byName[r.Package]
		if a == nil {
			a = &area{name: r.Package}
			byName[r.Package] = a
		}
		switch {
		case r.Test == "":
			a.verdict = r.Result
			a.seconds += r.Seconds
			continue
		case r.Result == "fail":
			a.failed++
		case r.Result == "skip":
			a.skipped++
		}
		a.tests = append(a.tests, r)
	}
	var rows []*area
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		rows = append(rows, byName[name])
	}
	return rows
}

func printAreas(w io.Writer, rows []*area) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(w, "area\tresult\ttests\tseconds\tslowest")
	total := area{}
	for _, a := range rows {
		fmt.Fprintf(w, "%s\t%s\t%5d\t%7.1f\t%s\n", a.name, a.result(), len(a.tests), a.seconds, a.slowest())
		for _, t := range a.tests {
			t.Test = a.name + " " + t.Test
			total.tests = append(total.tests, t)
		}
		total.failed += a.failed
		total.skipped += a.skipped
		if a.verdict == "fail" {
			total.verdict = a.verdict
		}
	}
	fmt.Fprintf(w, "all\t%s\t%5d\t\t%s\n", total.result(), len(total.tests), total.slowest())
	heading := "\n"
	for _, t := range total.tests {
		if t.Result != "pass" {
			fmt.Fprintf(w, "%s%s %s\n", heading, t.Result, t.Test)
			heading = ""
		}
	}
}

// result says in a word or two how the tests of an area ended.
func (a area) result() string {
	var words []string
	if a.failed > 0 {
		words = append(words, fmt.Sprintf("%d failed", a.failed))
	}
	if a.skipped > 0 {
		words = append(words, fmt.Sprintf("%d skipped", a.skipped))
	}
	if len(words) == 0 {
		return cmp.Or(a.verdict, "pass")
	}
	return strings.Join(words, ", ")
}

// slowest names the slowest tests of an area that take a second or more.
func (a area) slowest() string {
	tests := slices.Clone(a.tests)
	slices.SortStableFunc(tests, func(x, y result) int { return cmp.Compare(y.Seconds, x.Seconds) })
	var words []string
	for _, t := range tests[:min(len(tests), slowest)] {
		if t.Seconds >= slow {
			words = append(words, fmt.Sprintf("%s %.1f", t.Test, t.Seconds))
		}
	}
	return strings.Join(words, ", ")
}
