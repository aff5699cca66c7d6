// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"net/netip"
	"strings"
)

// namespace holds the Services.
const namespace = "soak"

// Canary is a password that Herald knows. It must be shown nowhere.
const canary = "canary-Q7x-do-not-show"

// peers are the BGPPeers by name. A step cuts those of the GoBGPs only: r1 forwards.
var peers = map[string]string{
	"r1": `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: r1, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: r1-v6, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: "fd00:10:10::254"}
`,
	"ibgp": `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ibgp, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64512, peerAddress: 10.10.0.200}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ibgp-v6, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64512, peerAddress: "fd00:10:10::200"}
`,
	"ebgp": `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ebgp, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64514, peerAddress: 10.10.0.201}
`,
	"guarded": `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: guarded, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64515, peerAddress: 10.10.0.202, passwordSecret: {name: guarded}}
`,
}

// passwordSecret is the Secret of the peer guarded.
const passwordSecret = `
apiVersion: v1
kind: Secret
metadata: {name: guarded, namespace: metallb-system}
type: kubernetes.io/basic-auth
stringData: {password: ` + canary + `}
`

// pool returns the manifest of a pool that gives its addresses to Services which name it.
func pool(name string, addresses ...string) string {
	return fmt.Sprintf(`
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: %s, namespace: metallb-system}
spec: {addresses: ["%s"], autoAssign: false}
`, name, strings.Join(addresses, `", "`))
}

// advertisement returns the manifest of a BGPAdvertisement or L2Advertisement of a pool
// with the same name.
func advertisement(kind, name, more string) string {
	return fmt.Sprintf(`
---
apiVersion: metallb.io/v1beta1
kind: %s
metadata: {name: %s, namespace: metallb-system}
spec: {ipAddressPools: [%[2]s]%s}
`, kind, name, more)
}

// The kinds of advertisements.
const (
	bgpKind = "BGPAdvertisement"
	l2Kind  = "L2Advertisement"
)

// ranges are the addresses of the pools that are never edited.
var ranges = map[string][]string{
	poolLAN: {"10.10.0.128/28"}, poolRouted: {"192.0.2.0/26", "2001:db8:5::/120"}, poolSwitched: {"10.10.0.160/28"},
}

// poolOf returns the pool of ranges that has an address; empty: none has.
func poolOf(a netip.Addr) string {
	for name, all := range ranges {
		for _, r := range all {
			if netip.MustParsePrefix(r).Contains(a) {
				return name
			}
		}
	}
	return ""
}

// objects returns the manifests of what there is in a world, Services left out.
func (w World) objects() string {
	all := passwordSecret
	for _, p := range []string{"r1", "ibgp", "ebgp", "guarded"} {
		all += "---" + peers[p]
	}
	for _, name := range []string{poolLAN, poolRouted, poolSwitched} {
		all += pool(name, ranges[name]...)
	}
	if w.Spare {
		all += pool(poolSpare, w.spareRange())
	}
	return all + advertisement(l2Kind, poolLAN, "") +
		advertisement(bgpKind, poolRouted, w.communities()) + advertisement(bgpKind, poolSpare, "") + w.switched()
}

// communities is a part of the advertisement of the pool routed.
func (w World) communities() string {
	if w.Variant == 0 {
		return ""
	}
	return fmt.Sprintf(`, communities: ["64512:%d"]`, w.Variant)
}

// switched is the advertisement of the pool switch.
func (w World) switched() string {
	if w.Switched {
		return advertisement(bgpKind, poolSwitched, "")
	}
	return advertisement(l2Kind, poolSwitched, "")
}

// manifest returns the manifest of a Service.
func (s Service) manifest(name string) string {
	family, policy := "IPv4", "Cluster"
	if s.V6 {
		family = "IPv6"
	}
	if s.Local {
		policy = "Local"
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, annotations: {metallb.io/address-pool: %s}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: %s
  ipFamilies: [%s]
  selector: {backends: %[1]s}
  ports: [{port: 80, targetPort: 8080}]
`, name, namespace, s.Pool, policy, family)
}

// hugeService is one whose request for an address is longer than any that can be met.
func hugeService(size int) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: huge, namespace: %s, annotations: {metallb.io/loadBalancerIPs: "%s"}}
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}
`, namespace, strings.Repeat("10.0.0.1,", size/9))
}

// badResources are refused, each for another reason.
var badResources = []string{
	`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bad, namespace: metallb-system}
spec: {addresses: ["192.0.2.0/26"]}
`, `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bad, namespace: metallb-system}
spec: {addresses: ["10.99.0.9-10.99.0.1"]}
`, `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: bad, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254}
`, `
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: bad, namespace: metallb-system}
spec: {ipAddressPools: [routed], communities: ["nonsense"]}
`,
}
