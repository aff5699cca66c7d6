// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/kube"
)

// A kubelet forwards connections to pods, as the API server has one do it. It knows SPDY
// alone, as old ones do.
type kubelet struct {
	testing.TB
	pods   string // as JSON
	lease  string
	target string // where a pod's port leads

	mu    sync.Mutex // guards the fields below
	asked []string   // pods, with their ports
	conns []httpstream.Connection
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const namespace = "/api/v1/namespaces/metallb-system/"
	pod, forward := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, namespace+"pods/"), "/portforward")
	switch {
	case forward && r.Header.Get("Upgrade") == "websocket":
		http.Error(w, "no such protocol", http.StatusBadRequest)
	case forward:
		k.forward(w, r, pod)
	case r.URL.Path == namespace+"pods":
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, k.pods)
	case strings.HasSuffix(r.URL.Path, "/leases/herald-controller"):
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, k.lease)
	default:
		http.Error(w, "no "+r.URL.Path, http.StatusNotFound)
	}
}

func (k *kubelet) forward(w http.ResponseWriter, r *http.Request, pod string) {
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		k.Error(err)
		return
	}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		if s.Headers().Get(corev1.StreamType) != corev1.StreamTypeData {
			return nil
		}
		k.mu.Lock()
		k.asked = append(k.asked, pod+":"+s.Headers().Get(corev1.PortHeader))
		k.mu.Unlock()
		go func() {
			defer s.Close()
			to, err := net.Dial("tcp", k.target)
			if err != nil {
				return
			}
			defer to.Close()
			go func() {
				_, _ = io.Copy(to, s)
			}()
			_, _ = io.Copy(s, to)
		}()
		return nil
	})
	if conn == nil {
		return
	}
	k.mu.Lock()
	k.conns = append(k.conns, conn)
	k.mu.Unlock()
	<-conn.CloseChan()
}

// podOf returns a controller as JSON.
func podOf(name, phase string, args ...string) string {
	text, _ := json.Marshal(args) // texts always can be
	return fmt.Sprintf(`{"metadata": {"name": %q, "namespace": "metallb-system", "labels": {"app.kubernetes.io/component": "controller"}}, "spec": {"containers": [{"name": "controller", "args": %s}]}, "status": {"phase": %q}}`, name, text, phase)
}

func podsOf(pods ...string) string {
	return `{"kind": "PodList", "apiVersion": "v1", "items": [` + strings.Join(pods, ",") + `]}`
}

func leaseOf(pod string) string {
	return fmt.Sprintf(`{"spec": {"holderIdentity": "%s_x", "leaseDurationSeconds": 600, "renewTime": %q}}`, pod, time.Now().Format(time.RFC3339Nano))
}

// A browser that web opens gets the leading controller's page, and goes on to get one when
// another controller leads.
func TestWeb(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page of "+r.URL.Path) }))
	defer page.Close()
	k := &kubelet{TB: t, pods: podsOf(podOf("c1", "Running"), podOf("c2", "Running", "--page-address=127.0.0.1:8474"), podOf("c3", "Failed")), lease: leaseOf("c2"), target: page.Listener.Addr().String()}
	api := httptest.NewServer(k)
	defer api.Close()
	t.Chdir(t.TempDir())
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", api.URL)
	if err := os.WriteFile("kubeconfig", []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "kubeconfig")

	urls := make(chan string, 1)
	job := &webJob{connection: addConnection(&cobra.Command{}), open: func(_ context.Context, url string) error {
		urls <- url
		return nil
	}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var said strings.Builder
	go func() { done <- job.run(ctx, &said, t.Output()) }()
	var url string
	select {
	case url = <-urls:
	case err := <-done:
		t.Fatal(err)
	}
	patient := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() string {
		resp, err := patient.Get(url + "some/file")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	if got := get(); got != "page of /some/file" {
		t.Errorf("%s answers %q", url, got)
	}
	k.mu.Lock()
	if len(k.asked) == 0 || k.asked[0] != "c2:8474" {
		t.Errorf("asked are %q, want the leading controller's port", k.asked)
	}
	k.lease, k.asked = leaseOf("c1"), nil
	for _, c := range k.conns {
		c.Close() // as when the pod goes
	}
	k.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); get() != "page of /some/file"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the page is not forwarded again")
		}
	}
	k.mu.Lock()
	if k.asked[0] != "c1:7474" {
		t.Errorf("asked are %q, want the new leader", k.asked)
	}
	k.mu.Unlock()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "c2 knows, which leads") || !strings.Contains(said.String(), "c1 knows, which leads") {
		t.Errorf("it says %q", said.String())
	}
}

func TestPageOf(t *testing.T) {
	tests := []struct {
		flag, scheme string
		port         int
		err          string
	}{
		{"none", "http", 7474, ""},
		{"127.0.0.1:80", "http", 80, ""},
		{"localhost:80", "http", 80, ""},
		{"[::1]:81", "http", 81, ""},
		{":7475", "https", 7475, ""},
		{"0.0.0.0:7475", "https", 7475, ""},
		{"", "", 0, "serve no page"},
		{"x", "", 0, "--page-address of pod c"},
	}
	for _, tt := range tests {
		pod := kube.PagePod{Name: "c", Address: &tt.flag}
		if tt.flag == "none" {
			pod.Address = nil
		}
		scheme, port, err := pageOf(pod)
		if scheme != tt.scheme || port != tt.port || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %s %d %v", tt.flag, scheme, port, err)
		}
	}
}

// What keeps the page away is said.
func TestWebMisuse(t *testing.T) {
	for want, k := range map[string]*kubelet{
		"no controller runs in namespace metallb-system": {pods: podsOf(podOf("c1", "Pending")), lease: leaseOf("c1")},
		"the controllers serve no page":                  {pods: podsOf(podOf("c1", "Running", "--page-address=")), lease: leaseOf("c1")},
		"forward a port to pod c1":                       {pods: podsOf(podOf("c1", "Running")), lease: "{}"},
	} {
		k.TB = t
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/portforward") {
				http.Error(w, "you may not", http.StatusForbidden)
				return
			}
			k.ServeHTTP(w, r)
		}))
		code, stdout, stderr := runHere(t, "", "web", "--no-browser", "--server", api.URL, "--kubeconfig", os.DevNull)
		api.Close()
		if code != exitMisuse || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%d %q %q, want %q", code, stdout, stderr, want)
		}
	}
}
