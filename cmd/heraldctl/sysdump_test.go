// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

// planted is a part of every password in the objects, logs and pages of plantedCluster.
const planted = "pl4nted"

// plantedObjects are pods with a log and pages, and passwords wherever an object can have one.
const plantedObjects = `
apiVersion: v1
kind: Pod
metadata:
  name: herald-controller-0
  namespace: metallb-system
  labels: {app.kubernetes.io/name: herald, app.kubernetes.io/component: controller}
  annotations: {note: "the old password was pl4nted-peer", example.com/api-token: pl4nted-annotation}
spec:
  nodeName: n1
  containers:
  - name: controller
    args: [--port=7472, --proxy-password=pl4nted-arg, --some-token, pl4nted-next]
    env:
    - {name: METALLB_HOST, value: 10.0.0.11}
    - {name: BGP_PASSWORD, value: pl4nted-env}
    - {name: OTHER, value: pl4nted-other}
    ports: [{name: metrics, containerPort: 7472}]
status:
  phase: Running
  conditions: [{type: Ready, status: "True"}]
  containerStatuses: [{name: controller, ready: true, restartCount: 0, state: {running: {}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: herald-agent-1, namespace: metallb-system, labels: {app.kubernetes.io/name: herald, app.kubernetes.io/component: agent}}
spec:
  nodeName: n1
  initContainers: [{name: copy}]
  containers:
  - {name: agent, ports: [{name: metrics, containerPort: 7472}, {name: gossip-tcp, containerPort: 7946}]}
  - {name: frr, ports: [{name: frr-metrics, containerPort: 7473}]}
status:
  phase: Running
  conditions: [{type: Ready, status: "True"}]
  initContainerStatuses: [{name: copy, ready: true, restartCount: 0, state: {terminated: {exitCode: 0}}}]
  containerStatuses:
  - {name: agent, ready: true, restartCount: 3, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}
  - {name: frr, ready: false, restartCount: 0, state: {waiting: {reason: ImagePullBackOff, message: no such image}}}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: tor
  namespace: metallb-system
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"kind":"BGPPeer","spec":{"peerAddress":"10.0.0.1","password":"pl4nted-peer","myASN":64512}}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, password: pl4nted-peer}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: stray, namespace: default}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.2, password: pl4nted-stray}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  namespace: metallb-system
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"data":{"config":"peers:\n- peer-address: 10.0.0.3\n  password: pl4nted-old\n"}}
data:
  config: |
    peers:
    - peer-address: 10.0.0.3 # of rack 7
      password: pl4nted config
    - {peer-address: 10.0.0.4, password: "pl4nted-flow"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: bgpextras, namespace: metallb-system}
data:
  extras: |
    router bgp 64512
     neighbor 10.0.0.5 password pl4nted-frr with a space
    key chain ospf
     key 1
      key-string pl4nted-ospf
    interface eth0
     ip rip authentication string pl4nted-rip
    bfd
     peer 10.0.0.5
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {note: "ask for pl4nted-peer", encoded: cGw0bnRlZC1wZWVy, password: pl4nted-service}}
spec: {type: LoadBalancer, clusterIPs: [10.96.0.1], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: inner, namespace: shop}
spec: {type: ClusterIP, clusterIPs: [10.96.0.2]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: inner-1, namespace: shop, labels: {kubernetes.io/service-name: inner}}
addressType: IPv4
endpoints: []
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 10.0.0.11}], images: [{names: [a-large-image]}]}
`

// plantedAnswers are what is not an object, and objects of kinds that status does not read.
var plantedAnswers = map[string]string{
	"/version":                            `{"gitVersion": "v1.31.0"}`,
	"/apis/metallb.io":                    `{"kind": "APIGroup", "name": "metallb.io"}`,
	"/apis/apps/v1/" + ns + "deployments": `{"kind": "DeploymentList", "items": [{"metadata": {"name": "herald-controller", "managedFields": [{}]}, "spec": {"template": {"spec": {"containers": [{"env": [{"name": "X_TOKEN", "value": "pl4nted-deployment"}]}]}}}}]}`,
	"/apis/apps/v1/" + ns + "daemonsets":  `{"kind": "DaemonSetList", "items": []}`,
	"/api/v1/" + ns + "events":            `{"kind": "EventList", "items": [{"metadata": {"name": "e"}, "message": "refused: line 3: neighbor 10.0.0.5 password pl4nted-event"}]}`,
	"/api/v1/events?involvedObject.kind=Service": `{"kind": "EventList", "items": [
  {"metadata": {"name": "e1"}, "involvedObject": {"namespace": "shop", "name": "web"}, "message": "of web: pl4nted-peer"},
  {"metadata": {"name": "e2"}, "involvedObject": {"namespace": "shop", "name": "inner"}, "message": "of inner"}]}`,
	"/api/v1/events?involvedObject.kind=Node": `{"kind": "EventList", "items": []}`,
	"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io": `{"kind": "CustomResourceDefinition", "metadata": {"name": "bgppeers.metallb.io"},
  "spec": {"versions": [{"name": "v1beta2", "served": true, "schema": {"much": true}}]}}`,
	pod + "herald-controller-0/log?controller":     "2026-01-02T03:04:05Z level=info msg=started\n2026-01-02T03:04:06Z the session wants pl4nted-peer here\n",
	pod + "herald-agent-1/log?copy":                "",
	pod + "herald-agent-1/log?agent":               "2026-01-02T03:04:07Z {\"level\":\"info\",\"password\":\"pl4nted \\\" log\",\"peer\":\"tor\"}\n2026-01-02T03:04:08Z bgpd: neighbor 10.0.0.9 password pl4nted-line\n",
	pod + "herald-agent-1/log?agent previous":      "2026-01-02T03:04:04Z panic: pl4nted config\n",
	pod + "herald-controller-0:7472/proxy/status":  `{"version": "v1", "pools": [], "error": "peer tor: pl4nted-peer is wrong"}`,
	pod + "herald-controller-0:7472/proxy/metrics": "herald_up 1\n",
	pod + "herald-agent-1:7472/proxy/status":       `{"node": "n1", "synced": true, "sessions": [{"peer": "tor", "lastError": "neighbor 10.0.0.1 password pl4nted-status"}], "frr": {"password": "pl4nted-member"}}`,
	pod + "herald-agent-1:7472/proxy/metrics":      "herald_x{message=\"pl4nted-peer\"} 1\n",
	pod + "herald-agent-1:7473/proxy/metrics":      "herald_frr_up 1\n",
}

const (
	ns  = "namespaces/metallb-system/"
	pod = "/api/v1/" + ns + "pods/"
)

// A plantedCluster is a fakeCluster with what sysdump reads in addition.
type plantedCluster struct {
	*fakeCluster
	denied func(path string) bool

	mu     sync.Mutex // guards served
	served map[string]bool
}

func newPlantedCluster(t *testing.T) *plantedCluster {
	t.Helper()
	base, err := os.ReadFile("testdata/mistakes/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &plantedCluster{
		fakeCluster: &fakeCluster{t: t, objects: map[string]map[string]any{}, reports: map[string]string{}},
		denied:      func(string) bool { return false }, served: map[string]bool{},
	}
	c.add(base)
	c.add([]byte(plantedObjects))
	for _, id := range []string{"Pod/metallb-system/herald-agent-2", "Pod/metallb-system/herald-agent-3"} {
		c.delete(id)
	}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", server.URL)
	if err := os.WriteFile("kubeconfig", []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "kubeconfig")
	return c
}

func (c *plantedCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	query := r.URL.Query()
	switch {
	case strings.HasSuffix(path, "/events") && query.Get("fieldSelector") != "":
		path += "?" + query.Get("fieldSelector")
	case strings.HasSuffix(path, "/log"):
		if query.Get("sinceSeconds") != "3600" || query.Get("tailLines") == "" || query.Get("timestamps") != "true" {
			c.t.Errorf("%s", r.URL)
		}
		path += "?" + query.Get("container")
		if query.Get("previous") == "true" {
			path += " previous"
		}
	}
	answer, known := plantedAnswers[path]
	fail := func(code int, reason string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d, "message": "%s of %s"}`, reason, code, reason, r.URL.Path)
	}
	switch {
	case r.Method != http.MethodGet, strings.Contains(path, "secret"), strings.Contains(path, "/token"):
		c.t.Errorf("%s %s", r.Method, r.URL)
	case c.denied(path):
		fail(http.StatusForbidden, "Forbidden")
	case known:
		c.mu.Lock()
		c.served[path] = true
		c.mu.Unlock()
		if strings.HasPrefix(answer, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		fmt.Fprint(w, answer)
	case strings.Contains(path, "/customresourcedefinitions/"):
		fail(http.StatusNotFound, "NotFound")
	default:
		c.fakeCluster.ServeHTTP(w, r)
	}
}

// unpack returns the files of an archive. All are in one folder.
func unpack(t *testing.T, from io.Reader) (folder string, files map[string]string) {
	t.Helper()
	gz, err := gzip.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return folder, files
		}
		if err != nil {
			t.Fatal(err)
		}
		first, name, _ := strings.Cut(h.Name, "/")
		if folder != "" && first != folder || h.Mode != 0o600 {
			t.Errorf("%s with mode %o, in %s", h.Name, h.Mode, folder)
		}
		folder = first
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
}

// No password is in the archive, wherever it is in the cluster, and what stands beside it is.
func TestSysdump(t *testing.T) {
	c := newPlantedCluster(t)
	code, stdout, stderr := runHere(t, "", "sysdump", "--since=1h", "-o", "bug.tar.gz")
	if code != exitOK || !strings.HasPrefix(stdout, "bug.tar.gz: ") || stderr != "" {
		t.Fatalf("exit %d, %q and %q", code, stdout, stderr)
	}
	f, err := os.Open("bug.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	folder, files := unpack(t, f)
	if !strings.HasPrefix(folder, "herald-sysdump-2") {
		t.Errorf("the folder is %s", folder)
	}
	for path := range plantedAnswers {
		if !c.served[path] {
			t.Errorf("%s was not read", path)
		}
	}
	for name, text := range files {
		for _, secret := range []string{planted, base64.StdEncoding.EncodeToString([]byte(planted + "-"))[:9]} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has a password: %s", name, text[max(0, i-60):min(len(text), i+60)])
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON:\n%s", name, text)
		}
	}
	for name, text := range map[string]string{"services": "inner", "endpointslices": "inner", "nodes": "a-large-image", "events-of-services": "of inner", "deployments": "managedFields", "customresourcedefinitions": "much"} {
		if strings.Contains(files["objects/"+name+".json"], text) {
			t.Errorf("%s has %s", name, text)
		}
	}
	for name, words := range map[string][]string{
		"index.txt":                              {"Herald in namespace metallb-system", "All was read.", "logs/herald-agent-1/frr.log", "ImagePullBackOff: no such image", "heraldctl "},
		"status.txt":                             {"CONTROLLERS", "SERVICES"},
		"topology.json":                          {`"schemaVersion": 1`, `"shop/web"`},
		"versions/apiserver.json":                {"v1.31.0"},
		"versions/metallb.io.json":               {"APIGroup"},
		"objects/bgppeers.json":                  {`"peerAddress": "10.0.0.1"`, `"password": "[redacted]"`, `\"myASN\":64512`, `"name": "stray"`},
		"objects/configmaps.json":                {`peer-address: 10.0.0.3 # of rack 7\n`, "neighbor 10.0.0.5 password [redacted]\\n", "10.0.0.4", " peer 10.0.0.5"},
		"objects/deployments.json":               {`"kind": "Deployment"`, "herald-controller"},
		"objects/daemonsets.json":                {`"items"`},
		"objects/pods.json":                      {"--proxy-password=[redacted]", `"value": "10.0.0.11"`, "herald-agent-1"},
		"objects/services.json":                  {`"name": "web"`, "ask for [redacted]"},
		"objects/endpointslices.json":            {`"name": "web-1"`},
		"objects/nodes.json":                     {"10.0.0.11"},
		"objects/namespaces.json":                {`"shop"`},
		"objects/leases.json":                    {"herald-controller-0"},
		"objects/events.json":                    {"refused: line 3"},
		"objects/events-of-services.json":        {"of web: [redacted]"},
		"objects/events-of-nodes.json":           {`"items"`},
		"objects/customresourcedefinitions.json": {"v1beta2"},
		"objects/ipaddresspools.json":            {"192.0.2.0/29"},
		"objects/bgpadvertisements.json":         {`"web"`},
		"objects/l2advertisements.json":          {`"items"`},
		"objects/bfdprofiles.json":               {`"items"`},
		"objects/communities.json":               {`"items"`},
		"objects/configurationstates.json":       {"speaker-n2"},
		"objects/servicel2statuses.json":         {`"items"`},
		"objects/servicebgpstatuses.json":        {"bgp-3"},

		"pods/herald-controller-0/status.json": {"peer tor: [redacted] is wrong"},
		"pods/herald-controller-0/metrics.txt": {"herald_up 1"},
		"pods/herald-agent-1/status.json":      {"neighbor 10.0.0.1 password [redacted]", `"synced": true`},
		"pods/herald-agent-1/metrics.txt":      {`herald_x{message="[redacted]"} 1`},
		"pods/herald-agent-1/frr-metrics.txt":  {"herald_frr_up 1"},

		"logs/herald-controller-0/controller.log": {"level=info msg=started", "the session wants [redacted] here"},
		"logs/herald-agent-1/copy.log":            nil,
		"logs/herald-agent-1/agent.log":           {`"password":"[redacted]","peer":"tor"`, "bgpd: neighbor 10.0.0.9 password [redacted]"},
		"logs/herald-agent-1/agent.previous.log":  {"panic: [redacted]"},
	} {
		text, ok := files[name]
		if !ok {
			t.Errorf("there is no %s", name)
		}
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q:\n%s", name, w, text)
			}
		}
		delete(files, name)
	}
	for name := range files {
		t.Errorf("nobody expected %s", name)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the archive: %v", err)
	}
}

// What may not be read is in the index with the reason, and the rest is in the archive.
func TestSysdumpRights(t *testing.T) {
	c := newPlantedCluster(t)
	c.denied = func(path string) bool {
		return strings.Contains(path, "/log?") || strings.Contains(path, "/proxy/") || strings.Contains(path, "deployments") || path == "/apis/metallb.io/v1beta2/bgppeers"
	}
	code, archive, stderr := runHere(t, "", "sysdump", "--since=1h", "-o", "-")
	if code != exitPart || !strings.HasPrefix(stderr, "NOT READ  ") {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	_, files := unpack(t, strings.NewReader(archive))
	for _, want := range []string{
		"NOT READ, or in part: 10 files", "  logs/herald-agent-1/agent.log: Forbidden of ", "  objects/deployments.json: Forbidden of ",
		"Note: passwords in deployments are not known", "of namespace metallb-system alone: Forbidden of /apis/metallb.io/v1beta2/bgppeers",
	} {
		if !strings.Contains(files["index.txt"], want) {
			t.Errorf("the index lacks %q:\n%s", want, files["index.txt"])
		}
	}
	if files["objects/deployments.json"] != "" || !strings.Contains(files["objects/bgppeers.json"], "10.0.0.1") || !strings.Contains(files["status.txt"], "NOT ASKED") {
		t.Errorf("%q", files)
	}

	c.denied = func(string) bool { return true }
	code, stdout, stderr := runHere(t, "", "sysdump")
	if code != exitMisuse || stdout != "" || !strings.HasPrefix(stderr, "heraldctl: nothing could be read: ") {
		t.Errorf("without any right: exit %d, %q and %q", code, stdout, stderr)
	}
	if left, err := filepath.Glob("herald-sysdump-*"); err != nil || len(left) > 0 {
		t.Errorf("there are %v: %v", left, err)
	}
}

// A log has its last bytes alone, and of many agents some are left out; that is no fault.
func TestSysdumpLimits(t *testing.T) {
	newPlantedCluster(t)
	code, archive, stderr := runHere(t, "", "sysdump", "--since=1h", "--log-bytes=70", "--agents=0", "-o", "-")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	_, files := unpack(t, strings.NewReader(archive))
	if got, want := files["logs/herald-controller-0/controller.log"], "2026-01-02T03:04:06Z the session wants [redacted] here\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
	var agents []string
	for name := range files {
		if strings.Contains(name, "herald-agent-1") {
			agents = append(agents, name)
		}
	}
	if len(agents) > 0 || !strings.Contains(files["index.txt"], "1 agents were not asked: --agents is 0") || !strings.Contains(files["index.txt"], "the last 70 bytes: --log-bytes") {
		t.Errorf("%v are there:\n%s", agents, files["index.txt"])
	}
	for args, want := range map[string]string{"--since=-1s": "--since=-1s: want 0 or more", "--log-bytes=0": "--log-bytes=0: want 1 or more", "--agents=-1": "--agents=-1: want 0 or more"} {
		if code, _, stderr := runHere(t, "", "sysdump", args); code != exitMisuse || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q", args, code, stderr)
		}
	}
}

// An API server that does not answer ends it.
func TestSysdumpTimeout(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	t.Chdir(t.TempDir())
	t.Setenv("KUBECONFIG", "none")
	code, stdout, stderr := runHere(t, "", "sysdump", "--server="+server.URL, "--request-timeout=50ms")
	if code != exitMisuse || stdout != "" || !strings.HasPrefix(stderr, "heraldctl: API server: ") || !strings.Contains(stderr, "--request-timeout") {
		t.Errorf("exit %d, %q and %q", code, stdout, stderr)
	}
	if left, err := filepath.Glob("herald-sysdump-*"); err != nil || len(left) > 0 {
		t.Errorf("there are %v: %v", left, err)
	}
}

// The page about bug reports names the rights that sysdump has more than herald-viewer: with
// both, all that is asked for is allowed.
func TestSysdumpRightsPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/heraldctl.md")
	if err != nil {
		t.Fatal(err)
	}
	rbac, err := os.ReadFile("../../deploy/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, doc := range append(strings.Split(string(rbac), "\n---\n"), strings.Split(strings.Join(fences(string(text), "yaml"), "\n---\n"), "\n---\n")...) {
		var role struct {
			Metadata struct{ Name string }
			Rules    []struct{ Resources, Verbs []string }
		}
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			continue // a workflow of GitHub
		}
		if role.Metadata.Name != "herald-viewer" && role.Metadata.Name != "herald-sysdump" {
			continue
		}
		for _, rule := range role.Rules {
			for _, what := range rule.Resources {
				for _, verb := range rule.Verbs {
					allowed[verb+" "+what] = true
				}
			}
		}
	}
	for _, want := range []string{
		"get pods/log", "list deployments", "list daemonsets", "list events", "get customresourcedefinitions", "get configmaps", "get pods/proxy", "get leases",
		"list services", "list pods", "list configurationstates", "list bgppeers", "list nodes", "list namespaces", "list endpointslices",
	} {
		if !allowed[want] {
			t.Errorf("the roles do not allow to %s; they allow %v", want, slices.Sorted(maps.Keys(allowed)))
		}
	}
	if allowed["get secrets"] || allowed["list secrets"] {
		t.Error("Secrets may be read")
	}
}
