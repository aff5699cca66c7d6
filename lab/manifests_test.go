// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/heraldlb/herald/lab"
)

// The API server takes every manifest.
func TestManifestsValid(t *testing.T) {
	e := newE2E(t)
	var files []string
	for _, pattern := range []string{"*.yaml", "base/*.yaml", "testdata/*.out.yaml", "crds/*.yaml"} {
		found, err := filepath.Glob(filepath.Join("../deploy", pattern))
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
		if err := e.Cluster.Validate(t.Context(), string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		valid++
	}
	if valid < 6 {
		t.Errorf("only %d manifests of %q were looked at", valid, files)
	}
}

// The containers of the lab have the capabilities and folders of the manifest's.
func TestManifestsPod(t *testing.T) {
	text, err := os.Open("../deploy/herald.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var pod corev1.PodSpec
	for r := yaml.NewYAMLReader(bufio.NewReader(text)); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var set appsv1.DaemonSet
		if err := yaml.Unmarshal(document, &set); err != nil {
			t.Fatal(err)
		}
		if set.Kind == "DaemonSet" {
			pod = set.Spec.Template.Spec
		}
	}
	tests := []struct {
		container    string
		capabilities []string
		folders      []string
	}{
		{"agent", lab.AgentCapabilities, []string{"/etc/frr", "/etc/metallb", "/etc/ml_secret_key", "/var/run/frr"}},
		{"frr", lab.SidecarCapabilities, []string{"/etc/frr", "/var/run/frr", "/var/tmp"}},
	}
	for _, tt := range tests {
		i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == tt.container })
		if i < 0 {
			t.Fatalf("no container %s", tt.container)
		}
		c := pod.Containers[i]
		var folders, caps []string
		for _, m := range c.VolumeMounts {
			folders = append(folders, m.MountPath)
		}
		for _, added := range c.SecurityContext.Capabilities.Add {
			caps = append(caps, strings.ToLower(string(added)))
		}
		slices.Sort(folders)
		slices.Sort(caps)
		if !slices.Equal(folders, tt.folders) || !slices.Equal(caps, tt.capabilities) {
			t.Errorf("%s has folders %q and capabilities %q, in the lab %q and %q", tt.container, folders, caps, tt.folders, tt.capabilities)
		}
		sc := c.SecurityContext
		if !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation {
			t.Errorf("%s: %+v, unlike in the lab", tt.container, sc)
		}
	}
	if !pod.HostNetwork || pod.SecurityContext.FSGroup == nil {
		t.Errorf("the pod has hostNetwork %v and fsGroup %v, unlike in the lab", pod.HostNetwork, pod.SecurityContext.FSGroup)
	}
}
