// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
)

// The password of a session is in a Secret: it counts on the session as it is
// there, and a Secret of the wrong type is reported.
//
// Acceptance: B032, B033.
func TestBGPResourcesPassword(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	secret := func(kind, password string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: tor}, type: %q, stringData: {username: herald, password: %q}}", kind, password)
	}
	const basicAuth = "kubernetes.io/basic-auth"
	t.Cleanup(func() {
		err := r.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace).Delete(context.Background(), "tor", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	listen := []netip.Addr{netip.MustParseAddr("10.10.0.204"), netip.MustParseAddr("fd00:10:10::204")}
	var tor *lab.GoBGP
	start := func(password string) {
		t.Helper()
		var err error
		tor, err = r.StartGoBGP(t.Context(), lab.GoBGPOptions{Name: "tor-" + password, ASN: 64515, Listen: listen, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tor.Stop() })
	}
	start("first")
	r.apply(documentOf(peerResources, "ibgp") + "\n---\n" + documentOf(peerResources, "ibgp-v6"))
	r.established(r.ibgp, r.Nodes)
	before, pids := r.connections(), r.pids()

	// refused waits until no session has the password of the Secret.
	refused := func(reason, message string) {
		t.Helper()
		r.refused(config.KindPeer, "tor", reason, message)
		r.refused(config.KindPeer, "tor-v6", reason, message)
	}
	r.apply(secret("Opaque", "first"))
	for name, address := range map[string]netip.Addr{"tor": listen[0], "tor-v6": listen[1]} {
		r.apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, peerASN: 64515, peerAddress: %q, connectTime: 1s, passwordSecret: {name: tor}}}", name, address))
	}
	const mismatch = `secret type mismatch on "metallb-system"/"tor", type "kubernetes.io/basic-auth" is expected`
	refused(config.VerdictInvalid, mismatch)
	r.established(tor, nil)

	// The type of a Secret cannot be edited.
	r.delete("Secret", "tor")
	refused(config.VerdictMissing, `there is no secret "tor"`)
	r.apply("{apiVersion: v1, kind: Secret, metadata: {name: tor}, type: kubernetes.io/basic-auth, stringData: {username: herald}}")
	refused(config.VerdictInvalid, `password not specified in the secret "metallb-system"/"tor"`)
	r.apply(secret(basicAuth, "wrong"))
	r.accepted(config.KindPeer, "tor")
	r.accepted(config.KindPeer, "tor-v6")
	r.eventually("sessions are tried", func(context.Context) error {
		for _, n := range r.Nodes {
			for _, a := range listen {
				if s, ok := r.sessions(n)[a.String()]; !ok {
					return fmt.Errorf("%s does not know %s", n.Name, a)
				} else if s.State == "Established" {
					t.Fatalf("%s has a session with %s, by a wrong password", n.Name, a)
				}
			}
		}
		return nil
	})
	r.stays(3*time.Second, func() { r.established(tor, nil) }) // they are tried every second

	r.apply(secret(basicAuth, "first"))
	r.established(tor, r.Nodes)

	// A new password, first here, then there.
	r.apply(secret(basicAuth, "second"))
	r.established(tor, nil)
	if err := tor.Stop(); err != nil {
		t.Fatal(err)
	}
	start("second")
	r.established(tor, r.Nodes)

	// What is in use becomes wrong: the session goes on with what there was.
	r.delete("Secret", "tor")
	refused(config.VerdictMissing, "it goes on with what was there before")
	r.apply(secret("Opaque", "third"))
	refused(config.VerdictInvalid, mismatch)
	up := r.connections()
	r.delete("Secret", "tor")
	r.apply(secret(basicAuth, "second"))
	r.accepted(config.KindPeer, "tor")
	r.accepted(config.KindPeer, "tor-v6")
	after := r.connections()
	for name, n := range up {
		if after[name] != n {
			t.Errorf("%s was established %d times, then %d, while its Secret was replaced by an equal one", name, n, after[name])
		}
	}
	for name, n := range before {
		if after[name] != n {
			t.Errorf("%s, which has no password, was established %d times, then %d", name, n, after[name])
		}
	}
	if now := r.pids(); !maps.Equal(now, pids) {
		t.Errorf("daemons were %v, and are %v: something was restarted", pids, now)
	}
}

// pids are the processes of agents and of the nodes' FRR.
func (e *e2e) pids() map[string]int {
	e.t.Helper()
	out := map[string]int{}
	for _, n := range e.Nodes {
		out["agent of "+n.Name] = e.Agent(n).Process().PID()
		text, err := n.Run(e.t.Context(), "cat", filepath.Join(n.FRR.RunDir, "bgpd.pid"))
		if err != nil {
			e.t.Fatal(err)
		}
		if out["bgpd of "+n.Name], err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			e.t.Fatal(err)
		}
	}
	return out
}

// One session carries both families, whichever it runs over.
//
// Acceptance: B082-B087.
func TestBGPResourcesDualStack(t *testing.T) {
	r := newRouteTest(t)
	peer := func(name, address string, asn int, dual bool) string {
		return fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, peerASN: %d, peerAddress: %q, dualStackAddressFamily: %t}}",
			name, asn, address, dual)
	}
	peers := map[string][]string{
		"ipv4": {peer("ibgp", "10.10.0.200", 64512, true), peer("ebgp", "10.10.0.201", 64514, true), peer("r1", "10.10.0.254", 64513, true)},
		"ipv6": {peer("ibgp-v6", "fd00:10:10::200", 64512, true), peer("ebgp-v6", "fd00:10:10::201", 64514, true), peer("r1-v6", "fd00:10:10::254", 64513, true)},
	}
	names := map[string][]string{"ipv4": {"ibgp", "ebgp", "r1"}, "ipv6": {"ibgp-v6", "ebgp-v6", "r1-v6"}}
	r.advertise(map[string]string{"ad": "ipAddressPools: [one], communities: ['65010:1'], localPref: 150"})
	both := []corev1.IPFamily{v4, v6}
	for _, test := range []struct {
		name     string
		over     []string
		families []corev1.IPFamily
		lines    []string
	}{
		{"over ipv4", []string{"ipv4"}, both, []string{"ipv4 web from n1 n2 n3", "ipv6 web from n1 n2 n3 over ipv4"}},
		{"over ipv6", []string{"ipv6"}, both, []string{"ipv4 web from n1 n2 n3 over ipv6", "ipv6 web from n1 n2 n3"}},
		{"over both, ipv6", []string{"ipv4", "ipv6"}, []corev1.IPFamily{v6}, []string{"ipv6 web from n1 n2 n3", "ipv6 web from n1 n2 n3 over ipv4"}},
		{"over both, ipv4", []string{"ipv4", "ipv6"}, []corev1.IPFamily{v4}, []string{"ipv4 web from n1 n2 n3", "ipv4 web from n1 n2 n3 over ipv6"}},
	} {
		var keep, want []string
		for _, over := range test.over {
			for _, p := range peers[over] {
				r.apply(p)
			}
			keep = append(keep, names[over]...)
		}
		r.keepOnly(config.KindPeer, keep)
		r.serve("web", routeService{name: "web", pool: "one"}, test.families)
		w := routing{}
		for _, l := range test.lines {
			w.ebgp = append(w.ebgp, l+" with 65010:1")
			w.ibgp = append(w.ibgp, l+" with 65010:1 pref 150")
			l, _, _ = strings.Cut(l, " over")
			want = append(want, l)
		}
		w.r1 = slices.Compact(want)
		r.settle()
		r.routes(test.name, w)
		for p, name := range r.names {
			if name == "web" {
				r.reached(p.Addr())
			}
		}
		if err := r.Cluster.DeleteService(t.Context(), r.namespace, "web"); err != nil {
			t.Fatal(err)
		}
		r.routes(test.name+": nothing is left", routing{})
		r.forget()
	}
}

// Peers have node selectors: each router has sessions with the nodes that are
// meant for it, and with no other.
//
// Acceptance: B117-B119.
func TestBGPResourcesPeerNodes(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	on := func(nodes ...string) string {
		return ", nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [" + strings.Join(nodes, ", ") + "]}]}]"
	}
	r.apply(routePools + "---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	n1, n2, n3 := r.Nodes[0], r.Nodes[1], r.Nodes[2]
	addr := r.expose(lab.ServiceOptions{Name: "web"})[0]
	for _, test := range []struct {
		name           string
		ibgp, ebgp, r1 []*lab.Node
	}{
		{"first to one, second to two", []*lab.Node{n1}, []*lab.Node{n2, n3}, nil},
		{"first to one, second to one, third to three", []*lab.Node{n1}, []*lab.Node{n2}, []*lab.Node{n1, n2, n3}},
		{"first to one, second to one, third to same as first", []*lab.Node{n1}, []*lab.Node{n2}, []*lab.Node{n1}},
	} {
		t.Log(test.name)
		var keep []string
		for name, nodes := range map[string][]*lab.Node{"ibgp": test.ibgp, "ebgp": test.ebgp, "r1": test.r1} {
			var chosen []string
			for _, n := range nodes {
				chosen = append(chosen, n.Name)
			}
			if len(nodes) == 0 {
				continue
			}
			for _, name := range []string{name, name + "-v6"} {
				keep = append(keep, name)
				document := strings.TrimSpace(documentOf(peerResources, name))
				r.apply(strings.TrimSuffix(document, "}") + on(chosen...) + "}")
			}
		}
		r.keepOnly(config.KindPeer, keep)
		r.established(r.ibgp, test.ibgp)
		r.established(r.ebgp, test.ebgp)
		r.eventually("sessions of nodes", func(context.Context) error {
			for _, n := range r.Nodes {
				var want []string
				for _, p := range []struct {
					addrs []netip.Addr
					nodes []*lab.Node
				}{
					{[]netip.Addr{ibgp4, ibgp6}, test.ibgp}, {[]netip.Addr{ebgp4, ebgp6}, test.ebgp}, {[]netip.Addr{r.Router.Addr4, r.Router.Addr6}, test.r1},
				} {
					if slices.Contains(p.nodes, n) {
						want = append(want, p.addrs[0].String(), p.addrs[1].String())
					}
				}
				slices.Sort(want)
				have := r.sessions(n)
				if got := slices.Sorted(maps.Keys(have)); !slices.Equal(got, want) {
					return fmt.Errorf("%s has sessions with %v, want %v", n.Name, got, want)
				}
				for peer, s := range have {
					if s.State != "Established" {
						return fmt.Errorf("the session of %s with %s is %s", n.Name, peer, s.State)
					}
				}
			}
			return nil
		})
		r.learned(r.ibgp, route(addr), test.ibgp)
		r.learned(r.ebgp, route(addr), test.ebgp)
		r.inKernel(route(addr), test.r1)
	}
}

// Each node has an AS number of its own, by a peer of its own.
//
// Acceptance: B120.
func TestBGPResourcesNodeASN(t *testing.T) {
	r := newResourceTest(t)
	r.deleteConfigMap()
	asn := func(n *lab.Node) int { return 64700 + n.Number }
	r.apply(routePools + "---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	r.eventually("r1 has no sessions", func(ctx context.Context) error {
		out, err := r.Router.FRR.Vtysh(ctx, "show bgp summary json")
		for _, n := range r.Nodes {
			if err == nil && strings.Contains(out, strconv.Quote(n.Addr4.String())) {
				err = fmt.Errorf("there is one with %s", n.Name)
			}
		}
		return err
	})
	neighbors := func(no string) {
		commands := []string{"configure terminal", "router bgp 64513"}
		for _, n := range r.Nodes {
			commands = append(commands, no+"neighbor "+n.Addr4.String()+" remote-as "+strconv.Itoa(asn(n)))
		}
		if no == "" {
			commands = append(commands, "address-family ipv4 unicast")
			for _, n := range r.Nodes {
				commands = append(commands, "neighbor "+n.Addr4.String()+" activate")
			}
		}
		if _, err := r.Router.FRR.Vtysh(context.Background(), commands...); err != nil {
			t.Error(err)
		}
	}
	neighbors("")
	t.Cleanup(func() { neighbors("no ") })
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
		r.apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: of-%s}, spec: {myASN: %d, peerASN: 64513, peerAddress: 10.10.0.254, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]}}",
			n.Name, asn(n), n.Name))
	}
	for _, n := range r.Nodes {
		r.accepted(config.KindPeer, "of-"+n.Name)
		r.eventually("session of "+n.Name, func(context.Context) error {
			s := r.sessions(n)[r.Router.Addr4.String()]
			if s.State != "Established" || int(s.LocalAS) != asn(n) {
				return fmt.Errorf("it is %s, with AS %d", s.State, s.LocalAS)
			}
			return nil
		})
	}
	addr := r.expose(lab.ServiceOptions{Name: "web"})[0]
	r.inKernel(route(addr), r.Nodes)
	r.reached(addr)
}
