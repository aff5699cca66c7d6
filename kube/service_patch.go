// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/heraldlb/herald/assign"
	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/condition"
	"github.com/heraldlb/herald/excerpt"
)

// A servicePatch is the strategic merge patch by which the status subresource of
// a Service gets all that Herald writes in one request. Conditions merge by their
// type, so that several writers do not meet there. The rest is Herald's, even if
// another controller wrote it before. A server-side apply would leave an annotation
// that MetalLB had written too. It would lose the transition time of a condition
// unless it is sent along, and it takes the API server twice the work.
type servicePatch struct {
	Metadata metadataPatch `json:"metadata"`
	Status   statusPatch   `json:"status"`
}

type metadataPatch struct {
	// The API server refuses the patch if the Service has another version.
	ResourceVersion string             `json:"resourceVersion"`
	Annotations     map[string]*string `json:"annotations,omitempty"` // null removes
}

type statusPatch struct {
	LoadBalancer *loadBalancerPatch `json:"loadBalancer,omitempty"` // nil leaves it
	Conditions   []conditionPatch   `json:"conditions"`
}

type loadBalancerPatch struct {
	Ingress []ingressPatch `json:"ingress"` // replaces the list; null removes it
}

type ingressPatch struct {
	IP string `json:"ip"`
}

type conditionPatch struct {
	Directive          string `json:"$patch,omitempty"` // "delete" removes the condition of this type
	Type               string `json:"type"`
	Status             string `json:"status,omitempty"`
	Reason             string `json:"reason,omitempty"`
	Message            string `json:"message,omitempty"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"` // empty: as it is
}

// patchOf returns the patch that carries out an update at the given time.
func patchOf(u assign.Update, now time.Time) ([]byte, error) {
	var p servicePatch
	p.Metadata.ResourceVersion = u.Service.ResourceVersion
	if !u.Foreign {
		p.Metadata.Annotations = map[string]*string{assign.AnnotationPool: nil}
		if u.Pool != "" {
			p.Metadata.Annotations[assign.AnnotationPool] = &u.Pool
		}
		p.Status.LoadBalancer = &loadBalancerPatch{}
		for _, addr := range u.Ingress {
			p.Status.LoadBalancer.Ingress = append(p.Status.LoadBalancer.Ingress, ingressPatch{addr.String()})
		}
	}
	p.Status.Conditions = []conditionPatch{{Directive: "delete", Type: assign.ConditionAddressAssigned}}
	if u.Condition != nil {
		p.Status.Conditions[0] = conditionOf(*u.Condition, u.Service.Conditions, now)
	}
	switch {
	case u.Announced != nil:
		p.Status.Conditions = append(p.Status.Conditions, conditionOf(*u.Announced, u.Service.Conditions, now))
	case (u.Unannounced || u.Condition == nil) && hasCondition(u.Service, condition.TypeAnnounced):
		p.Status.Conditions = append(p.Status.Conditions, conditionPatch{Directive: "delete", Type: condition.TypeAnnounced})
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	return b, nil
}

func hasCondition(svc *cluster.Service, typ string) bool {
	return slices.ContainsFunc(svc.Conditions, func(c cluster.Condition) bool { return c.Type == typ })
}

func conditionOf(c cluster.Condition, old []cluster.Condition, now time.Time) conditionPatch {
	p := conditionPatch{Type: c.Type, Status: "False", Reason: string(c.Reason), Message: excerpt.Message(c.Message)}
	if c.True {
		p.Status = "True"
	}
	for _, o := range old {
		if o.Type == c.Type && o.True == c.True {
			return p
		}
	}
	p.LastTransitionTime = now.UTC().Format(time.RFC3339)
	return p
}
