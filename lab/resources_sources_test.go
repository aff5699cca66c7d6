// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
)

// The source that is in force stays so when the other one appears, empties or is
// edited, and when controllers and agents are started again: no address changes and
// no request is lost. To delete it is to switch.
func TestResourcesSources(t *testing.T) {
	r := newResourceTest(t)
	document := bgpPools("- {name: p, protocol: bgp, addresses: [10.248.0.0/24]}")
	leftover := bgpPools("- {name: old, protocol: bgp, addresses: [10.247.0.0/24]}")
	r.configure(document)
	addr := r.expose(lab.ServiceOptions{Name: "web"})[0]
	r.announced(route(addr))
	r.keeps(addr, func() { r.switchSources(document, leftover) })
}

// switchSources has a ConfigMap and then resources in force, beside the others.
func (r *resourceTest) switchSources(document, leftover string) {
	r.t.Helper()
	r.configure("# soon\n")
	r.configMapEvent("ConfigRejected", "address-pools: []")
	r.configure(document)
	r.apply(peerResources + `---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: q}
spec: {addresses: [10.246.0.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad}
`)
	inForce := "the configuration in force is configmap metallb-system/config"
	r.refused(config.KindPool, "q", config.VerdictIgnored, inForce)
	r.configMapEvent("ConfigAmbiguous", "objects in resources of metallb.io in metallb-system are ignored")
	r.restartAll()
	r.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: new}
spec: {addresses: [10.245.0.0/24]}
`)
	r.refused(config.KindPool, "new", config.VerdictIgnored, inForce)

	r.delete(config.KindPool, "new")
	r.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: q}
spec: {addresses: [10.248.0.0/24]}
`)
	r.deleteConfigMap()
	r.accepted(config.KindPool, "q")

	// The same the other way round.
	r.configure(leftover)
	r.configMapEvent("ConfigAmbiguous", "configmap metallb-system/config is ignored while resources of metallb.io in metallb-system are in force")
	r.restartAll()
	r.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: new}
spec: {addresses: [10.245.0.0/24]}
`)
	r.accepted(config.KindPool, "new")
	r.accepted(config.KindPool, "q")
	r.deleteConfigMap()
}

// restartAll starts every controller and every agent again.
func (r *resourceTest) restartAll() {
	r.t.Helper()
	for _, c := range r.Controllers {
		c.Stop()
	}
	for _, d := range append(r.Agents, r.Controllers...) {
		if err := d.Restart(); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, d := range append(r.Agents, r.Controllers...) {
		r.eventually(d.Name+" has a configuration", func(ctx context.Context) error {
			status, err := d.Get(ctx, "/status")
			if err == nil && !strings.Contains(status, `"loaded": true`) {
				err = fmt.Errorf("the status is %.200s", status)
			}
			return err
		})
	}
}

// configMapEvent waits for an event on the ConfigMap.
func (r *resourceTest) configMapEvent(reason, message string) {
	r.t.Helper()
	r.eventually("an event "+reason+" on the ConfigMap", func(ctx context.Context) error {
		events, err := r.Cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=ConfigMap,reason=" + reason,
		})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, message) {
				return nil
			}
		}
		return fmt.Errorf("none of %d says %q", len(events.Items), message)
	})
}
