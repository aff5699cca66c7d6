// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// Preferred nodes.
//
// Acceptance: L047-L054.
func TestPreferredNodes(t *testing.T) {
	const addr = "192.0.2.1"
	all := []string{"n1", "n2", "n3"}
	natural := announce.Owner(addr, all)
	others := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == natural })
	labelled := func(key, value string) config.Selector {
		s, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	prefer := func(weight int, node string) config.PreferredNode {
		return config.PreferredNode{Weight: weight, Selector: labelled("name", node)}
	}
	tests := []struct {
		name   string
		change func(ads *[]config.L2Advertisement, s *cluster.Snapshot, m *announce.Membership)
		owner  string
	}{
		{"no preference", func(*[]config.L2Advertisement, *cluster.Snapshot, *announce.Membership) {}, natural},
		{"another than the natural owner", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(1, others[0])}
		}, others[0]},
		{"a node that is not there", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(100, "n9")}
		}, natural},
		{"all alike", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(7, "n1"), prefer(7, "n2"), prefer(7, "n3")}
		}, natural},
		{"the heavier", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(60, others[0]), prefer(61, others[1])}
		}, others[1]},
		{"weights of two advertisements add up", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(60, others[0]), prefer(50, others[1])}
			*ads = append(*ads, config.L2Advertisement{Name: "more", PreferredNodes: []config.PreferredNode{prefer(60, others[1])}})
		}, others[1]},
		{"a preferred node that is excluded", func(ads *[]config.L2Advertisement, s *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(1, others[0])}
			for _, n := range s.Nodes {
				if n.Name == others[0] {
					n.Labels[announce.LabelExcludeNode] = ""
				}
			}
		}, announce.Owner(addr, slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == others[0] }))},
		{"a preferred node that is dead", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, m *announce.Membership) {
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(1, others[0])}
			m.Members = slices.DeleteFunc(m.Members, func(m announce.Member) bool { return m.Node == others[0] })
		}, announce.Owner(addr, slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == others[0] }))},
		{"a preferred node that the advertisement does not select", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			(*ads)[0].NodeSelectors = []config.Selector{labelled("name", others[1])}
			(*ads)[0].PreferredNodes = []config.PreferredNode{prefer(100, others[0])}
		}, others[1]},
		{"of an advertisement for other Services", func(ads *[]config.L2Advertisement, _ *cluster.Snapshot, _ *announce.Membership) {
			*ads = append(*ads, config.L2Advertisement{
				Name: "more", Scope: config.Scope{ServiceSelectors: []config.Selector{labelled("app", "other")}}, PreferredNodes: []config.PreferredNode{prefer(100, others[0])},
			})
		}, natural},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, m := announcetest.Layer2Cluster(t)
			for _, n := range s.Nodes {
				n.Labels = map[string]string{"name": n.Name}
			}
			announcetest.AddService(&s, "a", false, []string{addr}, "n1")
			tt.change(&s.Config.L2Advertisements, &s, &m)
			if diff := cmp.Diff(map[string][]string{addr: {tt.owner}}, owners(s, m, announce.Options{})); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
		})
	}
}
