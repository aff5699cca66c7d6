// SPDX-License-Identifier: Apache-2.0

package herald_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/doctor"
)

// TestManifestsRoll wants what is installed to stay available while it is replaced
// or a node is drained.
func TestManifestsRoll(t *testing.T) {
	for _, file := range []string{"deploy/herald.yaml", "deploy/herald-l2.yaml", "deploy/testdata/metallb-defaults.out.yaml", "deploy/testdata/metallb-values.out.yaml", "deploy/testdata/metallb-inline.out.yaml"} {
		t.Run(file, func(t *testing.T) {
			m := readManifests(t, file)
			d := object[appsv1.Deployment](t, m, "Deployment/herald-controller")
			if d.Spec.Replicas == nil || *d.Spec.Replicas != 2 {
				t.Errorf("the controller has %v replicas, want 2", d.Spec.Replicas)
			}
			if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
				t.Errorf("the controller is replaced by %q", d.Spec.Strategy.Type)
			}
			b := object[policyv1.PodDisruptionBudget](t, m, "PodDisruptionBudget/herald-controller")
			if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 {
				t.Errorf("of the controllers %v may be disrupted, want 1", b.Spec.MaxUnavailable)
			}
			selects(t, "the PodDisruptionBudget", b.Spec.Selector, d.Spec.Template.Labels)
			selects(t, "the Deployment", d.Spec.Selector, d.Spec.Template.Labels)

			s := object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent")
			selects(t, "the DaemonSet", s.Spec.Selector, s.Spec.Template.Labels)
			roll := s.Spec.UpdateStrategy.RollingUpdate
			if roll == nil || roll.MaxUnavailable == nil || roll.MaxUnavailable.IntValue() != 1 {
				t.Errorf("agents are replaced by %+v, want one at a time", s.Spec.UpdateStrategy)
			}
			if s.Spec.MinReadySeconds < 10 {
				t.Errorf("the next agent is replaced %d s after the last is ready, before its sessions are up", s.Spec.MinReadySeconds)
			}
			if g := s.Spec.Template.Spec.TerminationGracePeriodSeconds; g == nil || *g < 30 {
				t.Errorf("agents have %v s to take leave of the routers, want 30", g)
			}

			checked := 0
			for _, c := range append(slices.Clone(s.Spec.Template.Spec.Containers), d.Spec.Template.Spec.Containers...) {
				alive := "/healthz"
				if c.Name == "frr" {
					alive = "/livez"
					checkProbe(t, c, "startup", c.StartupProbe, alive)
				}
				checkProbe(t, c, "liveness", c.LivenessProbe, alive)
				checkProbe(t, c, "readiness", c.ReadinessProbe, "/readyz")
				if !strings.HasPrefix(c.Image, "herald/"+c.Name+":v") {
					t.Errorf("container %s runs %s", c.Name, c.Image)
				}
				checked++
			}
			want := 3 // agent, frr and controller
			if strings.HasSuffix(file, "-l2.yaml") {
				want = 2
			}
			if checked != want {
				t.Errorf("%d containers, want %d", checked, want)
			}
		})
	}
}

// TestManifestsConfine wants the controllers confined, and the namespace to admit
// agents, which are not.
func TestManifestsConfine(t *testing.T) {
	for _, file := range []string{"deploy/herald.yaml", "deploy/herald-l2.yaml"} {
		m := readManifests(t, file)
		d := object[appsv1.Deployment](t, m, "Deployment/herald-controller")
		s := object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent")
		n := object[networkingv1.NetworkPolicy](t, m, "NetworkPolicy/herald-controller")
		selects(t, "the NetworkPolicy", &n.Spec.PodSelector, d.Spec.Template.Labels)
		want := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
		if !slices.Equal(n.Spec.PolicyTypes, want) {
			t.Errorf("%s: the NetworkPolicy is for %q, want %q", file, n.Spec.PolicyTypes, want)
		}
		if len(n.Spec.Ingress) != 1 || len(n.Spec.Ingress[0].Ports) != 1 || n.Spec.Ingress[0].Ports[0].Port.IntValue() != 7472 {
			t.Errorf("%s: the NetworkPolicy lets in %+v, want port 7472 alone", file, n.Spec.Ingress)
		}
		if len(n.Spec.Egress) != 1 || len(n.Spec.Egress[0].Ports) != 1 || n.Spec.Egress[0].Ports[0].Port.IntValue() != 6443 {
			t.Errorf("%s: the NetworkPolicy lets out %+v, want port 6443 alone", file, n.Spec.Egress)
		}
		if c := d.Spec.Template.Spec.SecurityContext; c.RunAsNonRoot == nil || !*c.RunAsNonRoot {
			t.Errorf("%s: the controller may be root: %+v", file, c)
		}
		if !s.Spec.Template.Spec.HostNetwork {
			t.Errorf("%s: agents are not in their node's network", file)
		}
		ns := object[corev1.Namespace](t, m, "Namespace/metallb-system")
		for _, mode := range []string{"enforce", "audit", "warn"} {
			if l := ns.Labels["pod-security.kubernetes.io/"+mode]; l != "privileged" {
				t.Errorf("%s: the namespace's PodSecurity label %s is %q, want privileged", file, mode, l)
			}
		}
	}
}

// TestManifestsDeny wants the component default-deny to deny all traffic of the
// namespace's pods, and to leave none of Herald's pods without a policy of its own.
func TestManifestsDeny(t *testing.T) {
	deny := object[networkingv1.NetworkPolicy](t, readManifests(t, "deploy/default-deny/networkpolicy.yaml"), "NetworkPolicy/default-deny")
	s := deny.Spec
	if deny.Namespace != "metallb-system" || len(s.PodSelector.MatchLabels)+len(s.PodSelector.MatchExpressions)+len(s.Ingress)+len(s.Egress) > 0 || len(s.PolicyTypes) != 2 {
		t.Errorf("it is not for all traffic of all pods: %+v", deny)
	}
	m := readManifests(t, "deploy/herald.yaml")
	if !object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent").Spec.Template.Spec.HostNetwork {
		t.Error("agents are subject to policies, and have none")
	}
	own := object[networkingv1.NetworkPolicy](t, m, "NetworkPolicy/herald-controller")
	selects(t, "the NetworkPolicy", &own.Spec.PodSelector, object[appsv1.Deployment](t, m, "Deployment/herald-controller").Spec.Template.Labels)
}

// TestManifestsSecrets wants the rights to read Secrets where docs/install.md has
// kustomize limit them to names, and no other right to read any.
func TestManifestsSecrets(t *testing.T) {
	m := readManifests(t, "deploy/herald.yaml")
	for _, name := range []string{"Role/herald-agent", "Role/herald-controller"} {
		for i, rule := range object[rbacv1.Role](t, m, name).Rules {
			if !slices.Contains(rule.Resources, "secrets") || slices.Equal(rule.Verbs, []string{"create"}) {
				continue
			}
			if i != 1 || len(rule.Resources) != 1 || !slices.Equal(rule.Verbs, []string{"list", "watch"}) {
				t.Errorf("rule %d of %s is %+v", i, name, rule)
			}
		}
	}
	for _, name := range []string{"ClusterRole/herald-agent", "ClusterRole/herald-controller"} {
		for _, rule := range object[rbacv1.ClusterRole](t, m, name).Rules {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s has %+v", name, rule)
			}
		}
	}
}

// TestManifestsViewer wants herald-viewer to read, and no Secret: what it creates are questions
// about rights, and a token that may read metrics and status. What it reads outside of Herald's namespace
// holds no passwords.
func TestManifestsViewer(t *testing.T) {
	files, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var definitions []string // of Herald's resources
	for _, name := range files {
		definitions = append(definitions, strings.TrimSuffix(name, ".yaml")+".metallb.io")
	}
	for _, file := range []string{"deploy/herald.yaml", "deploy/herald-l2.yaml", "deploy/base/herald.yaml"} {
		m := readManifests(t, file)
		everywhere, inHerald := object[rbacv1.ClusterRole](t, m, "ClusterRole/herald-viewer"), object[rbacv1.Role](t, m, "Role/herald-viewer")
		if inHerald.Namespace != "metallb-system" {
			t.Errorf("%s: the Role is in %q", file, inHerald.Namespace)
		}
		for _, rule := range slices.Concat(everywhere.Rules, inHerald.Rules) {
			switch what := strings.Join(rule.Resources, ","); {
			case what == "serviceaccounts/token" && slices.Equal(rule.ResourceNames, []string{"herald-metrics-reader"}) && slices.Equal(rule.Verbs, []string{"create"}):
			case what == "configmaps" && slices.Equal(rule.ResourceNames, []string{"config"}) && slices.Equal(rule.Verbs, []string{"get"}):
			case what == "configmaps" && slices.Equal(rule.ResourceNames, []string{"kube-proxy", "cilium-config"}) && slices.Equal(rule.Verbs, []string{"get"}):
			case what == "subjectaccessreviews" && slices.Equal(rule.Verbs, []string{"create"}): // a question; nothing is stored
			case what == "customresourcedefinitions" && !slices.Equal(rule.ResourceNames, definitions),
				what == "validatingwebhookconfigurations" && !slices.Equal(rule.ResourceNames, []string{doctor.WebhookName}):
				t.Errorf("%s: herald-viewer may get %s %q", file, what, rule.ResourceNames)
			case strings.Contains(what, "secrets") || strings.Contains(what, "configmaps") || strings.Contains(what, "*") || strings.Contains(what, "serviceaccounts"),
				len(rule.Verbs) != 1 || rule.Verbs[0] != "list" && rule.Verbs[0] != "get":
				t.Errorf("%s: herald-viewer has %+v", file, rule)
			}
		}
		for _, rule := range everywhere.Rules {
			if slices.ContainsFunc(rule.Resources, func(r string) bool { return strings.HasPrefix(r, "pods") }) {
				t.Errorf("%s: herald-viewer may ask pods of every namespace: %+v", file, rule)
			}
		}
	}
}

// TestManifestsToken wants the agent alone of its pod to have a token, and every folder
// of the pod to have a size limit.
func TestManifestsToken(t *testing.T) {
	for _, file := range []string{"deploy/herald.yaml", "deploy/herald-l2.yaml", "deploy/testdata/metallb-values.out.yaml"} {
		pod := object[appsv1.DaemonSet](t, readManifests(t, file), "DaemonSet/herald-agent").Spec.Template.Spec
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: every container has a token", file)
		}
		secret := map[string]bool{} // names of volumes with a token
		for _, v := range pod.Volumes {
			if v.Projected != nil {
				for _, from := range v.Projected.Sources {
					secret[v.Name] = secret[v.Name] || from.ServiceAccountToken != nil
				}
			}
			if v.EmptyDir != nil && v.EmptyDir.SizeLimit.IsZero() {
				t.Errorf("%s: the volume %s has no limit", file, v.Name)
			}
		}
		var have []string
		for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
			for _, m := range c.VolumeMounts {
				if secret[m.Name] {
					have = append(have, c.Name+" "+m.MountPath)
				}
			}
		}
		if want := []string{"agent /var/run/secrets/kubernetes.io/serviceaccount"}; !slices.Equal(have, want) {
			t.Errorf("%s: %q have a token, want %q", file, have, want)
		}
	}
}

// TestManifestsExcludedInterfaces wants a list of interfaces to survive YAML,
// whatever characters are in it.
func TestManifestsExcludedInterfaces(t *testing.T) {
	m := readManifests(t, "deploy/testdata/metallb-values.out.yaml")
	c := object[corev1.ConfigMap](t, m, "ConfigMap/metallb-excludel2")
	var list struct {
		Exclude []string `json:"announcedInterfacesToExclude"`
	}
	if err := yaml.UnmarshalStrict([]byte(c.Data["excludel2.yaml"]), &list); err != nil {
		t.Fatal(err)
	}
	if want := []string{"[a-z]0", "^lo$"}; !slices.Equal(list.Exclude, want) {
		t.Errorf("excluded are %q, want %q", list.Exclude, want)
	}
}

// TestManifestsConfigMap wants the configuration of MetalLB's charts up to 0.12 to be
// read: existingConfigMap by its name, configInline as the ConfigMap that it was.
func TestManifestsConfigMap(t *testing.T) {
	for file, want := range map[string]string{
		"deploy/testdata/metallb-0.12.out.yaml":   "--config=metallb",
		"deploy/testdata/metallb-inline.out.yaml": "",
	} {
		m := readManifests(t, file)
		pods := map[string]corev1.PodSpec{
			"controller": object[appsv1.Deployment](t, m, "Deployment/herald-controller").Spec.Template.Spec,
			"agent":      object[appsv1.DaemonSet](t, m, "DaemonSet/herald-agent").Spec.Template.Spec,
		}
		for name, pod := range pods {
			for _, c := range pod.Containers {
				got := ""
				for _, arg := range c.Args {
					if strings.HasPrefix(arg, "--config=") {
						got += arg
					}
				}
				if c.Name == name && got != want || c.Name != name && got != "" {
					t.Errorf("%s: container %s of %s has %q, want %q for %s alone", file, c.Name, name, got, want, name)
				}
			}
		}
	}
	m := readManifests(t, "deploy/testdata/metallb-inline.out.yaml")
	c, err := config.Parse([]byte(object[corev1.ConfigMap](t, m, "ConfigMap/config").Data["config"]))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pools) != 1 || c.Pools[0].Name != "default" || len(c.Peers) != 1 {
		t.Errorf("the ConfigMap of configInline has the pools %v and %d peers, want default and 1", c.Pools, len(c.Peers))
	}
}

// TestValuesSchema wants every value of the chart to be one that its schema knows.
func TestValuesSchema(t *testing.T) {
	var schema struct {
		Properties           map[string]json.RawMessage `json:"properties"`
		AdditionalProperties *bool                      `json:"additionalProperties"`
	}
	text, err := os.ReadFile("deploy/helm/herald/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Error("the schema takes values that it does not know")
	}
	text, err = os.ReadFile("deploy/helm/herald/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	if len(values) == 0 {
		t.Fatal("no values")
	}
	for name := range values {
		if _, ok := schema.Properties[name]; !ok {
			t.Errorf("the schema does not know %s", name)
		}
	}
}

// checkProbe wants a probe that asks for a path on a port of the container's.
func checkProbe(t *testing.T, c corev1.Container, kind string, p *corev1.Probe, path string) {
	t.Helper()
	if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path {
		t.Errorf("container %s: the %s probe is %+v, want one of %s", c.Name, kind, p, path)
		return
	}
	port := p.HTTPGet.Port.StrVal
	if !slices.ContainsFunc(c.Ports, func(has corev1.ContainerPort) bool { return has.Name == port }) {
		t.Errorf("container %s: the %s probe asks port %q, which it does not have", c.Name, kind, port)
	}
}

// selects wants a selector to match the labels.
func selects(t *testing.T, who string, s *metav1.LabelSelector, pod map[string]string) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	if selector.Empty() || !selector.Matches(labels.Set(pod)) {
		t.Errorf("%s selects %q, which %v is not", who, selector, pod)
	}
}

// readManifests reads the objects of a file, by kind and name.
func readManifests(t *testing.T, file string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var head metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[head.Kind+"/"+head.Name] = document
	}
}

// object decodes one of what readManifests read.
func object[T any](t *testing.T, m map[string][]byte, name string) T {
	t.Helper()
	var out T
	text, ok := m[name]
	if !ok {
		t.Fatalf("no %s", name)
	}
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}
