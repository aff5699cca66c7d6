// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"bytes"
	"fmt"

	"github.com/heraldlb/herald/config"
)

// A Document is one version of the configuration's text.
type Document struct {
	Source  string // "configmap metallb-system/config", or a file's path
	Version string // resource version, or a hash of the content
	Text    []byte
	Err     error // why there is no Text: it does not exist, say
}

// Loaded is the configuration in force, and what became of the newest
// document.
type Loaded struct {
	Config   *config.Config // nil: none has been accepted yet
	Accepted Document       // where Config is from
	Document Document       // the newest
	Err      error          // why it is not in force; nil if it is
}

// Next returns what is in force once d has arrived. A document that is missing
// or invalid leaves the configuration as it is: no address is taken away
// because of it.
func (l Loaded) Next(d Document) Loaded {
	if d.Err != nil {
		return Loaded{l.Config, l.Accepted, d, fmt.Errorf("%s: %w", d.Source, d.Err)}
	}
	switch {
	case l.Config != nil && bytes.Equal(d.Text, l.Accepted.Text):
		// Unchanged, or back to what is in force: the same *Config tells
		// everyone so.
		return Loaded{l.Config, d, d, nil}
	case l.Err != nil && l.Document.Err == nil && bytes.Equal(d.Text, l.Document.Text):
		return Loaded{l.Config, l.Accepted, d, l.Err} // it would be refused again
	}
	c, err := config.Parse(d.Text)
	if err != nil {
		return Loaded{l.Config, l.Accepted, d, fmt.Errorf("%s: %w", d.Source, err)}
	}
	return Loaded{c, d, d, nil}
}
