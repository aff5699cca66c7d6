// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/config"
)

// customGroup is the API group of MetalLB's custom resources.
const customGroup = config.ResourceGroup

// customVersions are the versions of it that Herald speaks.
var customVersions = []string{"v1beta1", "v1beta2"}

// Kinds that have no spec.
const (
	kindState     = "ConfigurationState" // whether a component runs the configuration
	kindL2Status  = "ServiceL2Status"    // a node announces a Service on layer 2
	kindBGPStatus = "ServiceBGPStatus"   // a node announces a Service to peers
)

// A customKind is the version and the plural of a kind of custom resource.
type customKind struct{ version, plural string }

var customKinds = map[string]customKind{
	config.KindPool:             {"v1beta1", "ipaddresspools"},
	config.KindBFDProfile:       {"v1beta1", "bfdprofiles"},
	config.KindCommunity:        {"v1beta1", "communities"},
	config.KindPeer:             {"v1beta2", "bgppeers"},
	config.KindBGPAdvertisement: {"v1beta1", "bgpadvertisements"},
	config.KindL2Advertisement:  {"v1beta1", "l2advertisements"},
	kindState:                   {"v1beta1", "configurationstates"},
	kindL2Status:                {"v1beta1", "servicel2statuses"},
	kindBGPStatus:               {"v1beta1", "servicebgpstatuses"},
}

// A customResource is a custom resource of any kind. Its parts are not decoded: package
// config decodes the spec.
type customResource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	Spec              json.RawMessage `json:"spec,omitempty"`
	Status            json.RawMessage `json:"status,omitempty"`
}

// DeepCopyObject returns a copy that shares nothing.
func (r *customResource) DeepCopyObject() runtime.Object {
	out := *r
	r.DeepCopyInto(&out.ObjectMeta)
	out.Spec, out.Status = slices.Clone(r.Spec), slices.Clone(r.Status)
	return &out
}

// A customResourceList is a list of custom resources of one kind.
type customResourceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []customResource `json:"items"`
}

// DeepCopyObject returns a copy that shares nothing.
func (l *customResourceList) DeepCopyObject() runtime.Object {
	out := *l
	l.DeepCopyInto(&out.ListMeta)
	out.Items = make([]customResource, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*customResource)
	}
	return &out
}

// addCustomResources adds MetalLB's kinds to a scheme.
func addCustomResources(scheme *runtime.Scheme) {
	for kind, k := range customKinds {
		gv := schema.GroupVersion{Group: customGroup, Version: k.version}
		scheme.AddKnownTypeWithName(gv.WithKind(kind), &customResource{})
		scheme.AddKnownTypeWithName(gv.WithKind(kind+"List"), &customResourceList{})
	}
	for _, version := range customVersions {
		metav1.AddToGroupVersion(scheme, schema.GroupVersion{Group: customGroup, Version: version})
	}
}

// customResources are the custom resources of a kind.
func (c *Client) customResources(kind, namespace string) resource[*customResourceList] {
	k := customKinds[kind]
	return listOf[customResourceList](c, c.custom[k.version], k.plural, namespace)
}

// patchCustomStatus applies a merge patch to the status subresource of a custom
// resource, and returns the patched resource.
func (c *Client) patchCustomStatus(ctx context.Context, manager, kind, namespace, name string, patch []byte) (*customResource, error) {
	return c.patchCustomPart(ctx, manager, kind, namespace, name, patch, "status")
}

// patchCustom applies a merge patch to a custom resource, and returns the patched resource.
func (c *Client) patchCustom(ctx context.Context, manager, kind, namespace, name string, patch []byte) (*customResource, error) {
	return c.patchCustomPart(ctx, manager, kind, namespace, name, patch)
}

func (c *Client) patchCustomPart(ctx context.Context, manager, kind, namespace, name string, patch []byte, subresources ...string) (*customResource, error) {
	k := customKinds[kind]
	o := new(customResource)
	return o, c.custom[k.version].Patch(types.MergePatchType).Namespace(namespace).Resource(k.plural).Name(name).SubResource(subresources...).
		VersionedParams(&metav1.PatchOptions{FieldManager: manager, FieldValidation: metav1.FieldValidationIgnore}, c.parameters).Body(patch).Do(ctx).Into(o)
}

// deleteCustom deletes a custom resource.
func (c *Client) deleteCustom(ctx context.Context, kind, namespace, name string) error {
	k := customKinds[kind]
	return c.custom[k.version].Delete().Namespace(namespace).Resource(k.plural).Name(name).Do(ctx).Error()
}

// createCustom creates a custom resource, and returns what was stored.
func (c *Client) createCustom(ctx context.Context, manager, kind, namespace string, body []byte) (*customResource, error) {
	k := customKinds[kind]
	o := new(customResource)
	return o, c.custom[k.version].Post().Namespace(namespace).Resource(k.plural).
		VersionedParams(&metav1.CreateOptions{FieldManager: manager, FieldValidation: metav1.FieldValidationIgnore}, c.parameters).Body(body).Do(ctx).Into(o)
}
