// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	// module is cut off the names of packages.
	module = "github.com/heraldlb/herald"

	// slow is how many seconds a test takes at least to have a line of its own.
	slow = 1
)

// An event is a line of go test -json. See go doc test2json and go help buildjson.
type event struct {
	Action     string
	Package    string
	Test       string
	Elapsed    float64 // seconds
	Output     string
	ImportPath string // of a package that is built
}

// A result is how a part of a run, a package or a test ended.
type result struct {
	Part    string  `json:"part,omitempty"`    // of the run, if it is no Go test
	Package string  `json:"package,omitempty"` // without the module
	Test    string  `json:"test,omitempty"`    // empty is the package as a whole
	Result  string  `json:"result"`            // pass, fail or skip
	Seconds float64 `json:"seconds"`
}

// A stream prints the events of a run. Subtests belong to their top-level test.
type stream struct {
	out     io.Writer
	results *json.Encoder
	running map[string]*pack // by name; those that have not ended
	failed  bool
}

// A pack is what is known of a package whose tests run.
type pack struct {
	output strings.Builder             // outside its tests
	tests  map[string]*strings.Builder // output of top-level tests that have not ended
	ended  int                         // how many tests have
}

func newStream(out, results io.Writer) *stream {
	return &stream{out: out, results: json.NewEncoder(results), running: map[string]*pack{}}
}

// read prints events to the end of the input, and reports whether all tests
// passed. A line that is no event is printed as it is.
func (s *stream) read(in io.Reader) (ok bool, err error) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := s.line(line); err != nil {
				return false, err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	// Packages without a last event: go test itself was ended.
	for _, name := range slices.Sorted(maps.Keys(s.running)) {
		if err := s.endPackage(name, "fail", 0); err != nil {
			return false, err
		}
	}
	return !s.failed, nil
}

func (s *stream) line(line []byte) error {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
		_, err := s.out.Write(line)
		return err
	}
	if e.Action == "build-output" {
		_, err := io.WriteString(s.out, e.Output)
		return err
	}
	if e.Package == "" {
		return nil
	}
	p := s.running[e.Package]
	if p == nil {
		p = &pack{tests: map[string]*strings.Builder{}}
		s.running[e.Package] = p
	}
	top, _, _ := strings.Cut(e.Test, "/")
	output := &p.output
	if top != "" {
		if output = p.tests[top]; output == nil {
			output = &strings.Builder{}
			p.tests[top] = output
		}
	}
	switch e.Action {
	case "output":
		output.WriteString(e.Output)
	case "pass", "fail", "skip":
		switch e.Test {
		case "":
			return s.endPackage(e.Package, e.Action, e.Elapsed)
		case top:
			return s.endTest(e.Package, top, e.Action, e.Elapsed)
		}
	}
	return nil
}

// endTest prints a top-level test that has ended: a slow one, and with its output
// one that did not pass.
func (s *stream) endTest(name, test, verdict string, seconds float64) error {
	p := s.running[name]
	output := p.tests[test].String()
	delete(p.tests, test)
	p.ended++
	if verdict == "pass" {
		output = ""
	}
	if verdict != "pass" || seconds >= slow {
		if err := s.print(verdict, short(name)+" "+test, seconds, output); err != nil {
			return err
		}
	}
	return s.results.Encode(result{Package: short(name), Test: test, Result: verdict, Seconds: seconds})
}

// endPackage prints a package that has ended. Where a package fails, tests that
// have not ended fail with it, as by a panic or a timeout.
func (s *stream) endPackage(name, verdict string, seconds float64) error {
	p := s.running[name]
	if verdict == "fail" {
		s.failed = true
		for _, test := range slices.Sorted(maps.Keys(p.tests)) {
			if err := s.endTest(name, test, verdict, 0); err != nil {
				return err
			}
		}
	}
	delete(s.running, name)
	if verdict == "skip" && p.ended == 0 { // it has no tests
		return nil
	}
	output := p.output.String()
	if verdict != "fail" {
		output = ""
	}
	if err := s.print(verdict, fmt.Sprintf("%s: %d tests", short(name), p.ended), seconds, output); err != nil {
		return err
	}
	return s.results.Encode(result{Package: short(name), Result: verdict, Seconds: seconds})
}

func (s *stream) print(verdict, what string, seconds float64, output string) error {
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	word := map[string]string{"pass": "ok", "fail": "FAIL"}[verdict]
	if word == "" {
		word = verdict
	}
	_, err := fmt.Fprintf(s.out, "%-4s %s (%.1fs)\n%s", word, what, seconds, output)
	return err
}

// short is a package's name without the module.
func short(name string) string {
	if name == module {
		return "."
	}
	return strings.TrimPrefix(name, module+"/")
}
