// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
)

func TestAnyMatches(t *testing.T) {
	everything := mustSelector(t, metav1.LabelSelector{})
	rackA := mustSelector(t, metav1.LabelSelector{MatchLabels: map[string]string{"rack": "a"}})
	noGPU := mustSelector(t, metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "gpu", Operator: metav1.LabelSelectorOpDoesNotExist},
	}})
	tests := []struct {
		name      string
		selectors []config.Selector
		labels    map[string]string
		want      bool
	}{
		{"no selectors", nil, nil, true},
		{"everything", []config.Selector{everything}, nil, true},
		{"nothing", []config.Selector{{}}, nil, false},
		{"first", []config.Selector{rackA, noGPU}, map[string]string{"rack": "a", "gpu": "yes"}, true},
		{"second", []config.Selector{rackA, noGPU}, map[string]string{"rack": "b"}, true},
		{"neither", []config.Selector{rackA, noGPU}, map[string]string{"rack": "b", "gpu": "yes"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := config.AnyMatches(tt.selectors, tt.labels); got != tt.want {
				t.Errorf("want %t, got %t", tt.want, got)
			}
		})
	}
}

func TestSelectorEqual(t *testing.T) {
	a := mustSelector(t, metav1.LabelSelector{MatchLabels: map[string]string{"rack": "a", "zone": "z"}})
	b := mustSelector(t, metav1.LabelSelector{MatchLabels: map[string]string{"zone": "z", "rack": "a"}})
	c := mustSelector(t, metav1.LabelSelector{MatchLabels: map[string]string{"rack": "a"}})
	if !a.Equal(b) || a.Equal(c) || c.Equal(config.Selector{}) || mustSelector(t, metav1.LabelSelector{}).Equal(config.Selector{}) {
		t.Error("Equal is wrong")
	}
}

func mustSelector(t *testing.T, s metav1.LabelSelector) config.Selector {
	t.Helper()
	sel, err := config.NewSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}
