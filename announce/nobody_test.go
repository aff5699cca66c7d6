// SPDX-License-Identifier: Apache-2.0

package announce_test

import (
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/announce/announcetest"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
)

// A node that answered for an address waits for another one only if there is one that may
// answer by the rules, whether its agent runs or not.
func TestNobodyMayAnswer(t *testing.T) {
	const addr = "192.0.2.1"
	on := func(rack string) []config.Selector {
		s, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{"rack": rack}})
		if err != nil {
			t.Fatal(err)
		}
		return []config.Selector{s}
	}
	for _, c := range []struct {
		name      string
		local     bool
		endpoints []string
		edit      func(s *cluster.Snapshot, m *announce.Membership)
		want      bool
	}{
		{"another node is elected", false, []string{"n1", "n2", "n3"}, func(s *cluster.Snapshot, _ *announce.Membership) {
			s.Config.L2Advertisements[0].NodeSelectors = on("a")
		}, false},
		{"the only one that may is dead", false, []string{"n1", "n2", "n3"}, func(s *cluster.Snapshot, m *announce.Membership) {
			s.Config.L2Advertisements[0].NodeSelectors = on("a")
			m.Members = slices.DeleteFunc(m.Members, func(m announce.Member) bool { return m.Node == "n1" })
		}, false},
		{"the one that is selected has no endpoint", true, []string{"n3"}, func(s *cluster.Snapshot, _ *announce.Membership) {
			s.Config.L2Advertisements[0].NodeSelectors = on("a")
		}, true},
		{"the one that is selected is excluded", false, []string{"n1", "n2", "n3"}, func(s *cluster.Snapshot, _ *announce.Membership) {
			s.Config.L2Advertisements[0].NodeSelectors = on("a")
			s.Nodes[0].Labels = map[string]string{"rack": "a", announce.LabelExcludeNode: ""}
		}, true},
		{"nothing is behind it", false, nil, func(*cluster.Snapshot, *announce.Membership) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m := announcetest.Layer2Cluster(t)
			announcetest.AddService(&s, "a", c.local, []string{addr}, c.endpoints...)
			c.edit(&s, &m)
			d := announce.Layer2(s, "n3", m, announce.Options{})
			if got := d.NoOther[netip.MustParseAddr(addr)]; got != c.want {
				t.Errorf("nobody may answer: %v, want %v; owners %v", got, c.want, d.Owners)
			}
		})
	}
}
