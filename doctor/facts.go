// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// Kinds that Unasked may name, besides those of package topology.
const (
	KindDaemonSets  = "DaemonSets"
	KindWebhook     = "ValidatingWebhookConfiguration " + WebhookName
	KindDefinitions = "CustomResourceDefinitions"
	KindRights      = "rights of the service accounts"
	KindProxy       = "ConfigMap kube-system/kube-proxy"
	KindCilium      = "ConfigMap cilium-config"

	kindConfiguration = "configuration" // Topology.Config
)

// Facts are what was read. What could not be read is empty, and in Unasked.
type Facts struct {
	Topology topology.Topology
	Input    topology.Input // that the Topology was made of

	Services    []Service
	Workloads   []Workload   // DaemonSets that have pods, and pods of MetalLB in Herald's namespace
	Webhook     *Webhook     // that of MetalLB; nil: there is none
	Definitions []Definition // of Herald's resources, in the cluster
	Wanted      []Definition // as this version needs them
	Accounts    []string     // service accounts of Herald's pods
	Denied      []Denied     // what these may not do
	Proxy       *Proxy       // nil: nothing says how kube-proxy is configured
	Cilium      map[string]string

	Unasked []topology.Unasked // besides those of the Topology
}

// A Service is what a Topology does not say about a Service of any type.
type Service struct {
	cluster.Key
	ExternalIPs []netip.Addr
	Writer      string    // who wrote the addresses in its status last; empty: Herald, or nobody
	Wrote       time.Time // when Writer did
	Own         time.Time // when Herald wrote its status last; zero: never
}

// A Workload runs pods.
type Workload struct {
	Kind, Namespace, Name string
	Labels                map[string]string // of it and its pods
	Containers            []Container
}

// A Container is a container of a Workload.
type Container struct {
	Image string
	Args  []string // with the command
	Env   map[string]string
}

// A Proxy is the configuration of kube-proxy.
type Proxy struct {
	Mode      string
	StrictARP bool // of the mode ipvs
}

// lacks returns why a kind is not known; empty: it is.
func (f Facts) lacks(kind string) string {
	if kind == kindConfiguration {
		if f.Topology.Lacks(topology.KindResources) {
			return "the configuration could not be read"
		}
		return f.Topology.Config.Unread
	}
	all := slices.Concat(f.Unasked, f.Topology.Unasked)
	if i := slices.IndexFunc(all, func(u topology.Unasked) bool { return u.What == kind }); i >= 0 {
		return kind + ": " + all[i].Error
	}
	return ""
}

// object returns the name of a workload in Findings.
func (w Workload) object() string { return w.Kind + "/" + w.Namespace + "/" + w.Name }

// is reports whether a workload is of a product, by the labels that manifests and charts use.
func (w Workload) is(name string) bool {
	return slices.ContainsFunc([]string{"app.kubernetes.io/name", "app", "k8s-app"}, func(label string) bool { return w.Labels[label] == name })
}

// flag returns the value of a flag of any container, and whether it is given.
func (w Workload) flag(name string) (value string, given bool) {
	for _, c := range w.Containers {
		for i, arg := range c.Args {
			key, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			switch {
			case !strings.HasPrefix(arg, "-") || key != name:
			case has:
				return value, true
			case i+1 < len(c.Args) && !strings.HasPrefix(c.Args[i+1], "-"):
				return c.Args[i+1], true
			default:
				return "true", true
			}
		}
	}
	return "", false
}

// env returns the value of a variable of any container.
func (w Workload) env(name string) string {
	for _, c := range w.Containers {
		if value, ok := c.Env[name]; ok {
			return value
		}
	}
	return ""
}

// kubectl returns a command about objects of a namespace.
func kubectl(namespace, command string) string {
	return "kubectl -n " + topology.Quoted(namespace) + " " + command
}
