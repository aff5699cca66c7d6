// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"errors"
	"fmt"
)

// Sources is the configuration of whichever source has one: the ConfigMap if it
// exists, else the resources. It is not safe for concurrent use: a loop owns it.
type Sources struct {
	ConfigMap, Resources Documents

	used bool // the resources were in force
}

// Document returns the newest version of the source that counts, and whether
// enough was read to tell.
func (s *Sources) Document() (Document, bool) {
	text, read := s.ConfigMap.Document()
	if !read {
		return Document{}, false
	}
	resources, read := s.Resources.Document()
	if !errors.Is(text.Err, ErrNotFound) {
		s.used = false
		if read && resources.Resources != nil && len(resources.Resources.Objects) > 0 {
			text.Ignored = resources.Resources.Objects
			text.Notice = fmt.Sprintf("%d objects in %s are ignored while %s exists", len(text.Ignored), resources.Source, text.Source)
		}
		return text, true
	}
	switch {
	case !read:
		return Document{}, false
	case resources.Err == nil && (s.used || len(resources.Resources.Objects) > 0):
		// The last of them may be deleted: that there are none is then meant. At
		// the start, or after a ConfigMap, it says nothing.
		s.used = true
		return resources, true
	}
	text.Err = fmt.Errorf("%w, nor are there %s", ErrNotFound, resources.Source)
	return text, true
}
