// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// selectors reads label selectors, none of which may be there twice.
func (d *decoder) selectors(path string, raw []metav1.LabelSelector) []Selector {
	var out []Selector
	for i, r := range raw {
		at := index(path, i)
		s, ok := d.selector(at, r)
		if !ok {
			continue
		}
		if slices.ContainsFunc(out, s.Equal) {
			d.fail(at, "duplicate definition of %s %q", path[strings.LastIndex(path, ".")+1:], s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// selector reads a label selector; ok is false if it is none. Kubernetes' own
// errors are regular expressions.
func (d *decoder) selector(path string, raw metav1.LabelSelector) (s Selector, ok bool) {
	before := len(d.errs)
	for _, key := range slices.Sorted(maps.Keys(raw.MatchLabels)) {
		d.labelKey(path+".matchLabels", key)
		d.labelValue(path+".matchLabels["+quote(key)+"]", raw.MatchLabels[key])
	}
	for i, x := range raw.MatchExpressions {
		d.requirement(index(path+".matchExpressions", i), x)
		if slices.ContainsFunc(raw.MatchExpressions[:i], func(o metav1.LabelSelectorRequirement) bool { return reflect.DeepEqual(o, x) }) {
			d.fail(path, "duplicate definition of matchExpressions %q", x.Key)
		}
		if v, dup := duplicate(x.Values); dup {
			d.fail(path, "duplicate definition of values %q", v)
		}
	}
	if len(d.errs) > before {
		return Selector{}, false
	}
	s, err := NewSelector(raw)
	if err != nil {
		d.fail(path, "invalid label selector: %v", err)
	}
	return s, err == nil
}

// requirement checks one of matchExpressions.
func (d *decoder) requirement(path string, x metav1.LabelSelectorRequirement) {
	if x.Key == "" {
		d.fail(path+".key", "invalid label selector: missing")
	} else {
		d.labelKey(path+".key", x.Key)
	}
	switch x.Operator {
	case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
		if len(x.Values) == 0 {
			d.fail(path+".values", "invalid label selector: missing, and %s takes one or more", x.Operator)
		}
	case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
		if len(x.Values) > 0 {
			d.fail(path+".values", "invalid label selector: %s takes none", x.Operator)
		}
	case "":
		d.fail(path+".operator", "invalid label selector: missing, want In, NotIn, Exists or DoesNotExist")
	default:
		d.fail(path+".operator", "invalid label selector: %q is not a valid label selector operator, want In, NotIn, Exists or DoesNotExist", x.Operator)
	}
	for i, v := range x.Values {
		d.labelValue(index(path+".values", i), v)
	}
}

func (d *decoder) labelKey(path, key string) {
	if text := checkLabelKey(key); text != "" {
		d.fail(path, "invalid label selector: %s", text)
	}
}

func (d *decoder) labelValue(path, v string) {
	if text := checkLabelValue(v); text != "" {
		d.fail(path, "invalid label selector: %s", text)
	}
}

// checkLabelKey says why a label cannot have that key; it is empty if one can.
func checkLabelKey(key string) string {
	if len(validation.IsQualifiedName(key)) == 0 {
		return ""
	}
	return quote(key) + " cannot be a label; it is up to 63 letters, digits and any of - _ . between them, and before these a DNS name and a slash, or nothing"
}

// checkLabelValue says why a label cannot have that value; it is empty if one
// can.
func checkLabelValue(v string) string {
	if len(validation.IsValidLabelValue(v)) == 0 {
		return ""
	}
	return quote(v) + " cannot be the value of a label; it is up to 63 letters, digits and any of - _ . between them"
}
