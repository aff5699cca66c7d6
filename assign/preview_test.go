// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube/object"
)

func results(of []assign.Result) (out []string) {
	for _, o := range of {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %v %s %s %s", o.Service, o.Addrs, o.Pool, o.Reason, o.Lost)))
	}
	return out
}

// TestPreview edits a configuration twice.
func TestPreview(t *testing.T) {
	w := newWorld(t)
	w.command("service shop/b")
	w.command("service shop/a ingress=192.0.2.0 metallb.io/ip-allocated-from-pool:=web")
	w.command("service shop/inner type=ClusterIP")
	w.command("service shop/c class=other")
	w.command("service shop/d ingress=203.0.113.9")
	s := w.snapshot()
	slices.Reverse(s.Services) // later in the order of keys, and yet older
	before := s.Services[0].Created
	p := assign.NewPreview(s, assign.Options{})
	apply := func(pools string) []string {
		w.command(pools)
		return results(p.Apply(w.loaded.Config))
	}
	steps := []struct {
		pools string
		want  []string
	}{
		{"pools web=192.0.2.0/31", []string{
			"shop/d [203.0.113.9]  Foreign", "shop/c []  Foreign", "shop/b [192.0.2.1] web Assigned", "shop/a [192.0.2.0] web Assigned",
		}},
		{"pools web=192.0.2.0/32", []string{
			"shop/d [203.0.113.9]  Foreign", "shop/c []  Foreign", "shop/b []  PoolExhausted 192.0.2.1 is in no pool", "shop/a [192.0.2.0] web Assigned",
		}},
		{"pools lan=192.0.2.0/31", []string{
			"shop/d [203.0.113.9]  Foreign", "shop/c []  Foreign", "shop/b [192.0.2.1] lan Assigned", "shop/a [192.0.2.0] lan Assigned",
		}},
		{"pools", []string{
			"shop/d [203.0.113.9]  Foreign", "shop/c []  Foreign", "shop/b []  NoPool 192.0.2.1 is in no pool", "shop/a []  NoPool 192.0.2.0 is in no pool",
		}},
		{"pools web=192.0.2.0/31", []string{
			"shop/d [203.0.113.9]  Foreign", "shop/c []  Foreign", "shop/b [192.0.2.0] web Assigned", "shop/a [192.0.2.1] web Assigned",
		}},
	}
	for _, step := range steps {
		if diff := cmp.Diff(step.want, apply(step.pools)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.pools, diff)
		}
	}
	if now := s.Services[0].Created; !now.Equal(before) {
		t.Error("the snapshot has changed")
	}
}

// TestPreviewIsWhatHappens compares previews with what a controller does.
func TestPreviewIsWhatHappens(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		w.command(fmt.Sprintf("service shop/s%02d cluster=%s metallb.io/allow-shared-ip:=%s ports=TCP/%d", i, []string{"4", "6", "46"}[i%3], []string{"", "k"}[i%2], 80+i%4))
	}
	preview := assign.NewPreview(w.snapshot(), assign.Options{})
	for _, pools := range []string{
		"pools a=10.0.0.0/30,fd00::/126", "pools b=10.0.0.0/31;priority=2 a=fd00::/126 c=10.1.0.0/29,fd01::/125;quota=shop=3",
		"pools c=10.1.0.0/29,fd01::/125;reserve=10.1.0.3=shop/s05", "pools a=10.0.0.0/30,fd00::/126",
	} {
		w.command(pools)
		got := results(preview.Apply(w.loaded.Config))
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "]")
		}
		w.pass()
		var want []string
		for _, svc := range w.snapshot().Services {
			has, _, _ := strings.Cut(fmt.Sprintf("%s %v", svc.Key, svc.Ingress), "]")
			want = append(want, has)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-what happens +preview):\n%s", pools, diff)
		}
	}
}

// TestPreviewNamespaces wants a pool to find namespaces by the label that every
// API server gives them.
func TestPreviewNamespaces(t *testing.T) {
	s, err := object.ReadDraft(strings.NewReader(`
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {type: LoadBalancer, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: lab}, spec: {type: LoadBalancer, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: lab, labels: {team: blue}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	sel := func(key, value string) config.Selector {
		sel, err := config.NewSelector(metav1.LabelSelector{MatchLabels: map[string]string{key: value}})
		if err != nil {
			t.Fatal(err)
		}
		return sel
	}
	w := newWorld(t)
	cfg := &config.Config{Pools: []config.Pool{w.pool("shop=192.0.2.0/32;priority=1"), w.pool("blue=192.0.2.1/32;priority=1")}}
	cfg.Pools[0].Allocation.NamespaceSelectors = []config.Selector{sel("kubernetes.io/metadata.name", "shop")}
	cfg.Pools[1].Allocation.NamespaceSelectors = []config.Selector{sel("team", "blue")}
	want := []string{"shop/a [192.0.2.0] shop Assigned", "lab/b [192.0.2.1] blue Assigned"}
	if diff := cmp.Diff(want, results(assign.NewPreview(s, assign.Options{}).Apply(cfg))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadDraft(t *testing.T) {
	tests := []struct{ name, spec, want string }{
		{"neither family nor policy", "", "[192.0.2.1]"},
		{"one family", "ipFamilies: [IPv6]", "[2001:db8::1]"},
		{"two families", "ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack", "[2001:db8::1 192.0.2.1]"},
		{"prefers two", "ipFamilyPolicy: PreferDualStack", "[192.0.2.1 2001:db8::1]"},
		{"requires two, IPv6 first", "ipFamilies: [IPv6], ipFamilyPolicy: RequireDualStack", "[2001:db8::1 192.0.2.1]"},
		{"what an API server gave", "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ipFamilyPolicy: PreferDualStack", "[10.96.0.1]"},
		{"headless", "clusterIP: None", "[]"},
	}
	for _, tt := range tests {
		s, err := object.ReadDraft(strings.NewReader(
			"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: LoadBalancer, ports: [{port: 80}], " + tt.spec + "}}"))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := fmt.Sprint(s.Services[0].ClusterIPs); got != tt.want {
			t.Errorf("%s: cluster IPs are %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, err := object.ReadDraft(strings.NewReader("{")); err == nil {
		t.Error("nonsense was read")
	}
}

func TestChangeOf(t *testing.T) {
	addrs := func(s string) (out []netip.Addr) {
		for f := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParseAddr(f))
		}
		return out
	}
	for _, tt := range []struct {
		before, after string
		want          assign.Change
	}{
		{"", "", assign.Keep},
		{"192.0.2.1", "192.0.2.1", assign.Keep},
		{"192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1", assign.Keep},
		{"", "192.0.2.1", assign.Gain},
		{"192.0.2.1", "192.0.2.1 2001:db8::1", assign.Gain},
		{"192.0.2.1", "", assign.Lose},
		{"192.0.2.1 2001:db8::1", "2001:db8::1", assign.Lose},
		{"192.0.2.1", "192.0.2.2", assign.Move},
		{"192.0.2.1", "192.0.2.2 2001:db8::1", assign.Move},
		{"192.0.2.1 2001:db8::1", "192.0.2.2 2001:db8::1", assign.Move},
	} {
		if got := assign.ChangeOf(addrs(tt.before), addrs(tt.after)); got != tt.want {
			t.Errorf("from %q to %q is %s, want %s", tt.before, tt.after, got, tt.want)
		}
	}
}
