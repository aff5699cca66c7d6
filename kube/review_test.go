// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/status"
)

// reply decodes a request and encodes the answer.
func reply[T any](t *testing.T, w http.ResponseWriter, r *http.Request, change func(*T)) {
	t.Helper()
	var v T
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	change(&v)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// A review asks who the token's owner is, and then about all that is known of that user.
func TestReview(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/apis/authentication.k8s.io/v1/tokenreviews":
			reply(t, w, r, func(v *authenticationv1.TokenReview) {
				if v.Spec.Token == "broken" {
					w.WriteHeader(http.StatusForbidden)
				}
				v.Status.Authenticated = v.Spec.Token != "unknown"
				v.Status.User = authenticationv1.UserInfo{
					Username: v.Spec.Token, UID: "7", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}},
				}
			})
		case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
			reply(t, w, r, func(v *authorizationv1.SubjectAccessReview) {
				s := v.Spec
				if s.UID != "7" || len(s.Groups) != 1 || len(s.Extra["k"]) != 1 || s.NonResourceAttributes == nil || s.NonResourceAttributes.Verb != "get" {
					t.Errorf("asked about %+v", s)
				}
				v.Status.Allowed = s.User == "reader" && s.NonResourceAttributes.Path == "/metrics"
			})
		}
	}))
	defer api.Close()
	config := &rest.Config{Host: api.URL, QPS: -1}
	writes := 0
	kube.CountWrites(config, func(string, string) { writes++ })
	c, err := kube.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token, path    string
		known, allowed bool
		err            string
	}{
		{"reader", "/metrics", true, true, ""},
		{"reader", "/status", true, false, ""},
		{"other", "/metrics", true, false, ""},
		{"unknown", "/metrics", false, false, ""},
		{"broken", "/metrics", false, false, "review a token: "},
	} {
		known, allowed, err := c.Review(t.Context(), tt.token, tt.path)
		if known != tt.known || allowed != tt.allowed || (err != nil) != (tt.err != "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("%s, %s: known %v, allowed %v, %v", tt.token, tt.path, known, allowed, err)
		}
	}
	if writes != 0 {
		t.Errorf("reviews count as %d writes", writes)
	}
}

// The status of an agent that needs TLS and a token is read with a token of the service
// account for readers, which is asked for once.
func TestReportSecure(t *testing.T) {
	t.Parallel()
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v1/namespaces/ours/pods":
			p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
			json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []corev1.Pod{p}})
		case "/api/v1/namespaces/ours/pods/a:7472/proxy/status":
			http.Error(w, "this page is served over HTTPS", http.StatusUpgradeRequired)
		case "/api/v1/namespaces/ours/serviceaccounts/herald-metrics-reader/token":
			asked++
			reply(t, w, r, func(v *authenticationv1.TokenRequest) { v.Status.Token = "secret" })
		case "/api/v1/namespaces/ours/pods/https:a:7472/proxy/status":
			if got := r.Header.Get("Herald-Authorization"); got != "Bearer secret" {
				t.Errorf("the token is %q", got)
			}
			json.NewEncoder(w).Encode(status.Report{Identity: status.Identity{Node: "n1"}})
		default:
			http.Error(w, "no "+r.URL.Path, http.StatusServiceUnavailable)
		}
	}))
	defer api.Close()
	c, err := kube.NewClient(&rest.Config{Host: api.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := c.Agents(t.Context(), "ours")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r, err := c.Report(t.Context(), agents[0]); err != nil || r.Node != "n1" {
			t.Errorf("%v: the report is %+v", err, r)
		}
	}
	page, err := c.Page(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ours", Name: "a"}}, 7472, "status")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	if text, err := io.ReadAll(page); err != nil || !strings.Contains(string(text), "n1") {
		t.Errorf("%v: the page is %s", err, text)
	}
	if asked != 1 {
		t.Errorf("asked for a token %d times, want once", asked)
	}
}
