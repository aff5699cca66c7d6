// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A recorder is an API server that has nothing and remembers who asked.
type recorder struct {
	mu    sync.Mutex // guards users
	users map[string]bool
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.users[req.Header.Get("Impersonate-User")] = true
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintln(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no such thing"}`)
}

// asked returns who has asked, and forgets them.
func (r *recorder) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for user := range r.users {
		out = append(out, user)
	}
	clear(r.users)
	return out
}

// twoClusters has KUBECONFIG name two API servers. Prod is that of the current context.
func twoClusters(t *testing.T) (prod, lab *recorder) {
	t.Helper()
	prod, lab = &recorder{users: map[string]bool{}}, &recorder{users: map[string]bool{}}
	a, b := httptest.NewServer(prod), httptest.NewServer(lab)
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	t.Chdir(t.TempDir())
	kubeconfig := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: prod,
 clusters: [{name: prod, cluster: {server: %q}}, {name: lab, cluster: {server: %q}}],
 users: [{name: bob}],
 contexts: [{name: prod, context: {cluster: prod, namespace: shop}}, {name: the lab, context: {cluster: lab}}]}`, a.URL, b.URL)
	if err := os.WriteFile("kubeconfig", []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "kubeconfig")
	return prod, lab
}

// Every command that talks to a cluster talks to the one that kubectl's flags name, as the
// user that they name, and to no other.
func TestConnectionFlags(t *testing.T) {
	commands := map[string]string{
		"allocate": "--cluster", "check": "--cluster", "diff": "-f config.yaml", "render": "--cluster --node n1",
		"drain": "n1", "undrain": "n1", "sessions": "", "status": "", "why": "shop/web", "top": "--once", "doctor": "", "sysdump": "", "web": "--no-browser",
		"get services": "", "get pools": "", "get nodes": "", "get peers": "", "get routes": "",
	}
	offline := []string{"convert", "version", "get"}
	prod, lab := twoClusters(t)
	if err := os.WriteFile("config.yaml", []byte(quickStart), 0o600); err != nil {
		t.Fatal(err)
	}
	var each func(*cobra.Command, string)
	each = func(cmd *cobra.Command, above string) {
		for _, c := range cmd.Commands() {
			name := above + c.Name()
			each(c, name+" ")
			args, online := commands[name]
			if !online {
				if !slices.Contains(offline, name) {
					t.Errorf("%s: nobody says whether it talks to a cluster", name)
				}
				continue
			}
			line := append(strings.Fields(name), strings.Fields(args)...)
			runHere(t, "", append(line, "--context", "the lab", "--as=alice")...)
			if diff := cmp.Diff([]string{"alice"}, lab.asked()); diff != "" {
				t.Errorf("%s --context: who asked the cluster (-want +got):\n%s", name, diff)
			}
			if got := prod.asked(); len(got) > 0 {
				t.Errorf("%s --context: the cluster of the current context was asked, by %q", name, got)
			}
			runHere(t, "", append([]string{"--context=the lab"}, line...)...)
			if got := lab.asked(); !slices.Equal(got, []string{""}) || len(prod.asked()) > 0 {
				t.Errorf("--context %s: asked by %q", name, got)
			}
			runHere(t, "", line...)
			if got := prod.asked(); !slices.Equal(got, []string{""}) || len(lab.asked()) > 0 {
				t.Errorf("%s: asked by %q", name, got)
			}
		}
	}
	each(rootCommand(ownName), "")
}

// --cluster of a command that reads files is a switch, and may name a cluster, too.
func TestClusterFlag(t *testing.T) {
	tests := []struct {
		args      string
		prod, lab bool
	}{
		{"check --cluster", true, false},
		{"check --cluster=lab", false, true},
		{"check --cluster=true", true, false},
		{"check --cluster=false config.yaml", false, false},
		{"check config.yaml", false, false},
		{"diff -f config.yaml --cluster=lab", false, true},
		{"sessions --cluster lab", false, true},
		{"--cluster lab sessions", false, true},
	}
	prod, lab := twoClusters(t)
	if err := os.WriteFile("config.yaml", []byte(quickStart), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		runHere(t, "", strings.Fields(tt.args)...)
		if a, b := len(prod.asked()) > 0, len(lab.asked()) > 0; a != tt.prod || b != tt.lab {
			t.Errorf("%s: prod was asked: %t, lab: %t", tt.args, a, b)
		}
	}
}

// An API server that does not answer ends a command, by default too.
func TestRequestTimeout(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	t.Setenv("KUBECONFIG", "none")
	code, stdout, stderr := runHere(t, "", "undrain", "n1", "--server="+server.URL, "--request-timeout=50ms")
	if code != exitMisuse || stdout != "" || !strings.HasSuffix(stderr, "; --request-timeout sets how long to wait\n") {
		t.Errorf("exit %d, %q and %q", code, stdout, stderr)
	}
	if f := rootCommand(ownName).PersistentFlags().Lookup("request-timeout"); f.DefValue != requestTimeout {
		t.Errorf("the default is %q", f.DefValue)
	}
}

// What a user is told to run next goes to the same cluster, as the same user, and looks at the
// same Herald. Tokens are not repeated.
func TestNextCommands(t *testing.T) {
	const flags = `--context='the lab'\''s' --as=alice --as-group=ops --as-group='more ops' --insecure-skip-tls-verify=true`
	for _, program := range []string{ownName, pluginName} {
		root := rootCommand(program)
		cmd, _, err := root.Find([]string{"status"})
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--context", "the lab's", "--as=alice", "--as-group=ops", "--as-group=more ops", "--token=hunter2", "-n", "lb", "--insecure-skip-tls-verify", "--lb-class=x"}
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		for command, want := range map[string]string{
			"heraldctl why peer/tor":                           program + " why peer/tor " + flags + " --lb-class=x --namespace=lb",
			"kubectl -n shop get pods -l app=web":              "kubectl " + flags + " -n shop get pods -l app=web",
			"heraldctl check -f FILE && kubectl apply -f FILE": program + " check -f FILE " + flags + " --namespace=lb && kubectl " + flags + " apply -f FILE",
			"kubectl get nodes | grep kubectl-like":            "kubectl " + flags + " get nodes | grep kubectl-like",
			"":                                                 "",
		} {
			if got := carried(cmd, command); got != want {
				t.Errorf("%s of %s\nwant %s\n got %s", command, program, want, got)
			}
		}
	}
	serveCluster(t, abs(t, "testdata/mistakes/15-password.txtar"))
	_, stdout, _ := runHere(t, "", "status", "--context=c", "--lb-class=", "--token=hunter2")
	if want := "next: heraldctl why peer/tor --context=c --lb-class=''\n"; !strings.Contains(stdout, want) || strings.Contains(stdout, "hunter2") {
		t.Errorf("want %q in\n%s", want, stdout)
	}
	var out, errs bytes.Buffer
	run(t.Context(), pluginName, []string{"why", "peer/tor", "--context=c", "-n", "metallb-system", "-o", "json"}, strings.NewReader(""), &out, &errs)
	if want := `"next": "kubectl --context=c -n metallb-system edit bgppeers.metallb.io tor"`; !strings.Contains(out.String(), want) {
		t.Errorf("want %s in\n%s", want, out.String())
	}
}

// As a plugin of kubectl the program says what its user has to type.
func TestPlugin(t *testing.T) {
	for _, tt := range []struct {
		argv []string
		name string
		args []string
	}{
		{[]string{"/usr/bin/heraldctl", "status"}, "heraldctl", []string{"status"}},
		{[]string{"/home/a/.krew/bin/kubectl-herald", "status"}, "kubectl herald", []string{"status"}},
		{[]string{"kubectl-herald.exe"}, "kubectl herald", []string{}},
		{[]string{"kubectl_complete-herald", "drain", ""}, "kubectl herald", []string{"__complete", "drain", ""}},
	} {
		if name, args := invocation(tt.argv); name != tt.name || !slices.Equal(args, tt.args) {
			t.Errorf("%v: %q with %v", tt.argv, name, args)
		}
	}
	plugin := func(args ...string) string {
		var out bytes.Buffer
		run(t.Context(), pluginName, args, strings.NewReader(""), &out, &out)
		return out.String()
	}
	var each func(*cobra.Command, []string)
	each = func(cmd *cobra.Command, above []string) {
		for _, c := range cmd.Commands() {
			path := append(slices.Clone(above), c.Name())
			help := plugin(append(path, "--help")...)
			if strings.Contains(strings.ReplaceAll(help, "version of heraldctl", ""), ownName) || !strings.Contains(help, pluginName+" "+strings.Join(path, " ")) {
				t.Errorf("%v --help:\n%s", path, help)
			}
			if !strings.Contains(help, `"kubectl herald --help" lists them.`) || strings.Contains(help, "--certificate-authority") {
				t.Errorf("%v --help repeats the flags of all commands:\n%s", path, help)
			}
			each(c, path)
		}
	}
	each(rootCommand(ownName), nil)
	if got, want := plugin("stauts"), "kubectl herald: unknown command \"stauts\" for \"kubectl herald\"\n\nDid you mean this?\n\tstatus\n\n"; got != want {
		t.Errorf("a wrong command: %q", got)
	}
	if help := plugin("--help"); !strings.Contains(help, "--context string") || !strings.Contains(help, "--as string") {
		t.Errorf("--help:\n%s", help)
	}
}

// An error of the API server comes with what to do about it.
func TestAdvice(t *testing.T) {
	forbidden := fmt.Errorf("node n1: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "n1", errors.New("no")))
	for _, tt := range []struct {
		command string
		err     error
		want    string
	}{
		{"sessions", forbidden, "; the Role herald-viewer allows it: docs/heraldctl.md#rights. Without it, get peers shows what agents write into objects"},
		{"get", forbidden, "; the ClusterRole and the Role herald-viewer allow it: docs/heraldctl.md#rights"},
		{"status", errors.New(`read Services: services is forbidden: User "x" cannot list`), "; the ClusterRole and the Role herald-viewer allow it: docs/heraldctl.md#rights"},
		{"drain", forbidden, "; drain and undrain need get and patch of nodes, and with --wait the rights of herald-viewer: docs/heraldctl.md#rights"},
		{"drain", os.ErrDeadlineExceeded, "; --request-timeout sets how long to wait"},
		{"drain", errors.New("not found"), ""},
	} {
		if got := advice(&cobra.Command{Use: tt.command}, tt.err); got != tt.want {
			t.Errorf("%s: %v: %q, want %q", tt.command, tt.err, got, tt.want)
		}
	}
}
