// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clusterOf serves lists of objects by their paths, and has KUBECONFIG name it.
func clusterOf(t *testing.T, lists map[string][]string) {
	t.Helper()
	kinds := map[string]string{"services": "Service", "namespaces": "Namespace", "nodes": "Node", "endpointslices": "EndpointSlice", "configmaps": "ConfigMap",
		"secrets": "Secret", "ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement", "bgppeers": "BGPPeer"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		items, ok := lists[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no such thing"}`)
			return
		}
		plural := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		version := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")
		version, _, _ = strings.Cut(strings.TrimSuffix(version, "/"+plural), "/namespaces/")
		var raw []json.RawMessage
		for _, i := range items {
			raw = append(raw, json.RawMessage(i))
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"kind": kinds[plural] + "List", "apiVersion": version, "items": raw}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", server.URL)
	if err := os.WriteFile("kubeconfig", []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "kubeconfig")
}

const (
	inHerald   = "/apis/metallb.io/v1beta1/namespaces/metallb-system/"
	coreHerald = "/api/v1/namespaces/metallb-system/"
)

// aCluster has a Service and a pool with a status of another installation's definition.
func aCluster() map[string][]string {
	return map[string][]string{
		inHerald + "ipaddresspools": {`{"kind": "IPAddressPool", "apiVersion": "metallb.io/v1beta1",
  "metadata": {"name": "lan", "namespace": "metallb-system", "uid": "u", "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "metallb.io/v1beta1", "fieldsType": "FieldsV1"}]},
  "spec": {"addresses": ["192.0.2.0/28"], "autoAssign": true}, "status": {"other": {}}}`},
		inHerald + "l2advertisements": {`{"kind": "L2Advertisement", "apiVersion": "metallb.io/v1beta1", "metadata": {"name": "lan", "namespace": "metallb-system"}, "spec": {}}`},
		coreHerald + "configmaps":     {`{"metadata": {"name": "kube-root-ca.crt", "namespace": "metallb-system"}, "data": {"ca.crt": "x"}}`},
		coreHerald + "secrets":        {`{"metadata": {"name": "tor", "namespace": "metallb-system"}, "type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMg=="}}`},
		"/api/v1/services": {`{"metadata": {"name": "web", "namespace": "shop", "uid": "w"},
  "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}}`},
		"/api/v1/namespaces": {`{"metadata": {"name": "shop"}}`, `{"metadata": {"name": "metallb-system"}}`},
		"/api/v1/nodes": {`{"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}`,
			`{"metadata": {"name": "n2"}}`},
		"/apis/discovery.k8s.io/v1/endpointslices": {},
	}
}

const (
	oldConfigMap = `{"metadata": {"name": "config", "namespace": "metallb-system"}, "data": {"config": "address-pools: [{name: old, protocol: layer2, addresses: [10.1.0.0/28]}]"}}`
	torPeer      = `{"metadata": {"name": "tor", "namespace": "metallb-system"}, "spec": {"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.9", "passwordSecret": {"name": "tor"}}}`
)

func TestCluster(t *testing.T) {
	const summary = `cluster: valid, with 1 pool, 0 peers and 1 advertisement
  pool    lan  16 IPv4  192.0.2.0/28
  layer2  lan  every pool
`
	const oldSummary = `cluster: valid, with 1 pool, 0 peers and 1 advertisement
  pool    old  16 IPv4  10.1.0.0/28
  layer2  old  old
`
	tests := []struct {
		name   string
		change func(map[string][]string)
		args   string
		stdin  string
		code   int
		stdout string
		stderr string
	}{
		{name: "check", args: "check --cluster", stdout: summary},
		{
			name: "check with a file that is to come", args: "check --cluster -f -", code: 1,
			stdin:  "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: more, namespace: metallb-system}, spec: {addresses: [192.0.2.8/32]}}",
			stderr: "-:1: IPAddressPool/more: Conflict: spec.addresses[0]: CIDR \"192.0.2.8/32\" in pool \"more\" overlaps with already defined CIDR \"192.0.2.0/28\" of pool \"lan\"; an address can be in one pool alone\n",
		},
		{
			name: "check a password", args: "check --cluster",
			change: func(l map[string][]string) {
				l["/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers"] = []string{torPeer}
			},
			stdout: `cluster: valid, with 1 pool, 1 peer and 1 advertisement
  pool    lan  16 IPv4   192.0.2.0/28
  peer    tor  10.0.0.9  AS 2 from AS 1, with a password
  layer2  lan  every pool
`,
		},
		{
			name: "check both sources", args: "check --cluster", code: 1,
			change: func(l map[string][]string) {
				l[coreHerald+"configmaps"] = append(l[coreHerald+"configmaps"], oldConfigMap)
			},
			stdout: oldSummary + summary,
			stderr: "cluster: ConfigMap/config: TwoSources: resources exist too, in cluster, and only one of both can be in force: the one in force stays, and at the very first start it is the resources; remove one, or choose with --config-source, here and for Herald's programs\n",
		},
		{
			name: "check a ConfigMap without resources", args: "check --cluster",
			change: func(l map[string][]string) {
				delete(l, inHerald+"ipaddresspools")
				delete(l, inHerald+"l2advertisements")
				l[coreHerald+"configmaps"] = []string{oldConfigMap}
			},
			stdout: oldSummary,
		},
		{
			// The controller refuses it, too, whatever definition let it in.
			name: "check a field that is not Herald's", args: "check --cluster", code: 1,
			change: func(l map[string][]string) {
				pools := l[inHerald+"ipaddresspools"]
				pools[0] = strings.Replace(pools[0], `"autoAssign": true`, `"newer": 1`, 1)
			},
			stderr: "cluster: IPAddressPool/lan: Invalid: spec.newer: unknown field, want one of addresses, autoAssign, avoidBuggyIPs, serviceAllocation\n",
		},
		{
			name: "check pools with addresses of the cluster", args: "check --cluster --strict", code: 1,
			change: func(l map[string][]string) {
				pools := l[inHerald+"ipaddresspools"]
				pools[0] = strings.Replace(pools[0], `"192.0.2.0/28"`, `"10.0.0.0/28", "10.96.0.0/28"`, 1)
			},
			stdout: strings.Replace(strings.Replace(summary, "192.0.2.0/28", "10.0.0.0/28, 10.96.0.0/28", 1), "16 IPv4", "32 IPv4", 1),
			stderr: `cluster: warning: pool "lan": contains 10.0.0.1, the address of Node n1
cluster: warning: pool "lan": contains 10.96.0.1, the cluster IP of Service shop/web
`,
		},
		{
			name: "check without the rights to read nodes", args: "check --cluster --strict",
			change: func(l map[string][]string) { delete(l, "/api/v1/nodes") },
			stdout: summary,
			stderr: "cluster: note: whether pools contain addresses of nodes, pods or cluster IPs is not known: read Nodes: no such thing\n",
		},
		{
			name: "check another namespace", args: "check --cluster -n shop", code: 2,
			stderr: "heraldctl: read ConfigMaps: no such thing\n",
		},
		{
			name: "allocate", args: "allocate --cluster",
			stdout: "SERVICE   ADDRESSES  POOL  REASON\nshop/web  192.0.2.0  lan   Assigned: 192.0.2.0 from pool lan\n",
		},
		{
			name: "allocate from a file", args: "allocate --cluster -f -",
			stdin:  "address-pools: [{name: new, protocol: layer2, addresses: [10.2.0.0/28]}]",
			stdout: "SERVICE   ADDRESSES  POOL  REASON\nshop/web  10.2.0.0   new   Assigned: 10.2.0.0 from pool new\n",
		},
		{
			name: "diff from the cluster's configuration", args: "diff --cluster -f -", code: 1,
			stdin:  "address-pools: [{name: new, protocol: layer2, addresses: [10.2.0.0/28]}]",
			stdout: "CHANGE  SERVICE   FROM       TO        POOL  WHY\nmove    shop/web  192.0.2.0  10.2.0.0  new   192.0.2.0 is in no pool; then: 10.2.0.0 from pool new\n0 keep, 0 lose, 1 move, 0 gain\n",
		},
		{
			name: "render", args: "render --cluster --node n3", code: 1,
			stderr: "cluster: no Node \"n3\"\n",
		},
		{name: "no configuration", args: "allocate --services kubeconfig", code: 2, stderr: "heraldctl: no configuration: name one with -f, or give --cluster\n"},
		{name: "no objects", args: "render --node n1 kubeconfig", code: 2, stderr: "heraldctl: no objects: name them with --objects, or give --cluster\n"},
		{name: "nothing to compare", args: "diff", code: 2, stderr: "heraldctl: no configuration: name one with -f\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lists := aCluster()
			if tt.change != nil {
				tt.change(lists)
			}
			clusterOf(t, lists)
			code, stdout, stderr := runHere(t, tt.stdin, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code: want %d, got %d", tt.code, code)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
	clusterOf(t, aCluster())
	code, stdout, stderr := runHere(t, "", "render", "--cluster", "--node", "n1", "--decisions")
	if code != exitOK || stderr != "" || !strings.Contains(stdout, `"decisions"`) {
		t.Errorf("render: code %d, %q and %q", code, stdout, stderr)
	}
}

// What a shell is given to complete.
func TestComplete(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"a node", "drain ", "n1 n2 :4"},
		{"one node alone", "drain n1 ", ":4"},
		{"nodes", "sessions n1 ", "n2 :4"},
		{"a subject", "why ", "shop/web node/n1 node/n2 :4"},
		{"a subject that is begun", "why node/n2", "node/n2 :4"},
		{"a view", "status -o ", "table wide json yaml :4"},
		{"a flag's node", "render --node ", "n1 n2 :4"},
		{"a namespace", "check -n ", "metallb-system shop :4"},
		{"a format", "check -o ", "text json github :4"},
		{"another format", "diff -o ", "table wide json yaml :4"},
		{"a source", "check --config-source ", "auto configmap resources :4"},
		{"files", "check ", ":0"},
		{"a context", "drain --context ", "c :4"},
		{"a cluster", "status --cluster ", "c :4"},
		{"a user", "status --user ", ":4"},
	}
	clusterOf(t, aCluster())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"__complete"}, strings.Split(tt.args, " ")...)
			_, stdout, _ := runHere(t, "", args...)
			if got := strings.Join(strings.Fields(stdout), " "); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
	t.Setenv("KUBECONFIG", "none")
	if _, stdout, _ := runHere(t, "", "__complete", "drain", ""); strings.TrimSpace(stdout) != ":4" {
		t.Errorf("without a cluster: %q", stdout)
	}
}
