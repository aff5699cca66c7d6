// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// operators are those of a node selector, as the document spells them.
var operators = []string{"In", "NotIn", "Exists", "DoesNotExist"}

// selectors reads a list of label selectors. One without terms, as in MetalLB,
// chooses everything.
func (v value) selectors() []Selector {
	var all []Selector
	for _, item := range v.list() {
		before := len(v.doc.errs)
		m := item.mapping("match-labels", "match-expressions")
		terms := metav1.LabelSelector{MatchLabels: map[string]string{}}
		for _, e := range m.get("match-labels").entries() {
			terms.MatchLabels[e.key] = e.value.text()
		}
		for _, x := range m.get("match-expressions").list() {
			terms.MatchExpressions = append(terms.MatchExpressions, x.requirement())
		}
		if len(v.doc.errs) > before {
			continue // of a selector that is not what was written no more can be said
		}
		s, err := NewSelector(terms)
		if err != nil {
			item.fail("invalid selector: %v", err)
			continue
		}
		all = append(all, s)
	}
	return all
}

// requirement reads one of match-expressions.
func (v value) requirement() metav1.LabelSelectorRequirement {
	m := v.mapping("key", "operator", "values")
	key, operator := m.get("key"), m.get("operator")
	r := metav1.LabelSelectorRequirement{Key: key.text(), Operator: metav1.LabelSelectorOperator(operator.text())}
	if key.missing() {
		key.fail("missing key")
	}
	switch {
	case operator.missing():
		operator.fail("missing operator")
	case r.Operator != "" && !slices.Contains(operators, string(r.Operator)):
		operator.fail("unknown operator %s, want In, NotIn, Exists or DoesNotExist", quote(string(r.Operator)))
	}
	for _, item := range m.get("values").list() {
		r.Values = append(r.Values, item.text())
	}
	return r
}
