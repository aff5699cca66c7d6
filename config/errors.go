// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Error is one mistake in a document.
type Error struct {
	Path   string // of the value, as in address-pools[1].name; empty where the text is no YAML
	Line   int    // in the text that was parsed, from 1
	Reason string
}

// Error returns "line 3: peers[0].my-asn: missing local ASN".
func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Reason)
}

// Errors are all mistakes of a document, in the order of their lines. Parse
// and ParseConfigMap return no other type of error, so that callers can report
// each mistake where it is.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes for errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// err returns e as an error in the order of lines, nil when there is none.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int { return a.Line - b.Line })
	return e
}

// A FieldError is a mistake in a field of a custom resource.
type FieldError struct {
	Field  string // such as spec.addresses[0]
	Reason string
}

// Error returns "spec.addresses[0]: invalid CIDR …".
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// fieldErrors returns those that are joined in an error.
func fieldErrors(err error) []*FieldError {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		var one *FieldError
		if errors.As(err, &one) {
			return []*FieldError{one}
		}
		return nil
	}
	var all []*FieldError
	for _, e := range joined.Unwrap() {
		all = append(all, fieldErrors(e)...)
	}
	return all
}
