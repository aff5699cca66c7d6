// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Severity says how serious a Finding is.
type Severity string

// The Severities.
const (
	Error   Severity = "error"   // the API server or Herald rejects it
	Warning Severity = "warning" // it is valid, but probably not intended
	Note    Severity = "note"    // it is valid, and worth a look
)

// IDs of Findings about texts and objects in general. Programs may compare them.
const (
	IDSyntax    = "Syntax"        // the text is not YAML
	IDMetadata  = "Metadata"      // the metadata does not decode
	IDKind      = "UnknownKind"   // the kind does not exist, or not in this version
	IDDuplicate = "Duplicate"     // an object or a key exists twice
	IDField     = "Field"         // a field does not decode
	IDNamespace = "Namespace"     // the object's namespace is not the one that is read
	IDEmpty     = "Empty"         // there is no object
	IDNotRead   = "NotRead"       // Herald does not read the object
	IDConfigMap = "ConfigMapName" // the ConfigMap's name is not the one that is read
	IDUnlikely  = "Unlikely"      // it is valid, but probably not intended
)

// A Finding is a remark about a place in a text.
type Finding struct {
	Path     string   `json:"path"`           // of the file, "-" for standard input, "cluster" for the API server
	Line     int      `json:"line,omitempty"` // from 1; 0: not known
	Severity Severity `json:"severity"`
	ID       string   `json:"id"`               // the kind of finding, in one word
	Object   string   `json:"object,omitempty"` // "IPAddressPool/wan"
	Field    string   `json:"field,omitempty"`  // "spec.addresses[0]"
	Message  string   `json:"message"`
}

// plain are the IDs that are left out of the text if there is a field.
var plain = []string{IDMetadata, IDKind, IDField, IDNamespace}

// String returns "file.yaml:3: warning: IPAddressPool/wan: spec.addresses: …".
// An error has no severity in its text, but its ID after the object, unless the field is
// enough: "file.yaml:3: IPAddressPool/wan: Conflict: …".
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Path)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	id := ""
	if f.Severity != Error {
		b.WriteString(string(f.Severity) + ": ")
	} else if f.Object != "" && (f.Field == "" || !slices.Contains(plain, f.ID)) {
		id = f.ID
	}
	for _, part := range []string{f.Object, id, f.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(f.Message)
	return strings.ReplaceAll(b.String(), "\n", " ") // a finding is a line
}

// Sort sorts findings by files and lines. Files are in the order of paths, other files
// last.
func Sort(findings []Finding, paths []string) {
	place := func(f Finding) int {
		if i := slices.Index(paths, f.Path); i >= 0 {
			return i
		}
		return len(paths)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.Line, b.Line))
	})
}

// Errors are findings of severity Error, as an error.
type Errors []Finding

// Error returns one line for each finding, without the file's name.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		path := f.Path
		f.Path = "line"
		lines[i] = strings.Replace(f.String(), "line:", "line ", 1)
		if f.Line == 0 {
			f.Path = path
			lines[i] = f.String()
		}
	}
	return strings.Join(lines, "\n")
}

// ErrorsIn returns the findings of severity Error, nil if there is none.
func ErrorsIn(findings []Finding) error {
	var all Errors
	for _, f := range findings {
		if f.Severity == Error {
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
