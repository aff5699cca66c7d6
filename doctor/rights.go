// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// A Right is something that a component of Herald has to be allowed.
type Right struct {
	Component                   string // controller or agent
	Group, Resource, Name, Verb string // as RBAC has them; the resource with its subresource
	Namespaced                  bool   // in Herald's namespace alone
}

// A Denied is a Right that a service account lacks.
type Denied struct {
	Account string
	Right
}

var documentEnd = regexp.MustCompile(`(?m)^---$`)

// ReadRights returns the rights that manifests give to controller and agent. Those on Secrets
// are left out: an installation may limit them to the names of its own, and needs none if no
// peer has a password.
func ReadRights(manifests string) (out []Right, err error) {
	for _, text := range documentEnd.Split(manifests, -1) {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Rules    []struct{ APIGroups, Resources, ResourceNames, Verbs []string }
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return nil, fmt.Errorf("read roles: %w", err)
		}
		component := strings.TrimPrefix(o.Metadata.Name, "herald-")
		if o.Kind != "ClusterRole" && o.Kind != "Role" || component != "controller" && component != "agent" {
			continue
		}
		for _, rule := range o.Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						for _, verb := range rule.Verbs {
							if resource != "secrets" {
								out = append(out, Right{component, group, resource, name, verb, o.Kind == "Role"})
							}
						}
					}
				}
			}
		}
	}
	return out, nil
}

// Needed reports whether a component needs a right, given whether it writes the statuses of
// Services.
func (r Right) Needed(silent bool) bool {
	return !silent || !strings.HasPrefix(r.Resource, "servicel2statuses") && !strings.HasPrefix(r.Resource, "servicebgpstatuses")
}

// rights finds what the service accounts may not do.
func (e *examination) rights() {
	if len(e.Accounts) == 0 {
		e.skip("there is no pod of Herald in namespace " + e.Topology.Namespace)
	}
	for _, account := range e.Accounts {
		var what []string // resources, in the order of the manifests
		verbs := map[string][]string{}
		for _, d := range e.Denied {
			if d.Account != account {
				continue
			}
			resource := d.Resource
			if d.Group != "" {
				resource += "." + d.Group
			}
			if !slices.Contains(what, resource) {
				what = append(what, resource)
			}
			verbs[resource] = append(verbs[resource], d.Verb)
		}
		if len(what) == 0 {
			continue
		}
		for i, resource := range what {
			what[i] = strings.Join(verbs[resource], ", ") + " " + resource
		}
		e.found(topology.Problem{
			Severity: topology.Error, Cause: "it may not " + cluster.List(what, "; "),
			Cure: "apply the roles and bindings of this version's manifests; with Helm, leave rbac.create on",
			Next: kubectl(e.Topology.Namespace, "get roles,rolebindings,clusterroles,clusterrolebindings"),
		}, "ServiceAccount/"+e.Topology.Namespace+"/"+account)
	}
}
