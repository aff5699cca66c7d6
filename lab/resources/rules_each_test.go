// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A resourceRule is a rule, by an object that keeps it and one that does not. In
// their texts N is the number of the rule, so that objects of different rules do
// not collide.
type resourceRule struct {
	name, kind string
	labels     string
	good, bad  string // specs
	reason     string
	message    string

	id string // name of the object
}

// numbered returns rules with their numbers.
func numbered(rules []resourceRule) []resourceRule {
	for i := range rules {
		r := &rules[i]
		n := strconv.Itoa(10 + i)
		r.id = "new-" + n
		for _, text := range []*string{&r.good, &r.bad, &r.message} {
			*text = placeholder.ReplaceAllString(*text, "${1}"+n)
		}
	}
	return rules
}

// placeholder is an N after what comes before one.
var placeholder = regexp.MustCompile(`([.x-])N\b`)

// object returns the object of a rule with a spec.
func (r resourceRule) object(spec string) string {
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, labels: {%s}}, spec: {%s}}",
		e2e.KindOf(r.kind).GroupVersion(), r.kind, r.id, r.labels, spec)
}

// ruleBase is what the objects of rules collide with.
const (
	rackAddress = "10.10.0.98"
	ruleBase    = `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p, labels: {tier: gold}}, spec: {addresses: [10.245.0.0/24]}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: q}, spec: {addresses: [10.245.1.0/24, "fd00:245::/120"], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: small}, spec: {addresses: [10.245.3.0/28], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}, spec: {ipAddressPools: [p], communities: [mine], localPref: 100}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: q}, spec: {ipAddressPools: [q, small]}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: aggregate}, spec: {ipAddressPoolSelectors: [{matchLabels: {tier: silver}}], aggregationLength: 26}}
---
{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: names}, spec: {communities: [{name: mine, value: "64512:7"}, {name: wide, value: "large:64512:7:7"}]}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: slow}, spec: {receiveInterval: 1000}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: echo}, spec: {echoMode: true}}
---
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: rack}, spec: {myASN: 64512, peerASN: 64599, peerAddress: ` + rackAddress + `, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]}}
---
{apiVersion: v1, kind: Secret, metadata: {name: opaque}, type: Opaque, stringData: {password: secret}}
---
{apiVersion: v1, kind: Secret, metadata: {name: keyless}, type: kubernetes.io/basic-auth, stringData: {username: herald}}
`
)

// rules are those that the definitions cannot keep by themselves.
func resourceRules() []resourceRule {
	const (
		free     = "addresses: [10.245.N.0/24], autoAssign: false"
		peer     = "myASN: 64512, peerASN: 64599, peerAddress: "
		near     = "[{matchExpressions: [{key: a, operator: Near}]}]"
		noValues = "[{matchExpressions: [{key: a, operator: In}]}]"
		twice    = "[{matchLabels: {a: b}}, {matchExpressions: [{key: c, operator: Exists}]}, {matchLabels: {a: b}}]"
		value    = "[{matchExpressions: [{key: a, operator: In, values: [b, c, b]}]}]"
		again    = "[{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: Exists}]}]"
	)
	pool := func(name, bad, reason, message string) resourceRule {
		return resourceRule{name: name, kind: config.KindPool, good: free, bad: bad, reason: reason, message: message}
	}
	allocation := func(name, bad, message string) resourceRule {
		return pool(name, free+", serviceAllocation: {"+bad+"}", config.VerdictInvalid, message)
	}
	of := func(kind, good string) func(name, bad, reason, message string) resourceRule {
		return func(name, bad, reason, message string) resourceRule {
			return resourceRule{name: name, kind: kind, good: good, bad: bad, reason: reason, message: message}
		}
	}
	bgp, l2 := of(config.KindBGPAdvertisement, "ipAddressPools: [q]"), of(config.KindL2Advertisement, "ipAddressPools: [q]")
	toPeer := of(config.KindPeer, peer+"10.10.9.N")
	community := func(name, good, bad, reason, message string) resourceRule {
		return of(config.KindCommunity, "communities: ["+good+"]")(name, "communities: ["+bad+"]", reason, message)
	}
	rules := []resourceRule{
		pool("prefix in another pool", "addresses: [10.245.0.128/25]", config.VerdictConflict, `CIDR "10.245.0.128/25" in pool "new-N" overlaps with already defined CIDR "10.245.0.0/24" of pool "p"`),
		pool("range in another pool", "addresses: [10.245.1.9-10.245.1.20]", config.VerdictConflict, `overlaps with already defined CIDR "10.245.1.0/24" of pool "q"`),
		pool("IPv6 prefix in another pool", `addresses: ["fd00:245::80/121"]`, config.VerdictConflict, `overlaps with already defined CIDR "fd00:245::/120" of pool "q"`),
		pool("overlap in itself", "addresses: [10.245.N.0/24, 10.245.N.8-10.245.N.9]", config.VerdictInvalid, `CIDR "10.245.N.8-10.245.N.9" in pool "new-N" overlaps with already defined CIDR "10.245.N.0/24"`),
		pool("prefix too long", "addresses: [10.245.N.0/33]", config.VerdictInvalid, `invalid CIDR "10.245.N.0/33" in pool "new-N"`),
		pool("range backwards", "addresses: [10.245.N.9-10.245.N.1]", config.VerdictInvalid, `start IP "10.245.N.9" is after the end IP "10.245.N.1"`),
		pool("range from nowhere", "addresses: [10.245.N.-10.245.N.9]", config.VerdictInvalid, "invalid start IP"),
		pool("loopback", "addresses: [127.0.0.0/8]", config.VerdictInvalid, `spec.addresses[0]: "127.0.0.0/8" is of no use: no Service can have a loopback address`),
		pool("range to nowhere", "addresses: [10.245.N.1-10.245.N.999]", config.VerdictInvalid, "invalid end IP"),
		{
			name: "smaller than an aggregate", kind: config.KindPool, labels: "tier: silver", good: free, bad: "addresses: [10.245.N.0/28]", reason: config.VerdictConflict,
			message: `invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses "10.245.N.0/28" (BGPAdvertisement/aggregate)`,
		},
		allocation("namespace twice", "namespaces: [a, b, a]", "duplicate definition in namespaces field"),
		allocation("namespace selector", "namespaceSelectors: "+near, "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0].operator: invalid label selector"),
		allocation("service selector of a pool", "serviceSelectors: "+noValues, "spec.serviceAllocation.serviceSelectors[0].matchExpressions[0].values: invalid label selector"),
		allocation("namespace selector twice", "namespaceSelectors: "+twice, `duplicate definition of namespaceSelectors "a=b"`),

		toPeer("BFD profile", peer+"10.10.9.N, bfdProfile: fast", config.VerdictMissing, "peer new-N referencing non existing bfd profile fast"),
		toPeer("Secret", peer+"10.10.9.N, passwordSecret: {name: nowhere}", config.VerdictMissing, `secret ref not found for peer config "new-N": there is no secret "nowhere"`),
		toPeer("type of the Secret", peer+"10.10.9.N, passwordSecret: {name: opaque}", config.VerdictInvalid, `spec.passwordSecret: secret type mismatch on "metallb-system"/"opaque", type "kubernetes.io/basic-auth" is expected`),
		toPeer("key of the Secret", peer+"10.10.9.N, passwordSecret: {name: keyless}", config.VerdictInvalid, `spec.passwordSecret: password not specified in the secret "metallb-system"/"keyless"`),
		toPeer("address of a peer of all nodes", peer+"10.10.0.254", config.VerdictConflict, "peer 10.10.0.254 already exists: BGPPeer/r1 is for the same nodes"),
		toPeer("address of a peer of some nodes", peer+"10.10.0.98", config.VerdictConflict, "peer 10.10.0.98 already exists: BGPPeer/rack is for the same nodes"),
		{
			name: "address of a peer of the same nodes", kind: config.KindPeer,
			good:   peer + "10.10.0.98, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]",
			bad:    peer + "10.10.0.98, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}, {matchLabels: {kubernetes.io/hostname: n1}}]",
			reason: config.VerdictConflict, message: "peer 10.10.0.98 already exists: BGPPeer/rack is for the same nodes",
		},
		toPeer("address", peer+"10.10.9.999", config.VerdictInvalid, `invalid BGPPeer address "10.10.9.999"`),
		toPeer("source address", peer+"10.10.9.N, sourceAddress: 10.10.0", config.VerdictInvalid, `invalid source IP "10.10.0"`),
		toPeer("router ID", peer+"10.10.9.N, routerID: 10.10.0", config.VerdictInvalid, `invalid router ID "10.10.0"`),
		toPeer("several hops inside", "myASN: 64512, dynamicASN: internal, peerAddress: 10.10.9.N, ebgpMultiHop: true", config.VerdictInvalid, "invalid ebgp-multihop parameter set for an ibgp peer"),
		toPeer("node selector twice", peer+"10.10.9.N, nodeSelectors: "+twice, config.VerdictInvalid, `duplicate definition of nodeSelectors "a=b"`),
		toPeer("value of a node selector twice", peer+"10.10.9.N, nodeSelectors: "+value, config.VerdictInvalid, `duplicate definition of values "b"`),
		toPeer("expression of a node selector twice", peer+"10.10.9.N, nodeSelectors: "+again, config.VerdictInvalid, `duplicate definition of matchExpressions "a"`),

		community("value", "{name: xN, value: '64512:8'}", "{name: xN, value: '99999:8'}", config.VerdictInvalid, `parsing community "xN": invalid community value: invalid community "99999:8": 99999 does not fit in 16 bits`),
		community("large value", "{name: xN, value: 'large:1:2:3'}", "{name: xN, value: 'large:1:2:9999999999'}", config.VerdictInvalid, "9999999999 does not fit in 32 bits"),
		community("name twice", "{name: xN, value: '1:2'}", "{name: xN, value: '1:2'}, {name: xN, value: '1:3'}", config.VerdictInvalid, `duplicate definition of community "xN"`),
		community("large name twice", "{name: xN, value: 'large:1:2:3'}", "{name: xN, value: 'large:1:2:3'}, {name: xN, value: 'large:1:2:4'}", config.VerdictInvalid, `duplicate definition of community "xN"`),
		community("name of another", "{name: xN, value: '1:2'}", "{name: mine, value: '1:2'}", config.VerdictConflict, `duplicate definition of community "mine", already in Community/names`),
		community("large name of another", "{name: xN, value: 'large:1:2:3'}", "{name: wide, value: 'large:1:2:3'}", config.VerdictConflict, `duplicate definition of community "wide", already in Community/names`),

		bgp("aggregate larger than the pool", "ipAddressPools: [small], aggregationLength: 26", config.VerdictConflict,
			`invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses "10.245.3.0/28" (IPAddressPool/small)`),
		bgp("IPv6 aggregate larger than the pool", "ipAddressPools: [q], aggregationLengthV6: 119", config.VerdictConflict, "invalid aggregation length 119: prefix 120 in this pool is more specific"),
		bgp("preference of another", "ipAddressPools: [p], localPref: 200", config.VerdictConflict,
			`invalid local preference 200: local preference 100 was already set for the same type of BGP update by BGPAdvertisement/ad, for pool "p"`),
		bgp("unknown community", "ipAddressPools: [q], communities: [nowhere]", config.VerdictMissing, "invalid community format: nowhere: no Community defines it"),
		bgp("wrong community", "ipAddressPools: [q], communities: ['99999:1']", config.VerdictInvalid, `spec.communities[0]: invalid community "99999:1" in BGP advertisement`),
		bgp("community twice", "ipAddressPools: [q], communities: [mine, '1:2', mine]", config.VerdictInvalid, `duplicate definition of community "mine"`),
		bgp("peer twice", "ipAddressPools: [q], peers: [r1, r1]", config.VerdictInvalid, `duplicate definition of peers "r1"`),
		l2("pool twice", "ipAddressPools: [q, q]", config.VerdictInvalid, `duplicate definition of ipAddressPools "q"`),
		l2("preferred nodes", "ipAddressPools: [q], preferredNodeSelectors: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Near}]}}]", config.VerdictInvalid,
			"spec.preferredNodeSelectors[0].preference.matchExpressions[0].operator: invalid label selector"),
	}
	for _, of := range []func(name, bad, reason, message string) resourceRule{bgp, l2} {
		for _, field := range []string{"nodeSelectors", "serviceSelectors", "ipAddressPoolSelectors"} {
			rules = append(rules,
				of(field, field+": "+near, config.VerdictInvalid, "spec."+field+"[0].matchExpressions[0].operator: invalid label selector"),
				of(field+" twice", field+": "+twice, config.VerdictInvalid, fmt.Sprintf("duplicate definition of %s %q", field, "a=b")))
		}
	}
	return rules
}

// Each rule holds on creation and on update: the object that breaks it is refused
// and names the other, what it said before stays in force, and it is accepted once
// it is right. Meanwhile no Service loses its address or its route.
//
// Acceptance: W001, W002, W004-W012.
func TestResourcesEveryRule(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	t.Cleanup(func() {
		for _, name := range []string{"opaque", "keyless"} {
			err := r.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace).Delete(context.Background(), name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		}
	})
	r.Apply(e2e.PeerResources)
	r.Apply(ruleBase)
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.Announced(e2e.Route(addr))
	// From here on: the sessions of a ConfigMap that was there before stay until there
	// is a pool among the resources. Nobody answers as the peer rack.
	connections := map[string]int{}
	r.Eventually("all sessions but those with rack", func(context.Context) error {
		for _, n := range r.Nodes {
			for peer, s := range r.Sessions(n) {
				if s.State != "Established" && peer != rackAddress {
					return fmt.Errorf("the session of %s with %s is %q", n.Name, peer, s.State)
				}
				if peer != rackAddress {
					connections[n.Name+" to "+peer] = s.Established
				}
			}
		}
		return nil
	})
	since := time.Now()
	stop := r.Load(addr)

	// All at a time: a status is written in at most one round a second.
	rules := numbered(resourceRules())
	apply := func(spec func(resourceRule) string) {
		t.Helper()
		for _, rule := range rules {
			r.Apply(rule.object(spec(rule)))
		}
	}
	good := func(rule resourceRule) string { return rule.good }
	bad := func(rule resourceRule) string { return rule.bad }
	accepted := func() {
		t.Helper()
		for _, rule := range rules {
			r.Accepted(rule.kind, rule.id)
		}
	}
	apply(bad)
	for _, rule := range rules {
		r.Refused(rule.kind, rule.id, rule.reason, rule.message)
		if s, err := r.State(t.Context(), rule.kind, rule.id); err != nil || s.InForce != "" {
			t.Errorf("%s: of a new object that is refused something is in force: %+v, %v", rule.name, s, err)
		}
	}
	apply(good)
	accepted()
	specs := map[string]any{}
	for _, rule := range rules {
		specs[rule.id] = r.Spec(rule.kind, rule.id)
	}
	apply(bad)
	for _, rule := range rules {
		r.Refused(rule.kind, rule.id, rule.reason, rule.message)
		if diff := cmp.Diff(specs[rule.id], inForce(r, rule.kind, rule.id)); diff != "" {
			t.Errorf("%s: in force is another version than the last valid one (-want +got):\n%s", rule.name, diff)
		}
	}
	apply(good)
	accepted()
	for _, rule := range rules {
		r.Delete(rule.kind, rule.id)
	}

	tolerated(r)
	for _, name := range []string{"controller", "speaker-n1", "speaker-n2", "speaker-n3"} {
		r.Result(name, "Valid", "")
	}
	if got := r.Address("web"); got != addr {
		t.Errorf("the address is %s, was %s", got, addr)
	}
	stop()
	for _, c := range r.Routes.History(e2e.Route(addr)) {
		if c.Time.After(since) {
			t.Errorf("r1's route to %s changed: %v", addr, c)
		}
	}
	r.Delete(config.KindPeer, "rack")
	r.Eventually("the sessions are the same", func(context.Context) error {
		if diff := cmp.Diff(connections, r.Connections()); diff != "" {
			return fmt.Errorf("(-before +after):\n%s", diff)
		}
		return nil
	})
}

// tolerated shows what is not refused, though MetalLB's webhooks do: two equal
// advertisements, and objects in another namespace, which nobody reads.
func tolerated(r *e2e.Resources) {
	r.T.Helper()
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: twin}, spec: {ipAddressPools: [p], communities: [mine], localPref: 100}}")
	r.Accepted(config.KindBGPAdvertisement, "twin")
	r.Delete(config.KindBGPAdvertisement, "twin")

	const elsewhere = "elsewhere"
	if err := r.Cluster.CreateNamespace(r.T.Context(), elsewhere); err != nil {
		r.T.Fatal(err)
	}
	foreign := e2e.Objects(r.T, `
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [10.245.0.0/24, 10.245.9.0/24]}}
---
{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: far}}
---
{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: far}, spec: {communities: [{name: mine, value: "1:1"}]}}
---
{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: far}, spec: {myASN: 64512, peerASN: 64599, peerAddress: 10.10.0.97}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: far}, spec: {communities: ["1:1"]}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: far}}
`)
	client := func(o *unstructured.Unstructured) func() error {
		gvk := o.GroupVersionKind()
		c := r.Dynamic.Resource(gvk.GroupVersion().WithResource(e2e.Plurals[gvk.Kind])).Namespace(elsewhere)
		if _, err := c.Create(r.T.Context(), o, metav1.CreateOptions{}); err != nil {
			r.T.Fatal(err)
		}
		return func() error {
			have, err := c.Get(r.T.Context(), o.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if status, ok, _ := unstructured.NestedMap(have.Object, "status"); ok && len(status) > 0 {
				return fmt.Errorf("%s in another namespace has a status: %v", o.GetKind(), status)
			}
			return c.Delete(r.T.Context(), o.GetName(), metav1.DeleteOptions{})
		}
	}
	var unread []func() error
	for _, o := range foreign {
		unread = append(unread, client(o))
	}
	// They were looked at, if at all, when what was created afterwards is accepted.
	r.Apply("{apiVersion: metallb.io/v1beta1, kind: BFDProfile, metadata: {name: later}}")
	r.Accepted(config.KindBFDProfile, "later")
	for _, check := range unread {
		if err := check(); err != nil {
			r.T.Error(err)
		}
	}
	for _, n := range r.Nodes {
		if _, ok := r.Sessions(n)["10.10.0.97"]; ok {
			r.T.Errorf("%s has a session with a peer of another namespace", n.Name)
		}
	}
	for _, p := range r.Learned(r.IBGP, e2e.Route(r.Address("web")), r.Nodes) {
		if diff := cmp.Diff([]string{"64512:7"}, p.Communities); diff != "" {
			r.T.Errorf("%s announces with other communities (-want +got):\n%s", p.Peer, diff)
		}
	}
}

// inForce returns what an older version of an object says that is in force.
func inForce(r *e2e.Resources, kind, name string) any {
	r.T.Helper()
	s, err := r.State(r.T.Context(), kind, name)
	if err != nil {
		r.T.Fatal(err)
	}
	var in struct{ Spec any }
	if err := json.Unmarshal([]byte(s.InForce), &in); err != nil {
		r.T.Fatalf("%s %s: in force is %q: %v", kind, name, s.InForce, err)
	}
	return in.Spec
}
