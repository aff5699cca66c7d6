// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/heraldlb/herald/config"
)

// A Source is where a configuration comes from.
type Source string

// The Sources. The zero Source is neither of them, or it is not known.
const (
	SourceConfigMap Source = "ConfigMap" // a text
	SourceResources Source = "Resources" // MetalLB's custom resources
)

// FirstSource returns the source that counts where both exist and this process has none
// in force. The one in force before stays: recorded is what the leading controller wrote
// last, and without it the conditions of the objects show it. At the very first start the
// resources count if one of them is a pool: MetalLB 0.13 and later read them, and the
// ConfigMap is left over.
func FirstSource(recorded Source, objects []config.Object) Source {
	source := cmp.Or(recorded, judged(objects))
	switch {
	case source != "":
		return source
	case hasPool(objects):
		return SourceResources
	}
	return SourceConfigMap
}

// judged returns the source that was in force when the conditions of objects were
// written, as far as they tell.
func judged(objects []config.Object) (s Source) {
	for _, o := range objects {
		switch o.Judged {
		case "":
		case config.VerdictIgnored:
			s = SourceConfigMap
		default:
			return SourceResources
		}
	}
	return s
}

func hasPool(objects []config.Object) bool {
	return slices.ContainsFunc(objects, func(o config.Object) bool { return o.Kind == config.KindPool })
}

// Sources is the configuration of one of two sources. The one in force stays so
// when the other appears; it ends when it is deleted. It is not safe for
// concurrent use: a loop owns it.
type Sources struct {
	ConfigMap Documents // required
	Resources Documents // optional: nil does not read them

	// Record returns the source that the leading controller has in force, and
	// whether that was read yet. It is called where both exist.
	Record func() (Source, bool) // optional: without it the conditions alone decide

	// Similar returns the names of other ConfigMaps that hold a configuration. It
	// is called where there is none.
	Similar func() []string // optional

	used Source // what is in force
}

// Document returns the newest version of the source that counts, and whether
// enough was read to tell.
func (s *Sources) Document() (Document, bool) {
	text, read := s.ConfigMap.Document()
	if !read {
		return Document{}, false
	}
	there := !errors.Is(text.Err, ErrNotFound)
	if s.Resources == nil {
		if !there {
			text.Err = fmt.Errorf("%w%s", ErrNotFound, s.hint())
		}
		return text, true
	}
	resources, read := s.Resources.Document()
	if !read {
		return text, there && s.used == SourceConfigMap
	}
	var objects []config.Object
	if resources.Resources != nil && resources.Err == nil {
		objects = resources.Resources.Objects
	}
	if !s.choose(there, objects) {
		return Document{}, false
	}
	switch {
	case s.used == SourceResources:
		if there {
			resources.Notice = fmt.Sprintf("%s is ignored while %s are in force: delete it, or set --config-source=configmap to have it count",
				text.Source, resources.Source)
		}
		return resources, true
	case len(objects) > 0:
		text.Ignored = objects
		text.Notice = fmt.Sprintf("%d objects in %s are ignored while %s is in force: delete them, or delete it or set --config-source=resources to have them count",
			len(objects), resources.Source, text.Source)
	}
	if !there {
		text.Err = fmt.Errorf("%w, nor are there %s%s", ErrNotFound, resources.Source, s.hint())
	}
	return text, true
}

// choose settles which source is in force, and reports whether enough is known to
// tell. Where there is neither, the source in force stays so.
func (s *Sources) choose(configMap bool, objects []config.Object) bool {
	switch {
	case configMap && len(objects) > 0:
		return s.chooseOfBoth(objects)
	case configMap:
		s.used = SourceConfigMap
		return true
	}
	// The last resource may be deleted: that there are none is then meant.
	s.used = cmp.Or(s.used, judged(objects))
	if s.used == "" && len(objects) > 0 || s.used == SourceConfigMap && hasPool(objects) {
		// In the place of a ConfigMap there must be a pool, or every address goes.
		s.used = SourceResources
	}
	return true
}

// chooseOfBoth is choose where both sources exist. Processes may have seen them come
// and go in different orders, or not at all: the record decides for all of them.
func (s *Sources) chooseOfBoth(objects []config.Object) bool {
	recorded, read := Source(""), true
	if s.Record != nil {
		recorded, read = s.Record()
	}
	if recorded == "" && s.used == "" && !read {
		return false
	}
	s.used = cmp.Or(recorded, s.used, FirstSource("", objects))
	return true
}

// hint says which other ConfigMaps hold a configuration; empty if none is known.
func (s *Sources) hint() string {
	if s.Similar == nil {
		return ""
	}
	switch names := s.Similar(); len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; ConfigMap %s of the same namespace holds a configuration: set --config=%s for controller and agents", names[0], names[0])
	default:
		return fmt.Sprintf("; ConfigMaps %s of the same namespace hold one: set --config=NAME for controller and agents", strings.Join(names, ", "))
	}
}
