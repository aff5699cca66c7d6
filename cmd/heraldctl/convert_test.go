// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const convertFiles = `
-- config.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    peers:
    - {my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254, password: correct-horse}
    address-pools:
    - {name: wan, protocol: bgp, addresses: [192.0.2.0/24]}
-- bad.yaml --
address-pools: [{name: wan, protocol: bgp, addresses: [192.0.2.0]}]
-- named.yaml --
address-pools: [{name: Wan, protocol: layer2, addresses: [192.0.2.0/24]}]
-- resources.yaml --
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: wan, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254}
-- overlap.yaml --
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: b}
spec: {addresses: [192.0.2.9/32]}
-- lost.yaml --
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [192.0.2.0/24]}
-- unknown.yaml --
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: a}
`

func TestConvert(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{name: "a ConfigMap", args: []string{"convert", "-f", "config.yaml"}, stdout: `apiVersion: v1
kind: Secret
metadata:
  name: peer1-password
  namespace: metallb-system
stringData:
  password: correct-horse
type: kubernetes.io/basic-auth
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: peer1
  namespace: metallb-system
spec:
  holdTime: 1m30s
  myASN: 64512
  passwordSecret:
    name: peer1-password
    namespace: metallb-system
  peerASN: 64513
  peerAddress: 10.10.0.254
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: wan
  namespace: metallb-system
spec:
  addresses:
  - 192.0.2.0/24
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata:
  name: wan-1
  namespace: metallb-system
spec:
  ipAddressPools:
  - wan
`},
		{name: "mistakes", args: []string{"convert", "-f", "bad.yaml"}, code: 1,
			stderr: "bad.yaml:1: address-pools[0].addresses[0]: invalid CIDR \"192.0.2.0\": a single address is written 192.0.2.0/32\n"},
		{name: "names", args: []string{"convert", "-f", "named.yaml"}, code: 1,
			stderr: "named.yaml: pool \"Wan\": no name for an object of Kubernetes; give it another, such as Wan=wan\n"},
		{name: "resources", args: []string{"convert", "-f", "resources.yaml"}, code: 1,
			stderr: "resources.yaml: these are custom resources, want a ConfigMap\n"},
		{name: "misuse", args: []string{"convert", "-f", "named.yaml", "--rename", "Wan"}, code: 2,
			stderr: "heraldctl: --rename \"Wan\": want OLD=NEW, once for each name\n"},
		{name: "check resources", args: []string{"check", "-f", "resources.yaml"}, stdout: `resources.yaml: valid, with 1 pool, 1 peer and 1 advertisement
  pool  wan  256 IPv4     192.0.2.0/24
  peer  tor  10.10.0.254  AS 64513 from AS 64512
  bgp   all  every pool   routes of /32 and /128
`},
		{name: "check resources that overlap", args: []string{"check", "-f", "overlap.yaml"}, code: 1,
			stderr: `overlap.yaml:1: warning: IPAddressPool/a: no advertisement selects it, so that its addresses are not announced
overlap.yaml:3: note: IPAddressPool/a: metadata.namespace: not set, nor for 1 more in the file: judged as in metallb-system, so apply it with kubectl -n metallb-system
overlap.yaml:6: IPAddressPool/b: Conflict: CIDR "192.0.2.9/32" in pool "b" overlaps with already defined CIDR "192.0.2.0/24" of pool "a"
`},
		{name: "check a pool that nobody announces", args: []string{"check", "-f", "lost.yaml"},
			stdout: "lost.yaml: valid, with 1 pool, 0 peers and 0 advertisements\n  pool  a  256 IPv4  192.0.2.0/24\n",
			stderr: `lost.yaml:1: warning: IPAddressPool/a: no advertisement selects it, so that its addresses are not announced
lost.yaml:3: note: IPAddressPool/a: metadata.namespace: not set: judged as in metallb-system, so apply it with kubectl -n metallb-system
`},
		{name: "check a kind that is not there", args: []string{"check", "-f", "unknown.yaml"}, code: 1,
			stderr: "unknown.yaml:2: AddressPool/a: kind: there is no such kind, want one of IPAddressPool, BFDProfile, Community, BGPPeer, BGPAdvertisement, L2Advertisement\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runIn(t, convertFiles, "", tt.args...)
			if code != tt.code {
				t.Errorf("exit status %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// What was converted is rendered as the ConfigMap was.
func TestConvertRender(t *testing.T) {
	const objects = `
-- objects.yaml --
{apiVersion: v1, kind: Node, metadata: {name: n1}}
`
	render := func(files, name string) string {
		t.Helper()
		code, stdout, stderr := runIn(t, files+objects, "", "render", "-f", name, "--objects", "objects.yaml", "--node", "n1", "--show-secrets")
		if code != exitOK {
			t.Fatalf("exit status %d: %s", code, stderr)
		}
		return stdout
	}
	_, converted, _ := runIn(t, convertFiles, "", "convert", "-f", "config.yaml")
	want := render(convertFiles, "config.yaml")
	if !strings.Contains(want, "correct-horse") {
		t.Fatalf("no password in\n%s", want)
	}
	if diff := cmp.Diff(want, render("\n-- converted.yaml --\n"+converted, "converted.yaml")); diff != "" {
		t.Errorf("frr.conf (-ConfigMap +resources):\n%s", diff)
	}
}
