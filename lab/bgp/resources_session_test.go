// SPDX-License-Identifier: Apache-2.0

package bgp_test

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
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// The password of a session is in a Secret: it counts on the session as it is
// there, and a Secret of the wrong type is reported.
//
// Acceptance: B032, B033.
func TestBGPResourcesPassword(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
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
	r.Apply(e2e.DocumentOf(e2e.PeerResources, "ibgp") + "\n---\n" + e2e.DocumentOf(e2e.PeerResources, "ibgp-v6"))
	r.Established(r.IBGP, r.Nodes)
	before, pids := r.Connections(), pidsOf(r.Test)

	// refused waits until no session has the password of the Secret.
	refused := func(reason, message string) {
		t.Helper()
		r.Refused(config.KindPeer, "tor", reason, message)
		r.Refused(config.KindPeer, "tor-v6", reason, message)
	}
	r.Apply(secret("Opaque", "first"))
	for name, address := range map[string]netip.Addr{"tor": listen[0], "tor-v6": listen[1]} {
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: %s}, spec: {myASN: 64512, peerASN: 64515, peerAddress: %q, connectTime: 1s, passwordSecret: {name: tor}}}", name, address))
	}
	const mismatch = `secret type mismatch on "metallb-system"/"tor", type "kubernetes.io/basic-auth" is expected`
	refused(config.VerdictInvalid, mismatch)
	r.Established(tor, nil)

	// The type of a Secret cannot be edited.
	r.Delete("Secret", "tor")
	refused(config.VerdictMissing, `there is no secret "tor"`)
	r.Apply("{apiVersion: v1, kind: Secret, metadata: {name: tor}, type: kubernetes.io/basic-auth, stringData: {username: herald}}")
	refused(config.VerdictInvalid, `password not specified in the secret "metallb-system"/"tor"`)
	r.Apply(secret(basicAuth, "wrong"))
	r.Accepted(config.KindPeer, "tor")
	r.Accepted(config.KindPeer, "tor-v6")
	r.Eventually("sessions are tried", func(context.Context) error {
		for _, n := range r.Nodes {
			for _, a := range listen {
				if s, ok := r.Sessions(n)[a.String()]; !ok {
					return fmt.Errorf("%s does not know %s", n.Name, a)
				} else if s.State == "Established" {
					t.Fatalf("%s has a session with %s, by a wrong password", n.Name, a)
				}
			}
		}
		return nil
	})
	r.Stays(3*time.Second, func() { r.Established(tor, nil) }) // they are tried every second

	r.Apply(secret(basicAuth, "first"))
	r.Established(tor, r.Nodes)

	// A new password, first here, then there.
	r.Apply(secret(basicAuth, "second"))
	r.Established(tor, nil)
	if err := tor.Stop(); err != nil {
		t.Fatal(err)
	}
	start("second")
	r.Established(tor, r.Nodes)

	// What is in use becomes wrong: the session goes on with what there was.
	r.Delete("Secret", "tor")
	refused(config.VerdictMissing, "it goes on with what was there before")
	r.Apply(secret("Opaque", "third"))
	refused(config.VerdictInvalid, mismatch)
	up := r.Connections()
	r.Delete("Secret", "tor")
	r.Apply(secret(basicAuth, "second"))
	r.Accepted(config.KindPeer, "tor")
	r.Accepted(config.KindPeer, "tor-v6")
	after := r.Connections()
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
	if now := pidsOf(r.Test); !maps.Equal(now, pids) {
		t.Errorf("daemons were %v, and are %v: something was restarted", pids, now)
	}
}

// pidsOf are the processes of agents and of the nodes' FRR.
func pidsOf(e *e2e.Test) map[string]int {
	e.T.Helper()
	out := map[string]int{}
	for _, n := range e.Nodes {
		out["agent of "+n.Name] = e.Agent(n).Process().PID()
		text, err := n.Run(e.T.Context(), "cat", filepath.Join(n.FRR.RunDir, "bgpd.pid"))
		if err != nil {
			e.T.Fatal(err)
		}
		if out["bgpd of "+n.Name], err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			e.T.Fatal(err)
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
	both := []corev1.IPFamily{e2e.IPv4, e2e.IPv6}
	for _, test := range []struct {
		name     string
		over     []string
		families []corev1.IPFamily
		lines    []string
	}{
		{"over ipv4", []string{"ipv4"}, both, []string{"ipv4 web from n1 n2 n3", "ipv6 web from n1 n2 n3 over ipv4"}},
		{"over ipv6", []string{"ipv6"}, both, []string{"ipv4 web from n1 n2 n3 over ipv6", "ipv6 web from n1 n2 n3"}},
		{"over both, ipv6", []string{"ipv4", "ipv6"}, []corev1.IPFamily{e2e.IPv6}, []string{"ipv6 web from n1 n2 n3", "ipv6 web from n1 n2 n3 over ipv4"}},
		{"over both, ipv4", []string{"ipv4", "ipv6"}, []corev1.IPFamily{e2e.IPv4}, []string{"ipv4 web from n1 n2 n3", "ipv4 web from n1 n2 n3 over ipv6"}},
	} {
		var keep, want []string
		for _, over := range test.over {
			for _, p := range peers[over] {
				r.Apply(p)
			}
			keep = append(keep, names[over]...)
		}
		keepOnly(r.Resources, config.KindPeer, keep)
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
				r.Reached(p.Addr())
			}
		}
		if err := r.Cluster.DeleteService(t.Context(), r.Namespace, "web"); err != nil {
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
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	for _, n := range r.Nodes {
		if err := r.Cluster.LabelNode(t.Context(), n.Name, "kubernetes.io/hostname", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	on := func(nodes ...string) string {
		return ", nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [" + strings.Join(nodes, ", ") + "]}]}]"
	}
	r.Apply(routePools + "---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	n1, n2, n3 := r.Nodes[0], r.Nodes[1], r.Nodes[2]
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
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
				document := strings.TrimSpace(e2e.DocumentOf(e2e.PeerResources, name))
				r.Apply(strings.TrimSuffix(document, "}") + on(chosen...) + "}")
			}
		}
		keepOnly(r, config.KindPeer, keep)
		r.Established(r.IBGP, test.ibgp)
		r.Established(r.EBGP, test.ebgp)
		r.Eventually("sessions of nodes", func(context.Context) error {
			for _, n := range r.Nodes {
				var want []string
				for _, p := range []struct {
					addrs []netip.Addr
					nodes []*lab.Node
				}{
					{[]netip.Addr{e2e.IBGP4, e2e.IBGP6}, test.ibgp}, {[]netip.Addr{e2e.EBGP4, e2e.EBGP6}, test.ebgp}, {[]netip.Addr{r.Router.Addr4, r.Router.Addr6}, test.r1},
				} {
					if slices.Contains(p.nodes, n) {
						want = append(want, p.addrs[0].String(), p.addrs[1].String())
					}
				}
				slices.Sort(want)
				have := r.Sessions(n)
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
		r.Learned(r.IBGP, e2e.Route(addr), test.ibgp)
		r.Learned(r.EBGP, e2e.Route(addr), test.ebgp)
		r.InKernel(e2e.Route(addr), test.r1)
	}
}

// Each node has an AS number of its own, by a peer of its own.
//
// Acceptance: B120.
func TestBGPResourcesNodeASN(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	asn := func(n *lab.Node) int { return 64700 + n.Number }
	r.Apply(routePools + "---\n{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: ad}}")
	r.Eventually("r1 has no sessions", func(ctx context.Context) error {
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
		r.Apply(fmt.Sprintf("{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: of-%s}, spec: {myASN: %d, peerASN: 64513, peerAddress: 10.10.0.254, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]}}",
			n.Name, asn(n), n.Name))
	}
	for _, n := range r.Nodes {
		r.Accepted(config.KindPeer, "of-"+n.Name)
		r.Eventually("session of "+n.Name, func(context.Context) error {
			s := r.Sessions(n)[r.Router.Addr4.String()]
			if s.State != "Established" || int(s.LocalAS) != asn(n) {
				return fmt.Errorf("it is %s, with AS %d", s.State, s.LocalAS)
			}
			return nil
		})
	}
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.InKernel(e2e.Route(addr), r.Nodes)
	r.Reached(addr)
}
