// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/excerpt"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
)

// A tenant whose Services have huge annotations and very many ports, and who looks for
// the sharing key of another, costs that one nothing: its requests are answered, a new
// Service of it gets its address and route, and no message is long or has the key.
func TestTenants(t *testing.T) {
	const key = "canary-3f9a"
	e := e2e.New(t)
	e.Configure(e2e.AllPeers + `
address-pools:
- {name: p, protocol: bgp, addresses: [203.0.113.192/27]}
`)
	web := e.Expose(controlplane.ServiceOptions{Name: "web", Annotations: map[string]string{config.AnnotationSharing: key}})[0]
	stop := e.Load(web)

	evil := e.Namespace + "-evil"
	if err := e.Cluster.CreateNamespace(t.Context(), evil); err != nil {
		t.Fatal(err)
	}
	hostile := map[string]controlplane.ServiceOptions{}
	for i := range 10 {
		hostile[fmt.Sprintf("addresses-%d", i)] = controlplane.ServiceOptions{Annotations: map[string]string{config.AnnotationAddrs: strings.Repeat("10.0.0.1,", 27_000)}}
	}
	hostile["controls"] = controlplane.ServiceOptions{Annotations: map[string]string{config.AnnotationAddressPool: strings.Repeat("\x01", 250_000)}}
	hostile["escapes"] = controlplane.ServiceOptions{Annotations: map[string]string{config.AnnotationAddressPool: "\x1b[2J\nred"}}
	hostile["guess"] = controlplane.ServiceOptions{Address: web.String(), Annotations: map[string]string{config.AnnotationSharing: "guess"}}
	var ports []corev1.ServicePort
	for n := range 5000 {
		ports = append(ports, corev1.ServicePort{Name: fmt.Sprintf("p%d", n), Port: int32(5*n + 1)})
	}
	hostile["ports"] = controlplane.ServiceOptions{Ports: ports, Annotations: map[string]string{config.AnnotationSharing: "k"}}
	t.Cleanup(func() {
		for name := range hostile {
			if err := e.Cluster.DeleteService(context.Background(), evil, name); err != nil {
				t.Error(err)
			}
		}
	})
	for name, opts := range hostile {
		opts.Namespace, opts.Name, opts.NoNodePorts = evil, name, true
		if _, err := e.Cluster.CreateService(t.Context(), opts); err != nil {
			t.Fatalf("the API server refuses Service %s: %.300v", name, err)
		}
	}
	other := e.Expose(controlplane.ServiceOptions{Name: "other"})[0]
	e.Announced(e2e.Route(other))
	e.Reached(other)

	services := e.Cluster.Client().CoreV1().Services(evil)
	for name := range hostile {
		e.Eventually("the condition of "+name, func(ctx context.Context) error {
			svc, err := services.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range svc.Status.Conditions {
				if c.Type == assign.ConditionAddressAssigned {
					harmless(t, name, c.Message, key)
					return nil
				}
			}
			return fmt.Errorf("there is no condition")
		})
	}
	e.Eventually("an event about guess", func(ctx context.Context) error {
		events, err := e.Cluster.Client().CoreV1().Events(evil).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		told := false
		for _, event := range events.Items {
			harmless(t, event.InvolvedObject.Name, event.Message, key)
			told = told || event.InvolvedObject.Name == "guess"
		}
		if !told {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	stop()
}

// harmless wants a message about a Service to be short, without control characters and
// without a key.
func harmless(t *testing.T, service, message, key string) {
	t.Helper()
	if len(message) > excerpt.MaxMessage || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' }) || strings.Contains(message, key) {
		t.Errorf("message about %s of %d bytes: %.400q", service, len(message), message)
	}
}
