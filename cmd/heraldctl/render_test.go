// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestRenderScenarios prints the frr.conf and the decisions of each scenario.
func TestRenderScenarios(t *testing.T) {
	scenarios, err := filepath.Glob("../../testdata/scenarios/*.txtar")
	if err != nil || len(scenarios) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range scenarios {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			for _, f := range txtar.Parse(text).Files {
				files[f.Name] = string(f.Data)
			}
			args := []string{"render", "-f", "config.yaml", "--objects", "objects.yaml", "--node", strings.TrimSpace(files["node"])}
			code, stdout, stderr := runIn(t, string(text), "", append(args, "--show-secrets")...)
			if strings.HasPrefix(filepath.Base(path), "unknown-node") {
				if want := "objects.yaml: no Node \"n9\"\n"; code != exitInvalid || stderr != want {
					t.Errorf("got code %d and %q, want %q", code, stderr, want)
				}
				return
			}
			if code != exitOK || stderr != "" {
				t.Fatalf("code %d: %s", code, stderr)
			}
			if diff := cmp.Diff(files["frr.conf"], stdout); diff != "" {
				t.Errorf("frr.conf (-want +got):\n%s", diff)
			}
			_, stdout, _ = runIn(t, string(text), "", append(args, "--decisions")...)
			if diff := cmp.Diff(files["decisions.json"], stdout); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRender(t *testing.T) {
	const files = `
-- config.yaml --
peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.10.0.254, password: correct-horse}]
address-pools: [{name: wan, protocol: bgp, addresses: [192.0.2.0/24]}]
-- bad-config.yaml --
peers: [{my-asn: 64512, peer-address: 10.10.0.254}]
-- objects.yaml --
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: n1}}
- apiVersion: v1
  kind: Node
  metadata: {name: n2, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ""}}
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec: {type: LoadBalancer, loadBalancerClass: example.com/mine}
  status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints: [{addresses: [10.244.1.1], nodeName: n1}]
-- bad-objects.yaml --
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: eighty}]}
`
	render := func(args ...string) []string { return append([]string{"render"}, args...) }
	tests := []struct {
		name   string
		args   []string
		stdin  string
		code   int
		stdout []string // that are in it; a "!" before one that is not
		stderr string
	}{
		{
			name:   "passwords are redacted",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n1"),
			stdout: []string{"hostname n1\n", " neighbor 10.10.0.254 password [redacted]\n", "!correct-horse", "!192.0.2.1/32"},
		},
		{
			name:   "passwords on request",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n1", "--show-secrets"),
			stdout: []string{" neighbor 10.10.0.254 password correct-horse\n"},
		},
		{
			name:   "load balancer class",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n1", "--lb-class", "example.com/mine"),
			stdout: []string{"  network 192.0.2.1/32 route-map "},
		},
		{
			name:   "excluded node",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n2", "--lb-class", "example.com/mine", "--decisions"),
			stdout: []string{`"reason": "NodeExcluded"`, "!correct-horse"},
		},
		{
			name:   "excluded node all the same",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n2", "--lb-class", "example.com/mine", "--ignore-exclude-lb"),
			stdout: []string{"  network 192.0.2.1/32 route-map "},
		},
		{
			name:   "configuration from standard input",
			args:   render("-f", "-", "--objects", "objects.yaml", "--node", "n1"),
			stdin:  quickStart,
			stdout: []string{"hostname n1\n", "!router bgp"},
		},
		{
			name:   "invalid configuration",
			args:   render("-f", "bad-config.yaml", "--objects", "objects.yaml", "--node", "n1"),
			code:   1,
			stderr: "bad-config.yaml:1: peers[0].peer-asn: missing peer ASN\n",
		},
		{
			name:   "invalid object",
			args:   render("-f", "config.yaml", "--objects", "bad-objects.yaml", "--node", "n1"),
			code:   1,
			stderr: "bad-objects.yaml:8: Service shop/web: spec.ports.port: want int32, not string\n",
		},
		{
			name:   "no such node",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml", "--node", "n3"),
			code:   1,
			stderr: "objects.yaml: no Node \"n3\"\n",
		},
		{
			name:   "no such file",
			args:   render("-f", "config.yaml", "--objects", "none.yaml", "--node", "n1"),
			code:   2,
			stderr: "heraldctl: open none.yaml: no such file or directory\n",
		},
		{
			name:   "one standard input for two",
			args:   render("-f", "-", "--objects", "-", "--node", "n1"),
			code:   2,
			stderr: "heraldctl: the configuration and the objects cannot both be on standard input\n",
		},
		{
			name:   "no node named",
			args:   render("-f", "config.yaml", "--objects", "objects.yaml"),
			code:   2,
			stderr: "heraldctl: required flag(s) \"node\" not set\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runIn(t, files, tt.stdin, tt.args...)
			if code != tt.code {
				t.Errorf("exit code: want %d, got %d", tt.code, code)
			}
			for _, want := range tt.stdout {
				unwanted, not := strings.CutPrefix(want, "!")
				if not && strings.Contains(stdout, unwanted) || !not && !strings.Contains(stdout, want) {
					t.Errorf("want %q in:\n%s", want, stdout)
				}
			}
			if code != exitOK && stdout != "" {
				t.Errorf("stdout: want nothing, got %q", stdout)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}
