// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/topology"
)

// WebhookName is the name of MetalLB's webhooks.
const WebhookName = "metallb-webhook-configuration"

// A Webhook is MetalLB's ValidatingWebhookConfiguration.
type Webhook struct {
	Service string // as namespace/name, that is to answer
	Fail    bool   // what it does not answer is refused
}

// A Definition is what matters of a CustomResourceDefinition.
type Definition struct {
	Name    string            // as in bgppeers.metallb.io
	Served  map[string]schema // by version
	Convert string            // the Service that converts between versions, as namespace/name; empty: none
}

// A schema is what an OpenAPI schema says about which fields there are.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Preserve   bool              `json:"x-kubernetes-preserve-unknown-fields"`
}

// ReadDefinition reads a CustomResourceDefinition in YAML or JSON.
func ReadDefinition(text []byte) (Definition, error) {
	text, err := yaml.YAMLToJSON(text)
	if err != nil {
		return Definition{}, fmt.Errorf("read a definition: %w", err)
	}
	var o struct {
		Metadata struct{ Name string }
		Spec     struct {
			Versions []struct {
				Name   string
				Served bool
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				}
			}
			Conversion struct {
				Strategy string
				Webhook  struct {
					ClientConfig struct {
						URL     string
						Service struct{ Namespace, Name string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return Definition{}, fmt.Errorf("read a definition: %w", err)
	}
	d := Definition{Name: o.Metadata.Name, Served: map[string]schema{}}
	for _, v := range o.Spec.Versions {
		if v.Served {
			d.Served[v.Name] = v.Schema.OpenAPIV3Schema
		}
	}
	if c := o.Spec.Conversion; c.Strategy == "Webhook" {
		d.Convert = c.Webhook.ClientConfig.URL
		if s := c.Webhook.ClientConfig.Service; s.Name != "" {
			d.Convert = s.Namespace + "/" + s.Name
		}
	}
	return d, nil
}

// lacks returns the fields of want that a schema does not have, each by the outermost one.
func (s schema) lacks(want schema, at string) (out []string) {
	if s.Preserve {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(want.Properties)) {
		field := strings.TrimPrefix(at+"."+name, ".")
		if have, ok := s.Properties[name]; ok {
			out = append(out, have.lacks(want.Properties[name], field)...)
		} else {
			out = append(out, field)
		}
	}
	if want.Items != nil && s.Items != nil {
		out = append(out, s.Items.lacks(*want.Items, at+"[]")...)
	}
	return out
}

// definitions finds definitions that are older than this version, or of another product.
func (e *examination) definitions() {
	have := map[string]Definition{}
	for _, d := range e.Definitions {
		have[d.Name] = d
	}
	p := topology.Problem{Severity: topology.Warning, Cure: "replace it with that of this version: docs/migrate-from-metallb.md has the command"}
	if len(have) == 0 {
		p.Cause = "none of them is installed: Herald reads the ConfigMap alone, and writes no statuses"
		p.Cure, p.Next = "install them, unless the ConfigMap is enough", "kubectl get customresourcedefinitions"
		var all []string
		for _, want := range e.Wanted {
			all = append(all, definitionObject(want.Name))
		}
		e.found(p, all...)
		return
	}
	for _, want := range e.Wanted {
		p := p
		p.Next = "kubectl get customresourcedefinition " + want.Name + " -o yaml"
		is, installed := have[want.Name]
		var unserved, fields []string
		for _, version := range slices.Sorted(maps.Keys(want.Served)) {
			s, served := is.Served[version]
			if !served {
				unserved = append(unserved, version)
			}
			for _, field := range s.lacks(want.Served[version], "") {
				if served && !slices.Contains(fields, field) {
					fields = append(fields, field)
				}
			}
		}
		switch {
		case !installed:
			p.Severity, p.Cause, p.Next = topology.Error, "it is not installed, and others are", "kubectl get customresourcedefinitions"
			p.Cure = "install that of this version: docs/migrate-from-metallb.md has the command"
		case len(unserved) > 0:
			p.Severity, p.Cause = topology.Error, "it does not serve "+strings.Join(unserved, ", ")
		case len(fields) > 0:
			slices.Sort(fields)
			p.Cause = "it is another version's: the API server drops " + cluster.List(fields, ", ")
		default:
			continue
		}
		e.found(p, definitionObject(want.Name))
	}
}

func definitionObject(name string) string { return "CustomResourceDefinition/" + name }

// webhooks finds webhooks of MetalLB, which nobody answers once it is deleted.
func (e *examination) webhooks() {
	if w := e.Webhook; w != nil {
		p := topology.Problem{
			Severity: topology.Warning, Cause: "the API server asks " + w.Service + ", which is MetalLB's, about each edit of a resource, and waits for its answer",
			Cure: "delete it, unless MetalLB is to go on", Next: "kubectl delete validatingwebhookconfiguration " + WebhookName,
		}
		if w.Fail {
			p.Severity = topology.Error
			p.Cause = "the API server asks " + w.Service + ", which is MetalLB's, about each edit of a resource: without an answer it refuses the edit"
		}
		e.found(p, "ValidatingWebhookConfiguration/"+WebhookName)
	}
	for _, d := range e.Definitions {
		if d.Convert != "" {
			e.found(topology.Problem{
				Severity: topology.Warning, Cause: "the API server asks " + d.Convert + " to convert between its versions: without an answer, objects of the other version can be neither read nor written",
				Cure: "replace it with that of this version, which needs no webhook: docs/migrate-from-metallb.md has the command",
				Next: "kubectl get customresourcedefinition " + topology.Quoted(d.Name) + " -o yaml",
			}, definitionObject(d.Name))
		}
	}
}
