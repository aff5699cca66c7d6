// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/controlplane"
)

// Plurals of MetalLB's kinds.
var Plurals = map[string]string{
	config.KindPool: "ipaddresspools", config.KindBFDProfile: "bfdprofiles", config.KindCommunity: "communities",
	config.KindPeer: "bgppeers", config.KindBGPAdvertisement: "bgpadvertisements", config.KindL2Advertisement: "l2advertisements",
	"ConfigurationState": "configurationstates", "ServiceL2Status": "servicel2statuses", "ServiceBGPStatus": "servicebgpstatuses",
	"Secret": "secrets",
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// A Resources is an e2e whose configuration is in MetalLB's resources.
type Resources struct {
	*Test
	Dynamic dynamic.Interface
}

// NewResources returns an e2e with MetalLB's kinds installed, no object of
// them, and no ConfigMap.
func NewResources(t *testing.T) *Resources {
	t.Helper()
	r := New(t).Resources()
	r.Clear(t.Context())
	t.Cleanup(func() { r.Clear(context.Background()) })
	return r
}

// Resources returns the test with MetalLB's kinds installed.
func (e *Test) Resources() *Resources {
	e.T.Helper()
	client, err := dynamic.NewForConfig(e.Cluster.RESTConfig(controlplane.Admin))
	if err != nil {
		e.T.Fatal(err)
	}
	r := &Resources{Test: e, Dynamic: client}
	r.InstallCRDs()
	return r
}

// DeleteConfigMap makes the resources count.
func (r *Resources) DeleteConfigMap() { r.DropConfigMap(lab.HeraldConfigMap) }

// DropConfigMap deletes one of Herald's ConfigMaps, if it is there.
func (e *Test) DropConfigMap(name string) {
	e.T.Helper()
	err := e.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Delete(e.T.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		e.T.Fatal(err)
	}
}

// InstallCRDs puts the definitions in the place of whatever has their names, as
// kubectl replace does, or creates them.
func (r *Resources) InstallCRDs() {
	r.T.Helper()
	names, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		r.T.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			r.T.Fatal(err)
		}
		r.ReplaceCRD(string(text))
	}
}

func (r *Resources) ReplaceCRD(manifest string) {
	r.T.Helper()
	ctx := r.T.Context()
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		r.T.Fatal(err)
	}
	client := r.Dynamic.Resource(crdResource)
	have, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, o, metav1.CreateOptions{FieldValidation: "Strict"})
	} else if err == nil {
		o.SetResourceVersion(have.GetResourceVersion())
		_, err = client.Update(ctx, o, metav1.UpdateOptions{FieldValidation: "Strict"})
	}
	if err != nil {
		r.T.Fatalf("%s: %v", o.GetName(), err)
	}
	r.Eventually(o.GetName()+" is served", func(ctx context.Context) error {
		have, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(have.Object, "status", "conditions")
		for _, c := range conditions {
			c := c.(map[string]any)
			if c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("not established: %v", conditions)
	})
}

// Of returns the client for an object.
func (r *Resources) Of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	return r.Dynamic.Resource(gvk.GroupVersion().WithResource(Plurals[gvk.Kind])).Namespace(lab.HeraldNamespace)
}

// Clear deletes every object of MetalLB's kinds.
func (r *Resources) Clear(ctx context.Context) {
	for _, kind := range config.ResourceKinds {
		r.DeleteAll(ctx, kind)
	}
}

// DeleteAll deletes all resources of a kind.
func (r *Resources) DeleteAll(ctx context.Context, kind string) {
	version := "v1beta1"
	if kind == config.KindPeer {
		version = "v1beta2"
	}
	gvr := schema.GroupVersionResource{Group: config.ResourceGroup, Version: version, Resource: Plurals[kind]}
	err := r.Dynamic.Resource(gvr).Namespace(lab.HeraldNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		r.T.Errorf("delete all of %s: %v", kind, err)
	}
}

// Objects reads manifests.
func Objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.IsList() {
			list, err := o.ToList()
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				out = append(out, &list.Items[i])
			}
			continue
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// Apply makes objects be as manifests say, however they were.
func (r *Resources) Apply(manifests string) {
	r.T.Helper()
	for _, o := range Objects(r.T, manifests) {
		o.SetNamespace(lab.HeraldNamespace)
		if err := r.Put(r.T.Context(), o); err != nil {
			r.T.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (r *Resources) Put(ctx context.Context, o *unstructured.Unstructured) error {
	have, err := r.Of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = r.Of(o).Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	o.SetResourceVersion(have.GetResourceVersion())
	_, err = r.Of(o).Update(ctx, o, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return r.Put(ctx, o) // its status was written meanwhile
	}
	return err
}

func (r *Resources) Delete(kind, name string) {
	r.T.Helper()
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(KindOf(kind))
	if err := r.Of(o).Delete(r.T.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.T.Fatal(err)
	}
}

func KindOf(kind string) schema.GroupVersionKind {
	switch kind {
	case "Secret":
		return schema.GroupVersionKind{Version: "v1", Kind: kind}
	case config.KindPeer:
		return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta2", Kind: kind}
	}
	return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta1", Kind: kind}
}

// A State is what Herald says of an object.
type State struct {
	Status        string // of the condition Accepted
	Reason        string
	Message       string
	Result        string // of a ConfigurationState
	Summary       string
	AssignedIPv4  int64
	AvailableIPv4 int64
	InForce       string
	Programmed    string // of the condition Programmed, its status and reason
	Where         string // and its message
	Resolved      string // of the condition ResolvedRefs, its status, reason and message
}

// State returns what Herald says of the newest version of an object.
func (r *Resources) State(ctx context.Context, kind, name string) (State, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(KindOf(kind))
	o, err := r.Of(o).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return State{}, err
	}
	var parsed struct {
		Status struct {
			Conditions    []metav1.Condition
			Result        string
			ErrorSummary  string
			AssignedIPv4  int64
			AvailableIPv4 int64
			InForce       string
		}
	}
	b, err := json.Marshal(o.Object)
	if err == nil {
		err = json.Unmarshal(b, &parsed)
	}
	s := parsed.Status
	out := State{Result: s.Result, Summary: s.ErrorSummary, AssignedIPv4: s.AssignedIPv4, AvailableIPv4: s.AvailableIPv4, InForce: s.InForce}
	for _, c := range s.Conditions {
		if c.Type == "Accepted" && c.ObservedGeneration == o.GetGeneration() {
			out.Status, out.Reason, out.Message = string(c.Status), c.Reason, c.Message
		}
		if c.Type == "Programmed" && c.ObservedGeneration == o.GetGeneration() {
			out.Programmed, out.Where = string(c.Status)+" "+c.Reason, c.Message
		}
		if c.Type == "ResolvedRefs" && c.ObservedGeneration == o.GetGeneration() {
			out.Resolved = strings.Join([]string{string(c.Status), c.Reason, c.Message}, " ")
		}
	}
	return out, err
}

// Refused waits until Herald refuses the newest version of an object.
func (r *Resources) Refused(kind, name, reason, message string) {
	r.T.Helper()
	r.Eventually(kind+" "+name+" is refused", func(ctx context.Context) error {
		s, err := r.State(ctx, kind, name)
		if err != nil {
			return err
		}
		if s.Status != "False" || s.Reason != reason || !strings.Contains(s.Message, message) {
			return fmt.Errorf("the state is %+v, want %s with %q", s, reason, message)
		}
		return nil
	})
}

// Accepted waits until Herald accepts the newest version of an object.
func (r *Resources) Accepted(kind, name string) {
	r.T.Helper()
	r.Eventually(kind+" "+name+" is accepted", func(ctx context.Context) error {
		s, err := r.State(ctx, kind, name)
		if err == nil && s.Status != "True" {
			err = fmt.Errorf("the state is %+v", s)
		}
		return err
	})
}

// Result waits for what a ConfigurationState says; an empty summary is none.
func (r *Resources) Result(name, result, summary string) {
	r.T.Helper()
	r.Eventually("ConfigurationState "+name, func(ctx context.Context) error {
		s, err := r.State(ctx, "ConfigurationState", name)
		if err != nil {
			return err
		}
		if s.Result != result || !strings.Contains(s.Summary, summary) || summary == "" && s.Summary != "" {
			return fmt.Errorf("it says %s, %q; want %s, %q", s.Result, s.Summary, result, summary)
		}
		return nil
	})
}

// Spec returns what an object says.
func (r *Resources) Spec(kind, name string) any {
	r.T.Helper()
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(KindOf(kind))
	o, err := r.Of(o).Get(r.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.T.Fatal(err)
	}
	return remarshal(r.T, o.Object["spec"])
}

// remarshal returns a value as it is read from JSON.
func remarshal(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// PeerResources are allPeers as resources.
const PeerResources = `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: r1}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.10.0.254}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: r1-v6}
spec: {myASN: 64512, peerASN: 64513, peerAddress: "fd00:10:10::254"}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ibgp}
spec: {myASN: 64512, peerASN: 64512, peerAddress: 10.10.0.200}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ibgp-v6}
spec: {myASN: 64512, peerASN: 64512, peerAddress: "fd00:10:10::200"}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ebgp}
spec: {myASN: 64512, peerASN: 64514, peerAddress: 10.10.0.201}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: ebgp-v6}
spec: {myASN: 64512, peerASN: 64514, peerAddress: "fd00:10:10::201"}
`

// MetalLBCRD is a definition as another load balancer's installation leaves it:
// with a conversion webhook that nobody answers.
const MetalLBCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.metallb.io, annotations: {controller-gen.kubebuilder.io/version: v0.16.3}}
spec:
  group: metallb.io
  scope: Namespaced
  names: {kind: BGPPeer, listKind: BGPPeerList, plural: bgppeers, singular: bgppeer}
  conversion:
    strategy: Webhook
    webhook:
      clientConfig: {service: {name: metallb-webhook-service, namespace: metallb-system, path: /convert}}
      conversionReviewVersions: [v1beta1, v1beta2]
  versions:
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// DocumentOf returns the document of manifests that has this name.
func DocumentOf(manifests, name string) string {
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains(document, "{name: "+name+"}") {
			return document
		}
	}
	return ""
}
