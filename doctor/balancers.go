// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// defaultKubeVIPClass is the class that kube-vip handles unless it is told another one.
const defaultKubeVIPClass = "kube-vip.io/kube-vip-class"

// balancers finds load balancers that handle the Services that Herald handles.
func (e *examination) balancers() {
	for _, kind := range []string{"metallb", "frr-k8s", "kube-vip", "servicelb", "cilium"} {
		var all []Workload
		for _, w := range e.Workloads {
			if balancerOf(w) == kind {
				all = append(all, w)
			}
		}
		if len(all) > 0 {
			e.beside(kind, all)
		}
	}
}

// balancerOf returns which load balancer a workload is; empty: none that is known.
func balancerOf(w Workload) string {
	switch {
	case w.is("metallb"):
		return "metallb"
	case w.is("frr-k8s"):
		return "frr-k8s"
	case w.Labels["k8s-app"] == "cilium":
		return "cilium"
	}
	if _, _, ok := servedBy(w); ok {
		return "servicelb"
	}
	for _, c := range w.Containers {
		name, _, _ := strings.Cut(path.Base(c.Image), ":")
		if name, _, _ = strings.Cut(name, "@"); name == "kube-vip" || name == "kube-vip-iptables" {
			return "kube-vip"
		}
	}
	return ""
}

// beside finds whether a load balancer is in Herald's way.
func (e *examination) beside(kind string, all []Workload) {
	class := "loadBalancerClass " + e.Topology.Class
	if e.Topology.Class == "" {
		class = "no loadBalancerClass"
	}
	both := "handles Services with " + class + ", as Herald does: both give them addresses and announce them"
	p := topology.Problem{Severity: topology.Error, Next: kubectl(all[0].Namespace, "get daemonsets --show-labels")}
	switch kind {
	case "metallb":
		all = slices.DeleteFunc(all, func(w Workload) bool { given, _ := w.flag("lb-class"); return given != e.Topology.Class })
		p.Cause = "MetalLB " + both
		p.Cure = "delete it as docs/migrate-from-metallb.md says, or give one of the two a class of its own with --lb-class"
	case "frr-k8s":
		p.Severity = topology.Warning
		p.Cause = "frr-k8s runs BGP on the nodes, too: a router accepts one session from an address"
		p.Cure = "delete it, or let it peer with other routers than Herald"
	case "kube-vip":
		all = slices.DeleteFunc(all, func(w Workload) bool { return !e.kubeVIP(w) })
		p.Cause = "kube-vip " + both
		p.Cure = "set svc_enable to false in its environment, or lb_class_only to true"
	case "servicelb":
		e.serviceLB(all, p)
		return
	case "cilium":
		p.Severity = topology.Warning
		p.Cause, p.Next = e.cilium(), kubectl(all[0].Namespace, "get configmap cilium-config -o yaml")
		p.Cure = "switch that off, or have no policy of Cilium select Services that Herald handles"
		if p.Cause == "" {
			return
		}
	}
	if len(all) == 0 {
		return
	}
	var objects []string
	for _, w := range all {
		objects = append(objects, w.object())
	}
	e.found(p, objects...)
}

// kubeVIP reports whether a kube-vip handles the Services that Herald handles.
func (e *examination) kubeVIP(w Workload) bool {
	set := func(variable, flag string) string {
		if value, given := w.flag(flag); given {
			return value
		}
		return w.env(variable)
	}
	if set("svc_enable", "services") != "true" {
		return false
	}
	if e.Topology.Class == "" {
		return set("lb_class_only", "lbClassOnly") != "true"
	}
	return cmp.Or(set("lb_class_name", "lbClassName"), defaultKubeVIPClass) == e.Topology.Class
}

// cilium says with what Cilium announces Services that Herald handles; empty: with nothing.
func (e *examination) cilium() string {
	var with []string
	for _, of := range []struct{ option, class string }{
		{"enable-l2-announcements", "io.cilium/l2-announcer"}, {"enable-bgp-control-plane", "io.cilium/bgp-control-plane"},
	} {
		if e.Cilium[of.option] == "true" && (e.Topology.Class == "" || e.Topology.Class == of.class) {
			with = append(with, of.option)
		}
	}
	if len(with) == 0 {
		e.skip(e.lacks(KindCilium))
		return ""
	}
	return "Cilium can announce the addresses of Services, too: " + strings.Join(with, ", ") + " is true"
}

// servedBy returns the Service that a DaemonSet of k3s's ServiceLB serves.
func servedBy(w Workload) (namespace, name string, ok bool) {
	for label, value := range w.Labels {
		prefix, found := strings.CutSuffix(label, ".cattle.io/svcname")
		if found && strings.HasPrefix(prefix, "svccontroller.") {
			return w.Labels[prefix+".cattle.io/svcnamespace"], value, true
		}
	}
	return "", "", false
}

// serviceLB finds DaemonSets of k3s's ServiceLB for Services that Herald handles.
func (e *examination) serviceLB(all []Workload, p topology.Problem) {
	var objects []string
	for _, w := range all {
		namespace, name, _ := servedBy(w)
		for _, svc := range e.Topology.Services {
			key := cluster.ParseKey(svc.Name)
			if svc.State != topology.StateOther && key.Name == name && (namespace == "" || key.Namespace == namespace) {
				objects = append(objects, "Service/"+svc.Name)
			}
		}
	}
	if len(objects) == 0 {
		return
	}
	slices.Sort(objects)
	p.Cause = fmt.Sprintf("k3s's ServiceLB serves them, too: it writes addresses of nodes into their status (%s)", all[0].object())
	p.Cure = "start k3s with --disable=servicelb on all servers"
	e.found(p, slices.Compact(objects)...)
}
