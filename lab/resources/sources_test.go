// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/source"
)

// The source that is in force stays so when the other one appears, empties or is
// edited, and when controllers and agents are started again: no address changes and
// no request is lost. To delete it is to switch.
func TestResourcesSources(t *testing.T) {
	r := e2e.NewResources(t)
	document := e2e.BGPPools("- {name: p, protocol: bgp, addresses: [10.248.0.0/24]}")
	leftover := e2e.BGPPools("- {name: old, protocol: bgp, addresses: [10.247.0.0/24]}")
	r.Configure(document)
	addr := r.Expose(controlplane.ServiceOptions{Name: "web"})[0]
	r.Announced(e2e.Route(addr))
	keeps(r, addr, func() { switchSources(r, document, leftover) })
}

// switchSources has a ConfigMap and then resources in force, beside the others.
func switchSources(r *e2e.Resources, document, leftover string) {
	r.T.Helper()
	r.Configure("# soon\n")
	configMapEvent(r, "ConfigRejected", "address-pools: []")
	r.Configure(document)
	r.Apply(e2e.PeerResources + `---
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
	r.Refused(config.KindPool, "q", config.VerdictIgnored, inForce)
	configMapEvent(r, "ConfigAmbiguous", "objects in resources of metallb.io in metallb-system are ignored")
	restartAll(r)
	r.Apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: new}
spec: {addresses: [10.245.0.0/24]}
`)
	r.Refused(config.KindPool, "new", config.VerdictIgnored, inForce)

	r.Delete(config.KindPool, "new")
	r.Apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: q}
spec: {addresses: [10.248.0.0/24]}
`)
	r.DeleteConfigMap()
	r.Accepted(config.KindPool, "q")
	recorded(r, source.SourceResources)

	// The same the other way round.
	r.Configure(leftover)
	configMapEvent(r, "ConfigAmbiguous", "configmap metallb-system/config is ignored while resources of metallb.io in metallb-system are in force")
	restartAll(r)
	r.Apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: new}
spec: {addresses: [10.245.0.0/24]}
`)
	r.Accepted(config.KindPool, "new")
	r.Accepted(config.KindPool, "q")
	r.DeleteConfigMap()
}

// recorded waits until the leading controller has recorded which source is in force.
func recorded(r *e2e.Resources, want source.Source) {
	r.T.Helper()
	r.Eventually("the record of the source", func(ctx context.Context) error {
		s, err := componentStateOf(r, ctx, "controller")
		if err == nil && s.Source != string(want) {
			err = fmt.Errorf("%q is recorded", s.Source)
		}
		return err
	})
}

// restartAll starts every controller and every agent again.
func restartAll(r *e2e.Resources) {
	r.T.Helper()
	for _, c := range r.Controllers {
		c.Stop()
	}
	for _, d := range append(r.Agents, r.Controllers...) {
		if err := d.Restart(); err != nil {
			r.T.Fatal(err)
		}
	}
	for _, d := range append(r.Agents, r.Controllers...) {
		r.Eventually(d.Name+" has a configuration", func(ctx context.Context) error {
			status, err := d.Get(ctx, "/status")
			if err == nil && !strings.Contains(status, `"loaded": true`) {
				err = fmt.Errorf("the status is %.200s", status)
			}
			return err
		})
	}
}

// configMapEvent waits for an event on the ConfigMap.
func configMapEvent(r *e2e.Resources, reason, message string) {
	r.T.Helper()
	r.Eventually("an event "+reason+" on the ConfigMap", func(ctx context.Context) error {
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
