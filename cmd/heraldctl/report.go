// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/heraldlb/herald/manifest"
)

// A reportFormat is how findings are printed. It is a pflag.Value.
type reportFormat string

const (
	asText   reportFormat = "text"
	asList   reportFormat = "json"
	asGitHub reportFormat = "github"
)

// reportFormats are all of them.
var reportFormats = []string{string(asText), string(asList), string(asGitHub)}

// String returns f.
func (f *reportFormat) String() string { return string(*f) }

// Type names the flag's value.
func (f *reportFormat) Type() string { return "format" }

// Set takes text, json or github.
func (f *reportFormat) Set(s string) error {
	if !slices.Contains(reportFormats, s) {
		return errors.New("want text, json or github")
	}
	*f = reportFormat(s)
	return nil
}

// write prints findings: lines of text to errs, the others to out.
func (f reportFormat) write(out, errs io.Writer, findings []manifest.Finding) error {
	switch f {
	case asList:
		return writeJSON(out, append([]manifest.Finding{}, findings...)) // never null
	case asGitHub:
		for _, finding := range findings {
			fmt.Fprintln(out, annotation(finding))
		}
	default:
		for _, finding := range findings {
			fmt.Fprintln(errs, finding)
		}
	}
	return nil
}

// annotation returns a finding as a workflow command of GitHub Actions:
// "::error file=a.yaml,line=3,title=Conflict::IPAddressPool/b: …".
func annotation(f manifest.Finding) string {
	level := map[manifest.Severity]string{manifest.Error: "error", manifest.Warning: "warning"}[f.Severity]
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	message := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	line := ""
	if f.Line > 0 {
		line = fmt.Sprintf(",line=%d", f.Line)
	}
	text := f.Message
	for _, part := range []string{f.Field, f.Object} {
		if part != "" {
			text = part + ": " + text
		}
	}
	return fmt.Sprintf("::%s file=%s%s,title=%s::%s", cmp.Or(level, "notice"), property.Replace(f.Path), line, property.Replace(f.ID), message.Replace(text))
}
