// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/deploy/crds"
	"github.com/heraldlb/herald/lab"
)

// plurals of MetalLB's kinds.
var plurals = map[string]string{
	config.KindPool: "ipaddresspools", config.KindBFDProfile: "bfdprofiles", config.KindCommunity: "communities",
	config.KindPeer: "bgppeers", config.KindBGPAdvertisement: "bgpadvertisements", config.KindL2Advertisement: "l2advertisements",
	"ConfigurationState": "configurationstates", "ServiceL2Status": "servicel2statuses", "ServiceBGPStatus": "servicebgpstatuses",
	"Secret": "secrets",
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// A resourceTest is an e2e whose configuration is in MetalLB's resources.
type resourceTest struct {
	*e2e
	dynamic dynamic.Interface
}

// newResourceTest returns an e2e with MetalLB's kinds installed, no object of
// them, and no ConfigMap.
func newResourceTest(t *testing.T) *resourceTest {
	t.Helper()
	r := &resourceTest{e2e: newE2E(t)}
	var err error
	if r.dynamic, err = dynamic.NewForConfig(r.Cluster.RESTConfig(lab.Admin)); err != nil {
		t.Fatal(err)
	}
	r.installCRDs()
	r.clear(t.Context())
	t.Cleanup(func() { r.clear(context.Background()) })
	return r
}

// deleteConfigMap makes the resources count.
func (r *resourceTest) deleteConfigMap() {
	r.t.Helper()
	err := r.Cluster.Client().CoreV1().ConfigMaps(lab.HeraldNamespace).Delete(r.t.Context(), lab.HeraldConfigMap, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		r.t.Fatal(err)
	}
}

// installCRDs puts the definitions in the place of whatever has their names, as
// kubectl replace does, or creates them.
func (r *resourceTest) installCRDs() {
	r.t.Helper()
	names, err := fs.Glob(crds.Files(), "*.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(crds.Files(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		r.replaceCRD(string(text))
	}
}

func (r *resourceTest) replaceCRD(manifest string) {
	r.t.Helper()
	ctx := r.t.Context()
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		r.t.Fatal(err)
	}
	client := r.dynamic.Resource(crdResource)
	have, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, o, metav1.CreateOptions{FieldValidation: "Strict"})
	} else if err == nil {
		o.SetResourceVersion(have.GetResourceVersion())
		_, err = client.Update(ctx, o, metav1.UpdateOptions{FieldValidation: "Strict"})
	}
	if err != nil {
		r.t.Fatalf("%s: %v", o.GetName(), err)
	}
	r.eventually(o.GetName()+" is served", func(ctx context.Context) error {
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

// of returns the client for an object.
func (r *resourceTest) of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	return r.dynamic.Resource(gvk.GroupVersion().WithResource(plurals[gvk.Kind])).Namespace(lab.HeraldNamespace)
}

// clear deletes every object of MetalLB's kinds.
func (r *resourceTest) clear(ctx context.Context) {
	for _, kind := range config.ResourceKinds {
		r.deleteAll(ctx, kind)
	}
}

// deleteAll deletes all resources of a kind.
func (r *resourceTest) deleteAll(ctx context.Context, kind string) {
	version := "v1beta1"
	if kind == config.KindPeer {
		version = "v1beta2"
	}
	gvr := schema.GroupVersionResource{Group: config.ResourceGroup, Version: version, Resource: plurals[kind]}
	err := r.dynamic.Resource(gvr).Namespace(lab.HeraldNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		r.t.Errorf("delete all of %s: %v", kind, err)
	}
}

// objects reads manifests.
func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
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

// apply makes objects be as manifests say, however they were.
func (r *resourceTest) apply(manifests string) {
	r.t.Helper()
	for _, o := range objects(r.t, manifests) {
		o.SetNamespace(lab.HeraldNamespace)
		if err := r.put(r.t.Context(), o); err != nil {
			r.t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (r *resourceTest) put(ctx context.Context, o *unstructured.Unstructured) error {
	have, err := r.of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = r.of(o).Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	o.SetResourceVersion(have.GetResourceVersion())
	_, err = r.of(o).Update(ctx, o, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return r.put(ctx, o) // its status was written meanwhile
	}
	return err
}

func (r *resourceTest) delete(kind, name string) {
	r.t.Helper()
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(kind))
	if err := r.of(o).Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func kindOf(kind string) schema.GroupVersionKind {
	switch kind {
	case "Secret":
		return schema.GroupVersionKind{Version: "v1", Kind: kind}
	case config.KindPeer:
		return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta2", Kind: kind}
	}
	return schema.GroupVersionKind{Group: config.ResourceGroup, Version: "v1beta1", Kind: kind}
}

// A resourceState is what Herald says of an object.
type resourceState struct {
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
}

// state returns what Herald says of the newest version of an object.
func (r *resourceTest) state(ctx context.Context, kind, name string) (resourceState, error) {
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kindOf(kind))
	o, err := r.of(o).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return resourceState{}, err
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
	out := resourceState{Result: s.Result, Summary: s.ErrorSummary, AssignedIPv4: s.AssignedIPv4, AvailableIPv4: s.AvailableIPv4, InForce: s.InForce}
	for _, c := range s.Conditions {
		if c.Type == "Accepted" && c.ObservedGeneration == o.GetGeneration() {
			out.Status, out.Reason, out.Message = string(c.Status), c.Reason, c.Message
		}
		if c.Type == "Programmed" && c.ObservedGeneration == o.GetGeneration() {
			out.Programmed, out.Where = string(c.Status)+" "+c.Reason, c.Message
		}
	}
	return out, err
}

// refused waits until Herald refuses the newest version of an object.
func (r *resourceTest) refused(kind, name, reason, message string) {
	r.t.Helper()
	r.eventually(kind+" "+name+" is refused", func(ctx context.Context) error {
		s, err := r.state(ctx, kind, name)
		if err != nil {
			return err
		}
		if s.Status != "False" || s.Reason != reason || !strings.Contains(s.Message, message) {
			return fmt.Errorf("the state is %+v, want %s with %q", s, reason, message)
		}
		return nil
	})
}

// accepted waits until Herald accepts the newest version of an object.
func (r *resourceTest) accepted(kind, name string) {
	r.t.Helper()
	r.eventually(kind+" "+name+" is accepted", func(ctx context.Context) error {
		s, err := r.state(ctx, kind, name)
		if err == nil && s.Status != "True" {
			err = fmt.Errorf("the state is %+v", s)
		}
		return err
	})
}

// result waits for what a ConfigurationState says; an empty summary is none.
func (r *resourceTest) result(name, result, summary string) {
	r.t.Helper()
	r.eventually("ConfigurationState "+name, func(ctx context.Context) error {
		s, err := r.state(ctx, "ConfigurationState", name)
		if err != nil {
			return err
		}
		if s.Result != result || !strings.Contains(s.Summary, summary) || summary == "" && s.Summary != "" {
			return fmt.Errorf("it says %s, %q; want %s, %q", s.Result, s.Summary, result, summary)
		}
		return nil
	})
}

// peerResources are allPeers as resources.
const peerResources = `
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

// metallbCRD is a definition as another load balancer's installation leaves it:
// with a conversion webhook that nobody answers.
const metallbCRD = `
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

// The definitions take the place of another installation's, whose objects stay.
func TestResourcesOverOthers(t *testing.T) {
	r := newResourceTest(t)
	r.replaceCRD(metallbCRD)
	r.eventually("a peer is created", func(ctx context.Context) error {
		o := objects(t, peerResources)[0]
		o.SetNamespace(lab.HeraldNamespace)
		_, err := r.of(o).Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	r.installCRDs()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		r.eventually("the peer is read as "+version, func(ctx context.Context) error {
			gvr := schema.GroupVersionResource{Group: config.ResourceGroup, Version: version, Resource: "bgppeers"}
			o, err := r.dynamic.Resource(gvr).Namespace(lab.HeraldNamespace).Get(ctx, "r1", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if address, _, _ := unstructured.NestedString(o.Object, "spec", "peerAddress"); address != "10.10.0.254" {
				return fmt.Errorf("it has the address %q", address)
			}
			return nil
		})
	}
}

// The API server takes every object that config does, and says no to what an
// object can say wrongly by itself.
func TestResourcesSchema(t *testing.T) {
	r := newResourceTest(t)
	dry := func(o *unstructured.Unstructured) error {
		o.SetNamespace(lab.HeraldNamespace)
		_, err := r.of(o).Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
		return err
	}
	files, err := filepath.Glob("../testdata/resources/good/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	n := 0
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if !strings.HasSuffix(f.Name, ".yaml") {
				continue
			}
			for _, o := range objects(t, string(f.Data)) {
				if !slices.Contains(config.ResourceKinds, o.GetKind()) {
					continue
				}
				n++
				if err := dry(o); err != nil {
					t.Errorf("%s: %s %s: %v", file, o.GetKind(), o.GetName(), err)
				}
			}
		}
	}
	t.Logf("%d objects of the corpus are accepted", n)
	for kind, spec := range map[string]string{
		config.KindPool: "{addresses: [10.0.0.0/24]}", config.KindBFDProfile: "{}", config.KindCommunity: "{}",
		config.KindPeer:             "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, enableGracefulRestart: false, nodeSelectors: [{matchLabels: {no: node}}]}",
		config.KindBGPAdvertisement: "{}", config.KindL2Advertisement: "{}",
	} {
		r.apply(fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: there}, spec: %s}", kindOf(kind).GroupVersion(), kind, spec))
	}
	update := func(o *unstructured.Unstructured) (err error) {
		o.SetName("there")
		r.eventually("an answer", func(ctx context.Context) error {
			have, failed := r.of(o).Get(ctx, o.GetName(), metav1.GetOptions{})
			if failed != nil {
				return failed
			}
			o.SetResourceVersion(have.GetResourceVersion())
			_, err = r.of(o).Update(ctx, o, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
			if apierrors.IsConflict(err) {
				return err // its status was written meanwhile
			}
			return nil
		})
		return err
	}
	for _, test := range []struct{ kind, spec, want string }{
		{config.KindPool, "{}", "spec.addresses: Required"},
		{config.KindPool, "{addresses: []}", "spec.addresses"},
		{config.KindPool, "{addresses: [lan]}", "spec.addresses[0]"},
		{config.KindPool, "{addresses: [10.0.0.0/24], autoasign: true}", "unknown field"},
		{config.KindBGPAdvertisement, "{aggregationLength: 0}", "spec.aggregationLength"},
		{config.KindBGPAdvertisement, "{aggregationLength: 33}", "spec.aggregationLength"},
		{config.KindBGPAdvertisement, "{aggregationLengthV6: 129}", "spec.aggregationLengthV6"},
		{config.KindBGPAdvertisement, "{localPref: -1}", "spec.localPref"},
		{config.KindBGPAdvertisement, "{aggregationLength: 24, serviceSelectors: [{matchLabels: {a: b}}]}", "mutually exclusive"},
		{config.KindBGPAdvertisement, "{aggregationLengthV6: 64, serviceSelectors: [{matchLabels: {a: b}}]}", "mutually exclusive"},
		{config.KindBGPAdvertisement, "{asPathPrepend: 11}", "spec.asPathPrepend"},
		{config.KindBGPAdvertisement, "{med: 4294967296}", "spec.med"},
		{config.KindL2Advertisement, "{preferredNodeSelectors: [{weight: 101, preference: {}}]}", "weight"},
		{config.KindL2Advertisement, "{preferredNodeSelectors: [{weight: 1}]}", "preference"},
		{config.KindCommunity, `{communities: [{name: a, value: "65536"}]}`, "value"},
		{config.KindCommunity, `{communities: [{name: a, value: "large:1:2"}]}`, "value"},
		{config.KindBFDProfile, "{receiveInterval: 9}", "spec.receiveInterval"},
		{config.KindBFDProfile, "{detectMultiplier: 256}", "spec.detectMultiplier"},
		{config.KindBFDProfile, "{minimumTtl: 0}", "spec.minimumTtl"},
		{config.KindPeer, "{peerASN: 2, peerAddress: 10.0.0.1}", "spec.myASN"},
		{config.KindPeer, "{myASN: 4294967296, peerASN: 2, peerAddress: 10.0.0.1}", "spec.myASN"},
		{config.KindPeer, "{myASN: 1, peerAddress: 10.0.0.1}", "exactly one of peerASN and dynamicASN"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, dynamicASN: external, peerAddress: 10.0.0.1}", "exactly one of peerASN and dynamicASN"},
		{config.KindPeer, "{myASN: 1, dynamicASN: any, peerAddress: 10.0.0.1}", "spec.dynamicASN"},
		{config.KindPeer, "{myASN: 1, peerASN: 2}", "exactly one of peerAddress and interface"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, interface: eth0}", "exactly one of peerAddress and interface"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: router}", "invalid BGPPeer address"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, peerPort: 16385}", "spec.peerPort"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 2s}", "must be 0 or >=3s"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: '90'}", "spec.holdTime"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 9s, keepaliveTime: 10s}", "must be lower than holdTime"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 1500ms}", "whole number of seconds"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, connectTime: 65536s}", "connect time should be between"},
		{config.KindPeer, "{myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, ebgpMultiHop: true}", "invalid ebgp-multihop"},
		{config.KindPeer, "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: a, passwordSecret: {name: b}}", "both password and secret ref"},
	} {
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal([]byte("{metadata: {name: x}, spec: "+test.spec+"}"), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetGroupVersionKind(kindOf(test.kind))
		if err := dry(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("create %s %s: got %v, want %q", test.kind, test.spec, err, test.want)
		}
		if err := update(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("update %s %s: got %v, want %q", test.kind, test.spec, err, test.want)
		}
	}
	restart := objects(t, "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, enableGracefulRestart: true}}")[0]
	if err := update(restart); err == nil || !strings.Contains(err.Error(), "EnableGracefulRestart cannot be changed after creation") {
		t.Errorf("graceful restart is changed after creation: %v", err)
	}
}
