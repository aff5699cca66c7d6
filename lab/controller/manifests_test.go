// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/e2e"
)

// The API server takes every manifest.
func TestManifestsValid(t *testing.T) {
	e := e2e.NewControl(t)
	var files []string
	for _, pattern := range []string{"*.yaml", "base/*.yaml", "testdata/*.out.yaml", "crds/*.yaml"} {
		found, err := filepath.Glob(filepath.Join("../../deploy", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	valid := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		stored, err := e.Cluster.Validate(t.Context(), string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, o := range stored {
			settled(t, file, string(text), o)
		}
		valid++
	}
	if valid < 6 {
		t.Errorf("only %d manifests of %q were looked at", valid, files)
	}
}

// settled wants kubectl apply of a manifest to change nothing when the API server
// has already stored it, so that a second apply says so and GitOps tools rest.
func settled(t *testing.T, file, manifests string, stored *unstructured.Unstructured) {
	t.Helper()
	if stored.GetKind() == "PodDisruptionBudget" {
		return // kubectl replaces its selector each time, whatever it is, and the API server stores nothing new
	}
	written := document(t, manifests, stored.GetKind(), stored.GetName())
	current, err := json.Marshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	var patch []byte
	if typed, err := scheme.Scheme.New(stored.GroupVersionKind()); err == nil {
		meta, err := strategicpatch.NewPatchMetaFromStruct(typed)
		if err != nil {
			t.Fatal(err)
		}
		patch, err = strategicpatch.CreateThreeWayMergePatch(written, written, current, meta, true)
		if err != nil {
			t.Fatalf("%s: %s %s: %v", file, stored.GetKind(), stored.GetName(), err)
		}
	} else if patch, err = jsonmergepatch.CreateThreeWayJSONMergePatch(written, written, current); err != nil {
		t.Fatalf("%s: %s %s: %v", file, stored.GetKind(), stored.GetName(), err)
	}
	if string(patch) != "{}" {
		t.Errorf("%s: a second kubectl apply of %s %s sends %s", file, stored.GetKind(), stored.GetName(), patch)
	}
}

// document returns the object of a kind and name in manifests as JSON.
func document(t *testing.T, manifests, kind, name string) []byte {
	t.Helper()
	for r := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifests))); ; {
		text, err := r.Read()
		if err != nil {
			t.Fatalf("find %s %s: %v", kind, name, err)
		}
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal(text, &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == kind && o.GetName() == name {
			out, err := json.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
}

// Each program has the flags that its container gives it, and ends there with the
// version, as the flags make no sense without a cluster.
func TestManifestsFlags(t *testing.T) {
	pods := e2e.ReadPods(t)
	for _, tt := range []struct {
		program string
		pod     corev1.PodSpec
		name    string
	}{
		{"herald-controller", pods.Controller, "controller"},
		{"herald-agent", pods.Agent, "agent"},
		{"herald-frr", pods.Agent, "frr"},
	} {
		c, err := lab.Container(&tt.pod, tt.name)
		if err != nil {
			t.Fatal(err)
		}
		run := func(args ...string) (string, error) {
			out, err := exec.CommandContext(t.Context(), filepath.Join(e2e.Build(t), tt.program), append(args, "--version")...).CombinedOutput()
			return string(out), err
		}
		if out, err := run(c.Args...); err != nil || !strings.HasPrefix(out, tt.program+" version") {
			t.Errorf("%s %q: %v: %s", tt.program, c.Args, err, out)
		}
		if out, err := run("--no-such-flag=1"); err == nil {
			t.Errorf("%s takes any flag: %s", tt.program, out)
		}
	}
}

// The pods are as little as they can be: the lab runs what is here, so that more than
// this is nothing that a test would miss.
func TestManifestsPod(t *testing.T) {
	pods := e2e.ReadPods(t)
	tests := []struct {
		name         string
		pod          corev1.PodSpec
		user         int64
		group        int64 // the pod's fsGroup
		capabilities []string
		folders      []string
	}{
		{"controller", pods.Controller, 65534, 65534, nil, nil},
		{"agent", pods.Agent, 0, 301, []string{"NET_RAW"}, []string{"/etc/frr", "/etc/metallb", "/etc/ml_secret_key", "/var/run/frr", "/var/run/secrets/kubernetes.io/serviceaccount"}},
		{"frr", pods.Agent, 0, 301,
			[]string{"KILL", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SETGID", "SETUID", "SYS_ADMIN"},
			[]string{"/etc/frr", "/var/run/frr", "/var/tmp"}},
	}
	for _, tt := range tests {
		c, err := lab.Container(&tt.pod, tt.name)
		if err != nil {
			t.Fatal(err)
		}
		sc, all := c.SecurityContext, tt.pod.SecurityContext
		var folders, caps []string
		for _, m := range c.VolumeMounts {
			folders = append(folders, m.MountPath)
		}
		for _, added := range sc.Capabilities.Add {
			caps = append(caps, string(added))
		}
		slices.Sort(folders)
		slices.Sort(caps)
		if !slices.Equal(folders, tt.folders) || !slices.Equal(caps, tt.capabilities) {
			t.Errorf("%s has folders %q and capabilities %q, want %q and %q", tt.name, folders, caps, tt.folders, tt.capabilities)
		}
		if !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation {
			t.Errorf("%s may more than it needs: %+v", tt.name, sc)
		}
		user := sc.RunAsUser
		if user == nil {
			user = all.RunAsUser
		}
		if user == nil || all.FSGroup == nil {
			t.Errorf("%s has not both a user and a group", tt.name)
		} else if *user != tt.user || *all.FSGroup != tt.group {
			t.Errorf("%s is user %d with group %d, want %d with %d", tt.name, *user, *all.FSGroup, tt.user, tt.group)
		}
	}
	if !pods.Agent.HostNetwork || pods.Controller.HostNetwork {
		t.Errorf("the agent has the host's network: %v, the controller: %v", pods.Agent.HostNetwork, pods.Controller.HostNetwork)
	}
}
