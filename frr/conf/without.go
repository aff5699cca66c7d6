// SPDX-License-Identifier: Apache-2.0

package conf

import "slices"

// Without returns the configuration without the lines of other, except those that
// keep has too. A context stays while a line is left in it. A nil Config has no
// lines.
func (c *Config) Without(other, keep *Config) *Config {
	if other == nil {
		return c
	}
	var kept []Section
	if keep != nil {
		kept = keep.Sections
	}
	return &Config{Sections: without(c.Sections, other.Sections, kept)}
}

func without(list, other, keep []Section) []Section {
	var left []Section
	for _, s := range list {
		o, named := find(other, s.Text)
		if !named {
			left = append(left, s)
			continue
		}
		k, keeps := find(keep, s.Text)
		rest := without(s.Sub, o.Sub, k.Sub)
		if len(rest) > 0 || keeps {
			left = append(left, Section{Line: s.Line, Sub: rest})
		}
	}
	return left
}

func find(list []Section, text string) (Section, bool) {
	i := slices.IndexFunc(list, func(s Section) bool { return s.Text == text })
	if i < 0 {
		return Section{}, false
	}
	return list[i], true
}
