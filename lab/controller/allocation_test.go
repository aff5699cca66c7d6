// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/lab/process"
)

// An allocation is a control plane with a controller, and nothing that
// announces what it gives out.
type allocation struct {
	t       *testing.T
	cluster *controlplane.Cluster
	bin     string
	process *process.Process
}

const allocationNamespace = "shop"

func newAllocation(t *testing.T) *allocation {
	t.Helper()
	lab.Need(t, "ip")
	a := &allocation{t: t, bin: e2e.Build(t)}
	var err error
	a.cluster, err = controlplane.Start(t.Context(), controlplane.Options{
		Dir: t.TempDir(), ListenAddr: netip.MustParseAddr("127.0.0.1"), DualStack: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.cluster.Stop)
	for _, namespace := range []string{lab.HeraldNamespace, allocationNamespace} {
		if err := a.cluster.CreateNamespace(t.Context(), namespace); err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := os.ReadFile("../../deploy/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cluster.Apply(t.Context(), string(manifest)); err != nil {
		t.Fatal(err)
	}
	return a
}

// control starts a controller in place of the one before it.
func (a *allocation) control(args ...string) {
	a.t.Helper()
	if a.process != nil {
		a.process.Stop()
	}
	var err error
	a.process, err = process.Start(context.WithoutCancel(a.t.Context()), process.Options{
		Name: "controller",
		Path: filepath.Join(a.bin, "herald-controller"),
		Args: append([]string{
			"--kubeconfig=" + a.cluster.Kubeconfig(controlplane.Controller), "--namespace=" + lab.HeraldNamespace, "--port=7489",
		}, args...),
		LogFile: filepath.Join(a.t.TempDir(), "controller.log"),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(a.process.Stop)
}

func (a *allocation) configure(pools string) {
	a.t.Helper()
	err := a.cluster.ApplyConfigMap(a.t.Context(), lab.HeraldNamespace, lab.HeraldConfigMap, map[string]string{lab.HeraldConfigKey: pools})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *allocation) create(name, class string) {
	a.t.Helper()
	a.createService(controlplane.ServiceOptions{Name: name, Class: class})
}

func (a *allocation) createService(opts controlplane.ServiceOptions) {
	a.t.Helper()
	opts.Namespace = allocationNamespace
	if _, err := a.cluster.CreateService(a.t.Context(), opts); err != nil {
		a.t.Fatal(err)
	}
}

func (a *allocation) delete(names ...string) {
	a.t.Helper()
	for _, name := range names {
		if err := a.cluster.DeleteService(a.t.Context(), allocationNamespace, name); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *allocation) patch(name, patch string, subresources ...string) {
	a.t.Helper()
	_, err := a.cluster.Client().CoreV1().Services(allocationNamespace).Patch(
		a.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	if err != nil {
		a.t.Fatal(err)
	}
}

// has waits until a Service shows an address, empty meaning none, and a text in
// the message of its condition.
func (a *allocation) has(name, addr, text string) *corev1.Service {
	a.t.Helper()
	var last *corev1.Service
	svc, err := a.cluster.WaitService(a.t.Context(), allocationNamespace, name, func(svc *corev1.Service) bool {
		last = svc
		return shown(svc) == addr && strings.Contains(message(svc), text)
	})
	if err != nil {
		a.t.Fatalf("%s is to have %q and a message with %q, has %q and %q: %v", name, addr, text, shown(last), message(last), err)
	}
	return svc
}

func shown(svc *corev1.Service) string {
	var addrs []string
	for _, in := range svc.Status.LoadBalancer.Ingress {
		addrs = append(addrs, in.IP)
	}
	return strings.Join(addrs, ",")
}

func message(svc *corev1.Service) string {
	for _, c := range svc.Status.Conditions {
		if c.Type == "heraldlb.io/AddressAssigned" {
			return c.Message
		}
	}
	return ""
}

// heraldctl runs a command and returns its exit code and what it printed.
func (a *allocation) heraldctl(args ...string) (int, string) {
	a.t.Helper()
	var out bytes.Buffer
	p, err := process.Start(a.t.Context(), process.Options{Path: filepath.Join(a.bin, "heraldctl"), Args: args, Log: &out})
	if err != nil {
		a.t.Fatal(err)
	}
	code := 0
	if err := p.Wait(); err != nil {
		code = 1
	}
	return code, out.String()
}

// TestAllocation has an API server take part in what happens to addresses when
// Services change their type and class, or are deleted and created again.
func TestAllocation(t *testing.T) {
	a := newAllocation(t)
	const class = "example.com/herald"
	a.configure(`address-pools: [{name: web, protocol: layer2, addresses: [192.0.2.0-192.0.2.2]}]`)

	// Somebody else's, with an address of the pool, which Herald gives to nobody.
	a.create("other-class", "example.com/other")
	a.create("no-class", "")
	foreign := `{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"web"}},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.0"}]}}}`
	a.patch("other-class", foreign, "status")
	a.patch("no-class", foreign, "status")

	a.control("--lb-class="+class, "--address-grace=10m")
	a.create("first", class)
	a.has("first", "192.0.2.1", "")
	a.create("second", class)
	a.has("second", "192.0.2.2", "")
	a.create("third", class)
	a.has("third", "", "pool web: 3 of 3 in use, 1 of them by other load balancers")
	a.patch("third", `{"metadata":{"annotations":{"metallb.io/loadBalancerIPs":"192.0.2.0","metallb.io/adress-pool":"web"}}}`)
	a.has("third", "", "192.0.2.0 is in use by shop/no-class, a Service without a load balancer class; metallb.io/adress-pool is no annotation of MetalLB or Herald; did you mean metallb.io/address-pool?")
	a.patch("third", `{"metadata":{"annotations":{"metallb.io/loadBalancerIPs":null,"metallb.io/adress-pool":null}}}`)

	// It takes an address that a Service of Herald has, which keeps it.
	a.patch("no-class", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`, "status")
	a.has("first", "192.0.2.1", "192.0.2.1 is in the status of shop/no-class, too")
	a.patch("no-class", foreign, "status")

	// The API server drops the class with the type.
	a.patch("first", `{"spec":{"type":"ClusterIP"}}`)
	a.has("third", "192.0.2.1", "")
	a.has("first", "", "")
	var last *corev1.Service
	if _, err := a.cluster.WaitService(t.Context(), allocationNamespace, "first", func(svc *corev1.Service) bool {
		last = svc
		return svc.Spec.LoadBalancerClass == nil && svc.Annotations["metallb.io/ip-allocated-from-pool"] == ""
	}); err != nil {
		t.Errorf("first has the class %v and the annotations %v: %v", last.Spec.LoadBalancerClass, last.Annotations, err)
	}

	// Deleted and created again, with others waiting.
	a.patch("first", `{"spec":{"type":"LoadBalancer","loadBalancerClass":"`+class+`"}}`)
	a.has("first", "", "3 of 3 in use")
	a.delete("second")
	a.has("first", "", "2 of 3 in use, 1 of them by other load balancers, 1 held for shop/second until ")
	a.create("second", class)
	a.has("second", "192.0.2.2", "")

	// What another configuration would do, and then does.
	file := filepath.Join(t.TempDir(), "new.yaml")
	const smaller = `address-pools: [{name: web, protocol: layer2, addresses: [192.0.2.1/32]}]`
	if err := os.WriteFile(file, []byte(smaller), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out := a.heraldctl("diff", "-f", file, "--kubeconfig", a.cluster.Kubeconfig(controlplane.Admin), "--lb-class", class)
	if code != 1 || !strings.Contains(out, "lose    shop/second  192.0.2.2") || !strings.Contains(out, "4 keep, 1 lose, 0 move, 0 gain") {
		t.Errorf("diff ended with %d and said\n%s", code, out)
	}
	a.configure(smaller)
	a.has("second", "", "1 of 1 in use")
	a.has("third", "192.0.2.1", "")
	if code, out := a.heraldctl("diff", "-f", file, "--kubeconfig", a.cluster.Kubeconfig(controlplane.Admin), "--lb-class", class); code != 0 {
		t.Errorf("diff of what is in force ended with %d and said\n%s", code, out)
	}

	// The type changes while there is no controller.
	a.process.Stop()
	a.patch("third", `{"spec":{"type":"ClusterIP"}}`)
	a.control("--lb-class=" + class)
	a.has("third", "", "")
	a.has("first", "192.0.2.1", "")

	// All pools go. Nobody else's status was touched in all this.
	a.configure(`address-pools: []`)
	a.has("first", "", "there are no pools")
	for _, name := range []string{"other-class", "no-class"} {
		if svc := a.has(name, "192.0.2.0", ""); message(svc) != "" || svc.Annotations["metallb.io/ip-allocated-from-pool"] != "web" {
			t.Errorf("%s has the message %q and the annotations %v", name, message(svc), svc.Annotations)
		}
	}
}
