// SPDX-License-Identifier: Apache-2.0

// Package source decides which configuration is in force: where it comes from, which
// of its versions, and which of its pools.
package source

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/heraldlb/herald/config"
)

// ErrNotFound reports that there is no document: another source may have one.
var ErrNotFound = errors.New("not found")

// A Document is one version of the configuration: a text, or resources.
type Document struct {
	Source    string // "configmap metallb-system/config", or a file's path
	Version   string // resource version, or a hash of the content
	Text      []byte
	Resources *config.Resources // in place of Text; the same pointer means the same
	Err       error             // why there is neither, for example that it does not exist
	Ignored   []config.Object   // resources that exist and do not count
	Notice    string            // a warning for the operator; empty: none
	Release   string            // of a text: which addresses may be taken away, as config.ParseRelease reads it

	Protection *config.Protection // nil: what Services use is not protected
	Recorded   Recorded           // with Protection, of a text
}

// Loaded is the configuration in force, and the result of reading the newest document.
type Loaded struct {
	Config   *config.Config   // nil: none has been accepted yet
	Accepted Document         // where Config is from
	Document Document         // the newest
	Err      error            // why it, or some of its resources, are not in force; nil if all is
	Verdicts []config.Verdict // what became of each resource

	// Resolved is what the resources in force came from; nil where a text is.
	Resolved *config.Resolved

	Withheld bool   // some of the newest is not in force because Services use what it takes away
	Pools    []byte // of a text, with Protection: what config.PoolsOf makes of what is in force
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
	case d.Resources != nil && l.settled(d):
		n.Accepted, n.Err, n.Verdicts = d, l.refusals(d), l.Resolved.Verdicts
	case d.Resources != nil:
		var before config.Resolved
		if l.Resolved != nil {
			before = *l.Resolved
		}
		resources := *d.Resources
		resources.Protection = d.Protection
		r := before.Next(resources)
		n.Config, n.Accepted, n.Verdicts, n.Resolved, n.Pools = r.Config, d, r.Verdicts, &r, nil
		n.Withheld = slices.ContainsFunc(r.Verdicts, func(v config.Verdict) bool { return v.Reason == config.VerdictInUse })
		n.Err = n.refusals(d)
	case l.settled(d):
		// Unchanged, or back to what is in force: the same *Config means that.
		n.Accepted = d
	case l.Err != nil && !l.Withheld && l.Document.Err == nil && l.Document.Resources == nil && bytes.Equal(d.Text, l.Document.Text):
		n.Err = l.Err // it would be refused again
	default:
		c, err := config.Parse(d.Text)
		if err != nil {
			n.Err = fmt.Errorf("%s: %w", d.Source, err)
			break
		}
		return n.take(d, c)
	}
	return n
}

// settled reports whether all that a document says is in force.
func (l Loaded) settled(d Document) bool {
	switch {
	case l.Config == nil || l.Withheld || d.Err != nil:
		return false
	case d.Resources != nil:
		return d.Resources == l.Accepted.Resources
	}
	return l.Accepted.Resources == nil && bytes.Equal(d.Text, l.Accepted.Text) && !d.Recorded.withholds(d)
}

// Source returns where what is in force is from; empty if nothing is.
func (l Loaded) Source() Source {
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
