// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
	"github.com/heraldlb/herald/lab/e2e"
	"github.com/heraldlb/herald/topology"
)

// fetch asks a controller's page for a path.
func fetch(ctx context.Context, d *lab.Daemon, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Page+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s: %s", path, d.Name, resp.Status, body)
	}
	return string(body), err
}

// shown waits until a controller's page shows a Topology as a function wants it.
func shown(r *e2e.Resources, d *lab.Daemon, what string, ok func(topology.Topology) error) {
	r.T.Helper()
	r.Eventually(what, func(ctx context.Context) error {
		text, err := fetch(ctx, d, "/api/v1/topology")
		if err != nil {
			return err
		}
		var t topology.Topology
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return err
		}
		return ok(t)
	})
}

// The page of the leading controller shows a Service, who announces it and to whom, as
// heraldctl does, and follows what happens to it. That of a standby shows it, too, and says
// what it does not know.
func TestResourcesPage(t *testing.T) {
	r := e2e.NewResources(t)
	r.DeleteConfigMap()
	r.AgentPods()
	r.Apply(e2e.DocumentOf(e2e.PeerResources, "ebgp") + `
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: page}, spec: {addresses: [198.51.100.122/32], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: page}, spec: {ipAddressPools: [page]}}`)
	r.Expose(controlplane.ServiceOptions{Name: "web", Annotations: map[string]string{config.AnnotationAddressPool: "page"}})
	web := r.Namespace + "/web"
	leader := r.Leader()

	shown(r, leader, "page of the leader", func(is topology.Topology) error {
		s, _ := is.Service(web)
		p, _ := is.Peer("ebgp")
		switch {
		case s.State != topology.StateAnnounced || len(s.Announcers) != len(r.Nodes) || !slices.Equal(s.Announcers[0].Peers, []string{"ebgp"}):
			return fmt.Errorf("the Service is shown as %+v", s)
		case p.Up != len(r.Nodes) || len(is.Nodes) != len(r.Nodes):
			return fmt.Errorf("the peer is shown as %+v, nodes as %+v", p, is.Nodes)
		case len(is.Unasked) != 1:
			return fmt.Errorf("not asked: %+v", is.Unasked)
		}
		return nil
	})
	chain, err := fetch(t.Context(), leader, "/api/v1/why?subject="+web)
	if err != nil || !strings.Contains(chain, "n1, n2, n3 to ebgp") || !strings.Contains(chain, `"health":"fine"`) {
		t.Errorf("why: %v %s", err, chain)
	}
	if html, err := fetch(t.Context(), leader, "/"); err != nil || !strings.Contains(html, `src="app.js"`) {
		t.Errorf("the page itself: %v %s", err, html)
	}
	for _, d := range r.Controllers {
		if d == leader {
			continue
		}
		shown(r, d, "page of a standby", func(is topology.Topology) error {
			if s, ok := is.Service(web); !ok || s.State != topology.StateAnnounced {
				return fmt.Errorf("the Service is shown as %+v", s)
			}
			if !is.Lacks(topology.KindStatuses) || !slices.ContainsFunc(is.Controllers, func(c topology.Controller) bool { return c.Leading && c.Pod == leader.Name }) {
				return fmt.Errorf("controllers %+v, not asked %+v", is.Controllers, is.Unasked)
			}
			return nil
		})
	}

	changes, err := http.NewRequestWithContext(e2e.Deadline(t), http.MethodGet, leader.Page+"/api/v1/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(changes)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != "event: topology" { // changes are what follows
	}
	if err := r.Cluster.Client().CoreV1().Services(r.Namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") && strings.Contains(lines.Text(), `"subject":"`+web+`","what":"Service"`) {
			return
		}
	}
	t.Error("the stream ends without the Service's deletion")
}
