// SPDX-License-Identifier: Apache-2.0

package config

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// A Selector chooses objects by their labels. The zero Selector chooses
// nothing.
type Selector struct{ s labels.Selector }

// NewSelector returns the Selector that s describes; an empty s chooses
// everything.
func NewSelector(s metav1.LabelSelector) (Selector, error) {
	sel, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		return Selector{}, err
	}
	return Selector{sel}, nil
}

// Matches reports whether s chooses an object that carries these labels.
func (s Selector) Matches(l map[string]string) bool {
	return s.s != nil && s.s.Matches(labels.Set(l))
}

// everything reports whether s chooses every object.
func (s Selector) everything() bool { return s.s != nil && s.s.Empty() }

// Equal reports whether both choose by the same terms.
func (s Selector) Equal(o Selector) bool { return s.String() == o.String() }

// String returns the selector in kubectl's notation.
func (s Selector) String() string {
	if s.s == nil {
		return "<nothing>"
	}
	return s.s.String()
}

// MarshalText returns what String does.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// AnyMatches reports whether one of the selectors chooses an object that
// carries these labels, or there are none to restrict it.
func AnyMatches(selectors []Selector, l map[string]string) bool {
	for _, s := range selectors {
		if s.Matches(l) {
			return true
		}
	}
	return len(selectors) == 0
}
