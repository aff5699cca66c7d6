// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/heraldlb/herald/config"
)

// ErrNotFound reports that there is no document: another source may have one.
var ErrNotFound = errors.New("not found")

// A Document is one version of the configuration: a text, or resources.
type Document struct {
	Source    string // "configmap metallb-system/config", or a file's path
	Version   string // resource version, or a hash of the content
	Text      []byte
	Resources *config.Resources // in place of Text; the same pointer says the same
	Err       error             // why there is neither: it does not exist, say
	Ignored   []config.Object   // resources that exist and do not count
	Notice    string            // what somebody should look at; empty: nothing
}

// Loaded is the configuration in force, and what became of the newest
// document.
type Loaded struct {
	Config   *config.Config   // nil: none has been accepted yet
	Accepted Document         // where Config is from
	Document Document         // the newest
	Err      error            // why it, or some of its resources, are not in force; nil if all is
	Verdicts []config.Verdict // what became of each resource

	// Resolved is what the resources in force came from; nil where a text is.
	Resolved *config.Resolved
}

// Next returns what is in force once d has arrived. A document that is missing
// or invalid leaves the configuration as it is, and of resources each bad one
// leaves what there was of it: no address is taken away because of them.
func (l Loaded) Next(d Document) Loaded {
	n := l
	n.Document, n.Err = d, nil
	n.Verdicts = config.Ignored(d.Ignored, "the configuration in force is "+d.Source)
	switch {
	case d.Err != nil:
		n.Err = fmt.Errorf("%s: %w", d.Source, d.Err)
	case d.Resources != nil && d.Resources == l.Accepted.Resources:
		n.Accepted, n.Err, n.Verdicts = d, l.refusals(d), l.Resolved.Verdicts
	case d.Resources != nil:
		var before config.Resolved
		if l.Resolved != nil {
			before = *l.Resolved
		}
		r := before.Next(*d.Resources)
		n.Config, n.Accepted, n.Verdicts, n.Resolved = r.Config, d, r.Verdicts, &r
		n.Err = n.refusals(d)
	case l.Config != nil && l.Accepted.Resources == nil && bytes.Equal(d.Text, l.Accepted.Text):
		// Unchanged, or back to what is in force: the same *Config tells
		// everyone so.
		n.Accepted = d
	case l.Err != nil && l.Document.Err == nil && l.Document.Resources == nil && bytes.Equal(d.Text, l.Document.Text):
		n.Err = l.Err // it would be refused again
	default:
		c, err := config.Parse(d.Text)
		if err != nil {
			n.Err = fmt.Errorf("%s: %w", d.Source, err)
			break
		}
		n.Config, n.Accepted, n.Resolved = c, d, nil
	}
	return n
}

// source returns where what is in force is from; empty if nothing is.
func (l Loaded) source() Source {
	switch {
	case l.Config == nil:
		return ""
	case l.Accepted.Resources != nil:
		return SourceResources
	}
	return SourceConfigMap
}

// refusals says which resources are not in force.
func (l Loaded) refusals(d Document) error {
	if err := l.Resolved.Err(); err != nil {
		return fmt.Errorf("%s: %w", d.Source, err)
	}
	return nil
}
