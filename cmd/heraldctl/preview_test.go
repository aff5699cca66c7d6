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

const previewFiles = `
-- config.yaml --
address-pools:
- {name: web, protocol: layer2, addresses: [192.0.2.0-192.0.2.2, "2001:db8::/126"]}
- {name: spare, protocol: layer2, addresses: [198.51.100.0/32], auto-assign: false}
-- new.yaml --
address-pools:
- {name: web, protocol: layer2, addresses: [192.0.2.1-192.0.2.1, "2001:db8::/126"]}
- {name: lan, protocol: layer2, addresses: [203.0.113.0/32]}
-- more.yaml --
address-pools:
- {name: web, protocol: layer2, addresses: [192.0.2.0-192.0.2.9, "2001:db8::/126"]}
- {name: spare, protocol: layer2, addresses: [198.51.100.0/32], auto-assign: false}
-- resources.yaml --
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: public, namespace: metallb-system, annotations: {heraldlb.io/reservations: 192.0.2.3=lab/none, heraldlb.io/quota: lab=1}}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
-- named.yaml --
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: public, namespace: metallb-system, annotations: {heraldlb.io/sharing: named, heraldlb.io/reservations: "192.0.2.9=shop/dns, 192.0.2.9=lab/dns"}}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
-- bad.yaml --
address-pools: [{name: web, protocol: layer2, addresses: [192.0.2.1]}]
-- services.yaml --
apiVersion: v1
kind: Service
metadata: {name: new, namespace: shop}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: shop}
spec: {type: LoadBalancer, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}
---
apiVersion: v1
kind: Service
metadata: {name: dual, namespace: lab}
spec: {type: LoadBalancer, ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: manual, namespace: lab, annotations: {metallb.io/address-pool: spare}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: none, namespace: lab}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: cloud, namespace: lab}
spec: {type: LoadBalancer, loadBalancerClass: example.com/x, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.0.0.9}]}}
---
apiVersion: v1
kind: Service
metadata: {name: six, namespace: lab}
spec: {type: LoadBalancer, ipFamilies: [IPv6], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: inner, namespace: lab}
spec: {ports: [{port: 80}]}
-- broken.yaml --
apiVersion: v1
kind: Service
metadata: {name: new}
spec: {type: Balancer}
`

func TestPreview(t *testing.T) {
	tests := []struct {
		name   string
		args   string
		stdin  string
		code   int
		stdout string
		stderr string
	}{
		{
			name: "shared across namespaces",
			args: "allocate -f more.yaml --services -",
			stdin: `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: lab, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
`,
			stdout: `SERVICE   ADDRESSES  POOL  REASON
shop/web  192.0.2.0  web   Assigned: 192.0.2.0 from pool web
lab/web   192.0.2.0  web   Assigned: 192.0.2.0 from pool web
`,
			stderr: "-: warning: 192.0.2.0 is shared across namespaces, by shop/web and lab/web: pool web with heraldlb.io/sharing: named would refuse it, since shop/web does not name lab in heraldlb.io/share-with\n",
		},
		{
			name: "shared by namespaces of which one names the other",
			args: "diff -f named.yaml --services -",
			stdin: `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {metallb.io/allow-shared-ip: k, heraldlb.io/share-with: lab}}
spec: {type: LoadBalancer, ports: [{port: 443}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: lab, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}
`,
			stdout: "2 keep, 0 lose, 0 move, 0 gain\n",
			stderr: "-: warning: 192.0.2.0 is shared across namespaces, by shop/web and lab/web: pool public with heraldlb.io/sharing: named does not give it to them again, since lab/web does not name shop in heraldlb.io/share-with\n",
		},
		{
			name: "shared by namespaces that name each other, and by reservation",
			args: "allocate -f named.yaml --services -",
			stdin: `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {metallb.io/allow-shared-ip: k, heraldlb.io/share-with: lab}}
spec: {type: LoadBalancer, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: lab, annotations: {metallb.io/allow-shared-ip: k, heraldlb.io/share-with: shop}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, ports: [{port: 53}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: lab, annotations: {metallb.io/allow-shared-ip: k}}
spec: {type: LoadBalancer, ports: [{port: 54}]}
`,
			stdout: `SERVICE   ADDRESSES  POOL    REASON
shop/web  192.0.2.0  public  Assigned: 192.0.2.0 from pool public
lab/web   192.0.2.0  public  Assigned: 192.0.2.0 from pool public
shop/dns  192.0.2.9  public  Assigned: 192.0.2.9 from pool public
lab/dns   192.0.2.9  public  Assigned: 192.0.2.9 from pool public
`,
		},
		{
			name: "allocate",
			args: "allocate -f config.yaml --services services.yaml",
			stdout: `SERVICE     ADDRESSES              POOL   REASON
shop/new    192.0.2.1              web    Assigned: 192.0.2.1 from pool web
shop/old    192.0.2.0              web    Assigned: 192.0.2.0 from pool web
lab/dual    192.0.2.2,2001:db8::1  web    Assigned: 192.0.2.2, 2001:db8::1 from pool web
lab/manual  198.51.100.0           spare  Assigned: 198.51.100.0 from pool spare
lab/none    -                      -      PoolExhausted: pool web: 3 of 3 IPv4 in use
lab/cloud   10.0.0.9               -      Foreign: the Service is of class example.com/x
lab/six     2001:db8::2            web    Assigned: 2001:db8::2 from pool web
`,
		},
		{
			name: "allocate a class",
			args: "allocate -f - --services services.yaml --lb-class example.com/x -o json",
			// Its status names an address of no pool, which it was not given here.
			stdin: "address-pools: [{name: web, protocol: layer2, addresses: [10.0.0.8/31]}]\n",
			stdout: foreign("shop/new") + foreign("shop/old", "192.0.2.0") + foreign("lab/dual") + foreign("lab/manual") + foreign("lab/none") +
				allocated("lab/cloud", "web", "Assigned", "10.0.0.9 from pool web", "10.0.0.9") + foreign("lab/six"),
		},
		{
			name: "check resources", args: "check -f resources.yaml",
			stdout: `resources.yaml: valid, with 1 pool, 0 peers and 1 advertisement
  pool    public  256 IPv4  192.0.2.0/24, 1 reservation, with a quota, namespaces share addresses by name
  layer2  all     every pool
`,
		},
		{
			name: "allocate from resources",
			args: "allocate -f resources.yaml --services services.yaml",
			stdout: `SERVICE     ADDRESSES  POOL    REASON
shop/new    192.0.2.1  public  Assigned: 192.0.2.1 from pool public
shop/old    192.0.2.0  public  Assigned: 192.0.2.0 from pool public
lab/dual    192.0.2.2  public  Assigned: 192.0.2.2 from pool public; pool public has no IPv6 addresses
lab/manual  -          -       PoolUnknown: there is no pool spare
lab/none    192.0.2.3  public  Assigned: 192.0.2.3 from pool public
lab/cloud   10.0.0.9   -       Foreign: the Service is of class example.com/x
lab/six     -          -       FamilyUnavailable: pool public has no IPv6 addresses
`,
		},
		{
			name: "allocate with misspelt annotations",
			args: "allocate -f config.yaml --services -",
			stdin: `apiVersion: v1
kind: Service
metadata: {name: typo, namespace: d, annotations: {metallb.universe.tf/allow-shared: k}}
spec: {type: LoadBalancer, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: pool, namespace: d, annotations: {metallb.io/address-pool: spaer}}
spec: {type: LoadBalancer, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: nodes, namespace: d}
spec: {type: LoadBalancer, clusterIPs: [10.96.0.1], ports: [{port: 443}]}
status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}
---
apiVersion: v1
kind: Service
metadata: {name: taken, namespace: d, annotations: {metallb.universe.tf/loadBalancerIPs: 192.0.2.2}}
spec: {type: LoadBalancer, clusterIPs: [10.96.0.1], ports: [{port: 443}]}
status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: d}
spec: {type: LoadBalancer, loadBalancerClass: example.com/x, ports: [{port: 443}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}
`,
			stdout: `SERVICE  ADDRESSES  POOL  REASON
d/typo   192.0.2.1  web   Assigned: 192.0.2.1 from pool web; metallb.universe.tf/allow-shared is no annotation of MetalLB or Herald; did you mean metallb.io/allow-shared-ip?
d/pool   -          -     PoolUnknown: there is no pool spaer; did you mean spare?
d/nodes  10.0.0.1   -     Foreign: another load balancer wrote the status, which names 10.0.0.1 and no address of a pool; it is left alone; Herald assigns an address when the Service asks for one by metallb.io/loadBalancerIPs or metallb.io/address-pool, or when the status is emptied
d/taken  192.0.2.2  web   Assigned: 192.0.2.2 from pool web
d/other  192.0.2.0  -     Foreign: the Service is of class example.com/x
`,
		},
		{
			name: "allocate nothing",
			args: "allocate -f config.yaml --services config.yaml -o json", stdout: "[]\n",
		},
		{name: "bad configuration", args: "allocate -f bad.yaml --services services.yaml", code: 1,
			stderr: "bad.yaml:1: address-pools[0].addresses[0]: invalid CIDR \"192.0.2.1\": a single address is written 192.0.2.1/32\n"},
		{name: "bad Service", args: "allocate -f config.yaml --services broken.yaml", code: 1,
			stderr: "broken.yaml:4: Service default/new: spec.type: unknown type \"Balancer\"\n"},
		{name: "no file", args: "allocate -f config.yaml --services none.yaml", code: 2,
			stderr: "heraldctl: open none.yaml: no such file or directory\n"},
		{name: "both from standard input", args: "allocate -f - --services -", code: 2,
			stderr: "heraldctl: the configuration and the Services cannot both be on standard input\n"},
		{name: "no such format", args: "allocate -f config.yaml --services services.yaml -o xml", code: 2,
			stderr: "heraldctl: invalid argument \"xml\" for \"-o, --output\" flag: want table, wide, json or yaml\n"},
		{
			name: "diff", args: "diff -f new.yaml --from config.yaml --services services.yaml", code: 1,
			stdout: `CHANGE  SERVICE     FROM                   TO           POOL  WHY
move    shop/old    192.0.2.0              203.0.113.0  lan   192.0.2.0 is in no pool; then: 203.0.113.0 from pool lan
lose    lab/dual    192.0.2.2,2001:db8::1  2001:db8::1  web   192.0.2.2 is in no pool; then: 2001:db8::1 from pool web; pool web: 1 of 1 IPv4 in use
lose    lab/manual  198.51.100.0           -            -     198.51.100.0 is in no pool; then: there is no pool spare
4 keep, 2 lose, 1 move, 0 gain
`,
		},
		{
			name: "diff of what waits", args: "diff -f more.yaml --from config.yaml --services -", code: 1,
			stdin:  services("services.yaml"),
			stdout: "CHANGE  SERVICE   FROM  TO         POOL  WHY\ngain    lab/none  -     192.0.2.3  web   192.0.2.3 from pool web\n6 keep, 0 lose, 0 move, 1 gain\n",
		},
		{
			name: "no difference", args: "diff -f config.yaml --from config.yaml --services services.yaml",
			stdout: "7 keep, 0 lose, 0 move, 0 gain\n",
		},
		{
			name: "from the statuses", args: "diff -f new.yaml --services - -o json", code: 1,
			stdin: `{apiVersion: v1, kind: Service, metadata: {name: a, annotations: {metallb.io/ip-allocated-from-pool: web}},
  spec: {type: LoadBalancer, clusterIPs: [10.96.0.1], ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.0}]}}}`,
			stdout: `[
  {
    "service": "default/a",
    "change": "move",
    "from": [
      "192.0.2.0"
    ],
    "to": [
      "192.0.2.1"
    ],
    "pool": "web",
    "reason": "Assigned",
    "message": "192.0.2.0 is in no pool; then: 192.0.2.1 from pool web"
  }
]
`,
		},
		{name: "diff of a bad configuration", args: "diff -f bad.yaml --services services.yaml", code: 2,
			stderr: "bad.yaml:1: address-pools[0].addresses[0]: invalid CIDR \"192.0.2.1\": a single address is written 192.0.2.1/32\n"},
		{name: "diff from standard input twice", args: "diff -f - --from - --services services.yaml", code: 2,
			stderr: "heraldctl: only one file can be on standard input\n"},
		{name: "diff without a cluster", args: "diff -f new.yaml --kubeconfig none.yaml", code: 2,
			stderr: "heraldctl: API server: stat none.yaml: no such file or directory\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runIn(t, previewFiles, tt.stdin, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code: want %d, got %d", tt.code, code)
			}
			if tt.stdout != "" && strings.HasPrefix(tt.stdout, "  {") { // items of a list
				tt.stdout = "[\n" + strings.TrimSuffix(tt.stdout, ",\n") + "\n]\n"
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

// services returns a file of previewFiles.
func services(name string) string {
	_, text, _ := strings.Cut(previewFiles, "-- "+name+" --\n")
	text, _, _ = strings.Cut(text, "\n-- ")
	return text + "\n"
}

// allocated returns an item of allocate's list.
func allocated(service, pool, reason, message string, addrs ...string) string {
	list := "[]"
	if len(addrs) > 0 {
		list = "[\n      \"" + strings.Join(addrs, "\",\n      \"") + "\"\n    ]"
	}
	return fmt.Sprintf("  {\n    \"service\": %q,\n    \"addresses\": %s,\n    \"pool\": %q,\n    \"reason\": %q,\n    \"message\": %q\n  },\n",
		service, list, pool, reason, message)
}

func foreign(service string, addrs ...string) string {
	return allocated(service, "", "Foreign", "the Service has no class", addrs...)
}

// TestDiffCluster asks an API server.
func TestDiffCluster(t *testing.T) {
	lists := map[string]any{
		"/api/v1/services": map[string]any{"kind": "ServiceList", "apiVersion": "v1", "items": []any{
			map[string]any{
				"metadata": map[string]any{"name": "a", "namespace": "shop", "annotations": map[string]string{"metallb.io/ip-allocated-from-pool": "web"}},
				"spec":     map[string]any{"type": "LoadBalancer", "clusterIPs": []string{"10.96.0.1"}},
				"status":   map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]string{"ip": "192.0.2.0"}}}},
			},
		}},
		"/api/v1/namespaces": map[string]any{"kind": "NamespaceList", "apiVersion": "v1", "items": []any{}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, ok := lists[r.URL.Path]
		if !ok || r.Method != http.MethodGet {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	kubeconfig := fmt.Sprintf(`
-- kubeconfig --
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`, server.URL)
	want := "CHANGE  SERVICE  FROM       TO         POOL  WHY\n" +
		"move    shop/a   192.0.2.0  192.0.2.1  web   192.0.2.0 is in no pool; then: 192.0.2.1 from pool web\n" +
		"0 keep, 0 lose, 1 move, 0 gain\n"
	code, stdout, stderr := runIn(t, previewFiles+kubeconfig, "", "diff", "-f", "new.yaml", "--kubeconfig", "kubeconfig")
	if code != exitChanges || stdout != want || stderr != "" {
		t.Errorf("got code %d, %q and %q, want %q", code, stdout, stderr, want)
	}
	// Where kubectl looks.
	if err := os.WriteFile("kubeconfig2", []byte(strings.SplitN(kubeconfig, "--\n", 2)[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "kubeconfig2")
	if _, stdout, stderr := runHere(t, "", "diff", "-f", "new.yaml"); stdout != want || stderr != "" {
		t.Errorf("with KUBECONFIG: got %q and %q, want %q", stdout, stderr, want)
	}
	delete(lists, "/api/v1/namespaces")
	code, stdout, stderr = runHere(t, "", "diff", "-f", "new.yaml")
	if code != exitMisuse || stdout != "" || !strings.HasPrefix(stderr, "heraldctl: read Namespaces: ") {
		t.Errorf("without a right: got code %d, %q and %q", code, stdout, stderr)
	}
}
