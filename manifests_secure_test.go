// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestManifestsSecure wants MetalLB's values about TLS to take effect in each daemon,
// probes to stay where they are, and the right to review tokens where it is needed.
func TestManifestsSecure(t *testing.T) {
	tests := []struct {
		file       string
		secure     bool
		version    string
		port, frrs int32
	}{
		{"deploy/herald.yaml", false, "", 7472, 7473},
		{"deploy/testdata/metallb-0.12.out.yaml", true, "VersionTLS12", 9120, 9121},
		{"deploy/testdata/metallb-defaults.out.yaml", true, "VersionTLS13", 9120, 9121},
		{"deploy/testdata/metallb-values.out.yaml", false, "", 9120, 7999},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			m := readManifests(t, tt.file)
			containers := slices.Concat(
				object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent").Spec.Template.Spec.Containers,
				object[appsv1.Deployment](t, m, "Deployment/herald-controller").Spec.Template.Spec.Containers)
			for _, c := range containers {
				if got := slices.Contains(c.Args, "--secure-metrics"); got != tt.secure {
					t.Errorf("%s: secure metrics are %v, want %v", c.Name, got, tt.secure)
				}
				if version := "--tls-min-version=" + tt.version; tt.secure && !slices.Contains(c.Args, version) {
					t.Errorf("%s: no %s in %q", c.Name, version, c.Args)
				}
				want := tt.port
				if c.Name == "frr" {
					want = tt.frrs
				}
				if c.Ports[0].ContainerPort != want {
					t.Errorf("%s: port %d, want %d", c.Name, c.Ports[0].ContainerPort, want)
				}
				if c.ReadinessProbe.HTTPGet.Scheme != "" && c.ReadinessProbe.HTTPGet.Scheme != corev1.URISchemeHTTP {
					t.Errorf("%s: probes by %s", c.Name, c.ReadinessProbe.HTTPGet.Scheme)
				}
			}
			text, err := os.ReadFile(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(text), "tokenreviews"); got != tt.secure {
				t.Errorf("the right to review tokens is granted: %v, want %v", got, tt.secure)
			}
			if !tt.secure {
				return
			}
			role := object[rbacv1.ClusterRole](t, m, "ClusterRole/herald-metrics-reader")
			if len(role.Rules) != 1 || !slices.Equal(role.Rules[0].NonResourceURLs, []string{"/metrics", "/status"}) {
				t.Errorf("readers may %+v", role.Rules)
			}
			binding := object[rbacv1.ClusterRoleBinding](t, m, "ClusterRoleBinding/herald-token-reviews")
			if len(binding.Subjects) != 2 {
				t.Errorf("tokens are reviewed by %+v", binding.Subjects)
			}
		})
	}
}

// TestManifestsMemory wants controller and agent to have a limit of memory, and FRR none.
func TestManifestsMemory(t *testing.T) {
	m := readManifests(t, "deploy/herald.yaml")
	containers := slices.Concat(
		object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent").Spec.Template.Spec.Containers,
		object[appsv1.Deployment](t, m, "Deployment/herald-controller").Spec.Template.Spec.Containers)
	for _, c := range containers {
		_, limited := c.Resources.Limits[corev1.ResourceMemory]
		if want := c.Name != "frr"; limited != want {
			t.Errorf("%s has a limit of memory: %v, want %v", c.Name, limited, want)
		}
	}
}
