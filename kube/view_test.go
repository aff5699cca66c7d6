// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/topology"
)

// The leading controller knows whatever agents write, and says that it asks none. One on
// standby knows Services and resources, and which kinds it does not read.
func TestView(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, l2Plural, bgpPlural, "nodes", "pods", "endpointslices", "services", "namespaces", "configurationstates",
		"ipaddresspools", "bfdprofiles", "communities", "bgppeers", "bgpadvertisements", "l2advertisements", "secrets")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a.set("nodes", "n1", "", 0)
	a.set("nodes", "n2", "", 0)
	a.pod("n1", true)
	a.pod("n2", false)
	a.set("services", "web", `{"type":"LoadBalancer","clusterIPs":["10.96.0.1"],"ports":[{"port":80}]}`, 0, `"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}`)
	a.set("ipaddresspools", "web", `{"addresses":["192.0.2.0/28"]}`, 1)
	a.set("ipaddresspools", "twice", `{"addresses":["192.0.2.0/28"]}`, 2, `"status":{"conditions":[{"type":"Accepted","status":"False","reason":"Conflict","message":"it overlaps","observedGeneration":2}]}`)
	a.set(bgpPlural, "bgp-1", "", 0, `"status":{"node":"n1","serviceName":"web","serviceNamespace":"ns","peers":["tor"]}`)
	a.set("configurationstates", "speaker-n1", "", 0, `"status":{"result":"Valid","sessions":[{"peer":"tor","state":"Up"}]}`)

	watcher := kube.NewWatcher(kube.WatcherOptions{Client: c, Wake: func() {}, Namespaces: true})
	resources := kube.NewResources(kube.ResourcesOptions{Client: c, Namespace: "ns", Wake: func() {}, Logger: log})
	agents := kube.NewAgentStates(kube.AgentStatesOptions{Client: c, Namespace: "ns", Wake: func() {}})
	announced := kube.NewAnnouncements(kube.AnnouncementsOptions{Client: c, Namespace: "ns", Wake: func() {}, Logger: log})
	var leader atomic.Pointer[string]
	leader.Store(new(""))
	view := kube.View{
		Namespace: "ns", Pod: "c1", Leader: func() string { return *leader.Load() }, Watcher: watcher, Resources: resources, Agents: agents, Announced: announced,
	}
	if _, read := view.Input(time.Now()); read {
		t.Error("something is known before it was read")
	}
	run(t, watcher.Run)
	run(t, resources.Run)
	shows := func(what string, want string, ok func(topology.Input) string) {
		t.Helper()
		var got string
		eventually(t, what, func() bool {
			in, read := view.Input(time.Now())
			if read {
				got = ok(in)
			}
			return got == want
		})
	}
	unasked := func(in topology.Input) string {
		var out []string
		for _, u := range in.Unasked {
			out = append(out, u.What)
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	shows("before there is a leader", "ConfigurationStates, EndpointSlices, Lease of the controllers, Nodes, ServiceL2Statuses and ServiceBGPStatuses, pods of Herald, reports of the agents", unasked)
	leader.Store(new("c2"))
	shows("the standby", "c1 false, c2 true; ns/web [192.0.2.1]; it overlaps", func(in topology.Input) string {
		var why string
		for _, refused := range in.Refused {
			why = refused.Message
		}
		return fmt.Sprintf("%s %v, %s %v; %s %v; %s", in.Controllers[0].Pod, in.Controllers[0].Leading, in.Controllers[1].Pod, in.Controllers[1].Leading,
			in.Cluster.Services[0], in.Cluster.Services[0].Ingress, why)
	})
	leader.Store(new("c1"))
	run(t, agents.Run)
	run(t, announced.Run)
	shows("the leader", "reports of the agents", unasked)
	shows("what the leader knows", "c1; nodes 2; n1 bgp to [tor]; session tor true; n1 , n2 the pod is not ready", func(in topology.Input) string {
		if len(in.Announced) != 1 || len(in.States) != 1 || len(in.Agents) != 2 {
			return fmt.Sprintf("%+v", in)
		}
		return fmt.Sprintf("%s; nodes %d; %s %s to %v; session %s %v; %s %s, %s %s", in.Controllers[0].Pod, len(in.Cluster.Nodes), in.Announced[0].Node, in.Announced[0].Protocol,
			in.Announced[0].Peers, in.States[0].Sessions[0].Peer, in.States[0].Sessions[0].Up, in.Agents[0].Node, in.Agents[0].Absence, in.Agents[1].Node, in.Agents[1].Absence)
	})
}
