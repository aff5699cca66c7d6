// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// Objects that cannot be in force beside others, on creation and on update, are
// refused in their status, name the other object, and change nothing.
//
// Acceptance: W001, W005.
func TestResourcesRules(t *testing.T) {
	r := e2e.NewResources(t)
	r.Configure(e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.246.0.0/24]}"))
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.Announced(e2e.Route(addr))
	since := time.Now()
	stop := r.Load(addr)

	// From the ConfigMap to resources that say the same.
	r.Apply(e2e.PeerResources + `---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, labels: {tier: gold}}
spec: {addresses: [10.246.0.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: q}
spec: {addresses: [10.246.1.0/24, "fd00:246::/120"], autoAssign: false}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad}
spec: {ipAddressPools: [p], communities: [mine], localPref: 100}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: q}
spec: {ipAddressPools: [q]}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names}
spec: {communities: [{name: mine, value: "64512:7"}]}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: slow}
spec: {receiveInterval: 1000}
`)
	r.Refused(config.KindPool, "p", config.VerdictIgnored, "configmap metallb-system/config")
	r.DeleteConfigMap()
	r.Accepted(config.KindPool, "p")
	for _, name := range []string{"controller", "speaker-n1", "speaker-n2", "speaker-n3"} {
		r.Result(name, "Valid", "")
	}
	r.Eventually("the counters of p", func(ctx context.Context) error {
		s, err := r.State(ctx, config.KindPool, "p")
		if err == nil && (s.AssignedIPv4 != 1 || s.AvailableIPv4 != 255) {
			err = fmt.Errorf("got %+v", s)
		}
		return err
	})
	r.Eventually("the community arrives", func(ctx context.Context) error {
		paths, err := r.IBGP.Paths(ctx)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if p.Prefix == e2e.Route(addr) && slices.Contains(p.Communities, "64512:7") && p.LocalPref != nil && *p.LocalPref == 100 {
				return nil
			}
		}
		return fmt.Errorf("paths are %+v", paths)
	})

	rules := []struct {
		name     string
		bad      string // an object, in place of what has its name
		reason   string
		message  string
		speakers bool // the agents have something to say of it, the controller has not
	}{
		{"a pool overlaps", "{kind: IPAddressPool, metadata: {name: new}, spec: {addresses: [10.246.0.128/25]}}", "Conflict",
			`CIDR "10.246.0.128/25" in pool "new" overlaps with already defined CIDR "10.246.0.0/24" of pool "p"`, false},
		{"a pool in use changes and overlaps", "{kind: IPAddressPool, metadata: {name: p, labels: {tier: gold}}, spec: {addresses: [10.246.1.0/24]}}", "Conflict",
			`overlaps with already defined CIDR "10.246.1.0/24" of pool "q"`, false},
		{"a pool in use has a range that is none", "{kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [10.246.0.9-10.246.0.1]}}", "Invalid",
			"is after the end IP", false},
		{"an advertisement reaches beyond its pool", "{kind: BGPAdvertisement, metadata: {name: wide}, spec: {aggregationLength: 23, ipAddressPoolSelectors: [{matchLabels: {tier: gold}}]}}", "Conflict",
			"invalid aggregation length 23: prefix 24 in this pool is more specific", true},
		{"an advertisement in use reaches beyond its pool", "{kind: BGPAdvertisement, metadata: {name: ad}, spec: {aggregationLength: 23}}", "Conflict",
			"(IPAddressPool/p)", true},
		{"two local preferences", "{kind: BGPAdvertisement, metadata: {name: second}, spec: {localPref: 200, peers: [r1]}}", "Conflict",
			"local preference 100 was already set for the same type of BGP update by BGPAdvertisement/ad", true},
		{"an unknown community", "{kind: BGPAdvertisement, metadata: {name: ad}, spec: {ipAddressPools: [p], communities: [nowhere]}}", "MissingReference",
			"invalid community format: nowhere", true},
		{"a community a second time", `{kind: Community, metadata: {name: again}, spec: {communities: [{name: mine, value: "1:1"}]}}`, "Conflict",
			`duplicate definition of community "mine", already in Community/names`, false},
		{"a peer's address a second time", "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: twin}, spec: {myASN: 64512, peerASN: 64599, peerAddress: 10.10.0.254}}", "Conflict",
			"already exists: BGPPeer/r1", true},
		{"a peer in use takes another's address", "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: r1}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.200}}", "Conflict",
			"already exists: BGPPeer/ibgp", true},
		{"a peer without its BFD profile", "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: r1}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254, bfdProfile: fast}}", "MissingReference",
			"peer r1 referencing non existing bfd profile fast", true},
		{"a peer without its Secret", "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: r1}, spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254, passwordSecret: {name: nowhere}}}", "MissingReference",
			`secret ref not found for peer config "r1"`, true},
	}
	for _, rule := range rules {
		o := e2e.Objects(t, rule.bad)[0]
		if o.GetAPIVersion() == "" {
			o.SetAPIVersion("metallb.io/v1beta1")
		}
		o.SetNamespace(lab.HeraldNamespace)
		before, err := r.Of(o).Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if apierrors.IsNotFound(err) {
			before = nil
		}
		if err := r.Put(t.Context(), o); err != nil {
			t.Errorf("%s: %v", rule.name, err)
			continue
		}
		r.Refused(o.GetKind(), o.GetName(), rule.reason, rule.message)
		r.Result("speaker-n2", "Invalid", rule.message)
		if rule.speakers {
			r.Result("controller", "Valid", "")
		} else {
			r.Result("controller", "Invalid", rule.message)
		}
		r.Eventually("an event", func(ctx context.Context) error {
			events, err := r.Cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
				FieldSelector: "involvedObject.kind=" + o.GetKind() + ",involvedObject.name=" + o.GetName(),
			})
			if err != nil {
				return err
			}
			for _, ev := range events.Items {
				if ev.Type == corev1.EventTypeWarning && strings.Contains(ev.Message, rule.message) {
					return nil
				}
			}
			return fmt.Errorf("none of %d", len(events.Items))
		})
		if before == nil {
			r.Delete(o.GetKind(), o.GetName())
			continue
		}
		if s, err := r.State(t.Context(), o.GetKind(), o.GetName()); err != nil || s.InForce == "" {
			t.Errorf("%s: nothing is said to be in force: %+v, %v", rule.name, s, err)
		}
		if err := r.Put(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		r.Accepted(o.GetKind(), o.GetName())
	}
	for _, name := range []string{"controller", "speaker-n1", "speaker-n2", "speaker-n3"} {
		r.Result(name, "Valid", "")
	}

	// What is in use is deleted: peers and advertisements go on with it.
	r.Delete(config.KindCommunity, "names")
	r.Refused(config.KindBGPAdvertisement, "ad", config.VerdictMissing, "invalid community format: mine")
	// Processes that restart know from the status what is in force.
	bad := e2e.Objects(t, "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [10.246.1.0/25]}}")[0]
	bad.SetNamespace(lab.HeraldNamespace)
	if err := r.Put(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	r.Refused(config.KindPool, "p", config.VerdictConflict, "pool \"q\"")
	r.Apply(`
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names}
spec: {communities: [{name: mine, value: "64512:7"}]}
`)
	r.Accepted(config.KindBGPAdvertisement, "ad")
	for _, d := range slices.Concat(r.Controllers, r.Agents) {
		if err := d.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	second := r.Expose(controlplane.ServiceOptions{Name: "second"})[0]
	if err := e2e.InRange(second, "10.246.0.0/24"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	r.Announced(e2e.Route(second))
	if got := r.Address("web"); got != addr {
		t.Errorf("the address is %s, was %s", got, addr)
	}
	stop()
	for _, c := range r.Routes.History(e2e.Route(addr)) {
		if c.Time.After(since) && !c.Present {
			t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
}
