// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// TestMistakes runs status and why on clusters in each of which somebody made a mistake. The
// first ten lines of the output name the cause and the cure.
//
// A file has objects.yaml, which replace those of base.yaml or come in addition; delete,
// the objects of base.yaml that there are not; report-NODE.json, what an agent answers;
// forbidden, the plurals that the user may not read, and those with "list:" before them that
// it may read one by one; lease, how the controllers' Lease is: none, stale, or renewed by a
// clock that is late; want, texts that the first ten lines
// of the first command's output contain, each on its line; and for each command line its
// output. If that says that something is broken, a cure is in its first ten lines, too.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	base, err := os.ReadFile("testdata/mistakes/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			full := filepath.Join(here, name)
			archive, err := txtar.ParseFile(full)
			if err != nil {
				t.Fatal(err)
			}
			c := &fakeCluster{t: t, objects: map[string]map[string]any{}, reports: map[string]string{}}
			c.add(base)
			var want []string
			commands := 0
			for _, f := range archive.Files {
				switch text := string(f.Data); {
				case f.Name == "objects.yaml":
					c.add(f.Data)
				case f.Name == "delete":
					for _, id := range strings.Fields(text) {
						c.delete(id)
					}
				case f.Name == "forbidden":
					c.forbidden = strings.Fields(text)
				case f.Name == "lease":
					c.lease = strings.TrimSpace(text)
				case f.Name == "want":
					want = strings.Split(strings.TrimSpace(text), "\n")
				case strings.HasPrefix(f.Name, "report-"):
					c.reports[strings.TrimSuffix(strings.TrimPrefix(f.Name, "report-"), ".json")] = text
				}
			}
			c.serve()
			for i, f := range archive.Files {
				args := strings.Fields(f.Name)
				if args[0] != "status" && args[0] != "why" {
					continue
				}
				commands++
				code, stdout, stderr := runHere(t, "", args...)
				got := lasted.ReplaceAllString(fmt.Sprintf("%s%sexit %d\n", stdout, stderr, code), "for long")
				if *update {
					archive.Files[i].Data = []byte(got)
				} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
				lines := strings.Split(got, "\n")
				head := strings.Join(lines[:min(len(lines), 10)], "\n")
				if code == exitBroken && !strings.Contains(head, "cure: ") {
					t.Errorf("%s: the first ten lines have no cure:\n%s", f.Name, head)
				}
				if commands > 1 {
					continue
				}
				for _, w := range want {
					if !strings.Contains(head, w) {
						t.Errorf("%s: the first ten lines lack %q:\n%s", f.Name, w, head)
					}
				}
			}
			if commands == 0 || len(want) == 0 {
				t.Fatal("the file has no command, or wants nothing")
			}
			if *update {
				if err := os.WriteFile(full, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A number of agents below 0 is refused, and an API server that does not answer is not waited
// for for ever.
func TestLookLimits(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(block) })
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status", "--agents=-1", "--server", server.URL}, "--agents=-1: want 0 or more"},
		{[]string{"status", "--request-timeout=50ms", "--server", server.URL}, "exceeded"},
		{[]string{"why", "shop/web", "--request-timeout=50ms", "--server", server.URL}, "exceeded"},
	} {
		if code, stdout, stderr := runHere(t, "", c.args...); code != exitMisuse || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
}

// lasted is how long something has lasted.
var lasted = regexp.MustCompile(`for \d+d`)

// A fakeCluster is an API server with objects that do not change, and agents.
type fakeCluster struct {
	t         testing.TB
	objects   map[string]map[string]any // by KIND/NAMESPACE/NAME
	reports   map[string]string         // by node
	forbidden []string
	denied    []string          // what service accounts of Herald may not do, as ACCOUNT:VERB:RESOURCE
	missing   []string          // names of definitions that are not installed
	lease     string            // empty: it is new
	mu        sync.Mutex        // guards encoded
	encoded   map[string][]byte // by request, for objects that do not change; nil: each answer is made
}

// plurals are the kinds that there are.
var plurals = map[string]string{
	"services": "Service", "namespaces": "Namespace", "nodes": "Node", "endpointslices": "EndpointSlice", "configmaps": "ConfigMap", "pods": "Pod",
	"ipaddresspools": "IPAddressPool", "bfdprofiles": "BFDProfile", "communities": "Community", "bgppeers": "BGPPeer",
	"bgpadvertisements": "BGPAdvertisement", "l2advertisements": "L2Advertisement", "configurationstates": "ConfigurationState",
	"servicel2statuses": "ServiceL2Status", "servicebgpstatuses": "ServiceBGPStatus", "daemonsets": "DaemonSet",
}

func idOf(o map[string]any) string {
	meta, _ := o["metadata"].(map[string]any)
	namespace, _ := meta["namespace"].(string)
	return fmt.Sprintf("%s/%s/%s", o["kind"], namespace, meta["name"])
}

func (c *fakeCluster) add(text []byte) {
	for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(string(text), -1) {
		o := map[string]any{}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			c.t.Fatal(err)
		}
		if len(o) > 0 {
			c.objects[idOf(o)] = o
		}
	}
}

func (c *fakeCluster) delete(id string) {
	if c.objects[id] == nil {
		c.t.Fatalf("there is no %s", id)
	}
	delete(c.objects, id)
}

// serve starts the API server, and has KUBECONFIG name it.
func (c *fakeCluster) serve() {
	server := httptest.NewServer(c)
	c.t.Cleanup(server.Close)
	c.t.Chdir(c.t.TempDir())
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", server.URL)
	if err := os.WriteFile("kubeconfig", []byte(kubeconfig), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Setenv("KUBECONFIG", "kubeconfig")
}

// lease is a Lease, but for how long it lasts and when it was renewed.
const lease = `{"spec": {"holderIdentity": "herald-controller-0_x", "leaseDurationSeconds": %d, "renewTime": %q}}`

var proxyPath = regexp.MustCompile(`/pods/herald-agent-(\d):7472/proxy/status$`)

// answer returns what was answered before.
func (c *fakeCluster) answer(path string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.encoded[path]
}

func (c *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fail := func(code int, reason, message string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d, "message": %q}`, reason, code, message)
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	plural := parts[len(parts)-1]
	switch m := proxyPath.FindStringSubmatch(r.URL.Path); {
	case m != nil && c.reports["n"+m[1]] != "":
		fmt.Fprint(w, c.reports["n"+m[1]])
		return
	case m != nil:
		fail(http.StatusForbidden, "Forbidden", `pods/proxy is forbidden`)
		return
	case strings.Contains(r.URL.Path, "/leases/"):
		switch c.lease {
		case "":
			fmt.Fprintf(w, lease, 6, time.Now().Format(time.RFC3339))
		case "stale":
			fmt.Fprintf(w, lease, 1, "2026-01-02T03:04:05Z")
		case "late":
			fmt.Fprintf(w, lease, 30, time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
		case "none":
			fail(http.StatusNotFound, "NotFound", "there is no lease")
		case "forbidden":
			fail(http.StatusForbidden, "Forbidden", "leases is forbidden")
		}
		return
	case c.environment(w, r, fail):
		return
	case len(parts) > 1 && parts[len(parts)-2] == "configmaps":
		o := c.objects["ConfigMap/"+parts[len(parts)-3]+"/"+plural]
		if slices.Contains(c.forbidden, "configmaps") {
			fail(http.StatusForbidden, "Forbidden", "configmaps is forbidden")
		} else if o == nil {
			fail(http.StatusNotFound, "NotFound", "there is no such ConfigMap")
		} else if err := json.NewEncoder(w).Encode(o); err != nil {
			c.t.Error(err)
		}
		return
	case slices.Contains(c.forbidden, plural), slices.Contains(c.forbidden, "list:"+plural):
		fail(http.StatusForbidden, "Forbidden", plural+" is forbidden")
		return
	case plurals[plural] == "":
		c.t.Errorf("nobody expected %s", r.URL.Path)
	}
	if known := c.answer(r.URL.RequestURI()); known != nil {
		_, _ = w.Write(known)
		return
	}
	namespace := ""
	if i := slices.Index(parts, "namespaces"); i >= 0 && i+2 < len(parts) {
		namespace = parts[i+1]
	}
	var ids []string
	for id, o := range c.objects {
		if o["kind"] == plurals[plural] && (namespace == "" || strings.Split(id, "/")[1] == namespace) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		c.t.Error(err)
	}
	items := []any{}
	for _, id := range ids {
		meta, _ := c.objects[id]["metadata"].(map[string]any)
		of := labels.Set{}
		all, _ := meta["labels"].(map[string]any)
		for k, v := range all {
			of[k], _ = v.(string)
		}
		if selector.Matches(of) {
			items = append(items, c.objects[id])
		}
	}
	version := strings.Join(parts[1:3], "/")
	if parts[0] == "api" {
		version = parts[1]
	}
	text, err := json.Marshal(map[string]any{"kind": plurals[plural] + "List", "apiVersion": version, "items": items})
	if err != nil {
		c.t.Error(err)
	}
	_, _ = w.Write(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.encoded != nil {
		c.encoded[r.URL.RequestURI()] = text
	}
}
