// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
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
			terms.MatchLabels[e.key] = e.value.labelValue()
			if text := checkLabelKey(e.key); text != "" {
				e.value.fail("invalid selector: %s", text)
			}
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
	switch text := checkLabelKey(r.Key); {
	case key.missing():
		key.fail("missing key")
	case r.Key != "" && text != "":
		key.fail("invalid selector: %s", text)
	}
	switch {
	case operator.missing():
		operator.fail("missing operator")
	case r.Operator != "" && !slices.Contains(operators, string(r.Operator)):
		operator.fail("unknown operator %s, want In, NotIn, Exists or DoesNotExist", quote(string(r.Operator)))
	}
	values := m.get("values")
	for _, item := range values.list() {
		r.Values = append(r.Values, item.labelValue())
	}
	switch r.Operator {
	case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
		if len(r.Values) == 0 && (values.null() || values.node.Kind == yaml.SequenceNode) {
			values.fail("invalid selector: missing, and %s takes one or more", r.Operator)
		}
	case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			values.fail("invalid selector: %s takes none", r.Operator)
		}
	}
	return r
}

// labelValue reads what a label has to be equal to.
func (v value) labelValue() string {
	s := v.text()
	if text := checkLabelValue(s); text != "" {
		v.fail("invalid selector: %s", text)
	}
	return s
}
